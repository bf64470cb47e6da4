"""videossr: questions with proven answers from any folder of unlabelled videos.

The names below are the public ones; each is imported when it is first used, so `import videossr` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videossr.bench.evaluation import evaluate
    from videossr.builder.builder import build_dataset
    from videossr.builder.one_sample import sample_video
    from videossr.builder.recipe import load_recipe
    from videossr.clock import Clock
    from videossr.corpus.corpus import Corpus
    from videossr.corpus.indexer import index_videos
    from videossr.dataset.dataset import Item, VideoSSRDataset, collate
    from videossr.engine.collator import QwenCollator
    from videossr.errors import VideoSSRError
    from videossr.measure import Measure
    from videossr.question import Clip, Question, Truth
    from videossr.question_set import open_questions
    from videossr.rewards import Scores, compute_score
    from videossr.sample import Rejection, Sample, VideoKey
    from videossr.tasks.base import Task, Video
    from videossr.training.session import train
    from videossr.video.plan import Plan

__all__ = [
    "Clip",
    "Clock",
    "Corpus",
    "Item",
    "Measure",
    "Plan",
    "Question",
    "QwenCollator",
    "Rejection",
    "Sample",
    "Scores",
    "Task",
    "Truth",
    "Video",
    "VideoKey",
    "VideoSSRDataset",
    "VideoSSRError",
    "build_dataset",
    "collate",
    "compute_score",
    "evaluate",
    "index_videos",
    "load_recipe",
    "open_questions",
    "sample_video",
    "train",
]

_HOME = {
    "Clip": "question",
    "Clock": "clock",
    "Corpus": "corpus.corpus",
    "Item": "dataset.dataset",
    "Measure": "measure",
    "Plan": "video.plan",
    "Question": "question",
    "QwenCollator": "engine.collator",
    "Rejection": "sample",
    "Sample": "sample",
    "Scores": "rewards",
    "Task": "tasks.base",
    "Truth": "question",
    "Video": "tasks.base",
    "VideoKey": "sample",
    "VideoSSRDataset": "dataset.dataset",
    "VideoSSRError": "errors",
    "build_dataset": "builder.builder",
    "collate": "dataset.dataset",
    "compute_score": "rewards",
    "evaluate": "bench.evaluation",
    "index_videos": "corpus.indexer",
    "load_recipe": "builder.recipe",
    "open_questions": "question_set",
    "sample_video": "builder.one_sample",
    "train": "training.session",
}
"""The module of each public name. Type checkers read the imports above, which do not run."""

__version__ = version("videossr")


if not TYPE_CHECKING:  # a type checker that knew of it would take any misspelt name

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'videossr' has no attribute {name!r}")
        return getattr(import_module(f"videossr.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
