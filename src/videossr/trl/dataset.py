"""The rows of a dataset for TRL. It can be imported only where the library datasets is installed."""

from __future__ import annotations

import datasets

from videossr.dataset.dataset import VideoSSRDataset
from videossr.references import make_references


def sample_rows(dataset: VideoSSRDataset) -> datasets.Dataset:
    """Make the rows of a dataset: `train_dataset` of a `videossr.trl.trainer.VideoGRPOTrainer`.

    A row holds no frames, only where its clips are: they are rendered when the trainer asks for them. Rows may be
    filtered, shuffled, mixed with those of other datasets, and given other texts and columns.

    Args:
        dataset: the samples. It and its corpus must be at the same places where the trainer runs.

    Returns:
        A row a sample: `prompt`, a system and a user turn in which `<video>` stands for each clip; `videos`, a
        `videossr.references.Reference` for each clip; `data_source` and `answer`, by which answers are
        rewarded; `id` and `category`.
    """
    questions = [dataset.question(index) for index in range(len(dataset))]
    return datasets.Dataset.from_dict(
        {
            "prompt": [question.turns() for question in questions],
            "videos": [
                make_references(question, index, str(dataset.path), str(dataset.corpus.path))
                for index, question in enumerate(questions)
            ],
            "data_source": [question.data_source for question in questions],
            "answer": [question.answer for question in questions],
            "id": [question.id for question in questions],
            "category": dataset["category"],
        }
    )
