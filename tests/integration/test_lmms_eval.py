"""The command lmms-eval runs an exported task, shows our frames at our times, and reports our scores."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest

from tests.export.test_lmms_eval import psnr
from tests.integration.conftest import Ask
from videossr.dataset.dataset import VideoSSRDataset
from videossr.export.lmms_eval import export_lmms_eval
from videossr.rewards import scorer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lmms") / "task"
    export_lmms_eval(VideoSSRDataset(dataset), folder, "small")
    return folder


def expected_results(questions: VideoSSRDataset, texts: dict[str, str]) -> dict[str, float]:
    """Return the mean of each category and the mean of those, by the paper's metric of each task."""
    categories: dict[str, list[float]] = defaultdict(list)
    for index in range(len(questions)):
        question, category = questions.question(index), questions.category(index)
        scores = scorer(question.data_source)(texts[question.id], question.answer)
        metric = {"grounding": scores.smooth, "counting": fmean(scores.parts or [0]), "jigsaw": scores.strict}
        categories[category].append(metric[category.split("/")[0]])
    means = {category.replace("/", "_"): fmean(scores) for category, scores in categories.items()}
    return means | {"overall": fmean(means.values())}


def reported_results(answer: Any) -> dict[str, float]:
    results = answer["results"]["results"]["small"]
    return {
        name.removesuffix(",none"): value for name, value in results.items() if "stderr" not in name and "," in name
    }


def test_lmms_eval_scores_the_dummy_model_like_the_rewards(
    ask: Ask, dataset: Path, exported: Path, tmp_path: Path
) -> None:
    questions = VideoSSRDataset(dataset)
    question = {"folder": str(exported), "task": "small", "out": str(tmp_path), "response": "0-8.5"}
    answer = ask("lmms_eval", "lmms_eval_run.py", question)
    texts = {questions.question(index).id: "0-8.5" for index in range(len(questions))}
    assert reported_results(answer) == pytest.approx(expected_results(questions, texts))
    assert reported_results(answer)["overall"] > 0
    assert answer["results"]["configs"]["small"]["metadata"]["videossr_hash"] == questions.hash


def test_lmms_eval_shows_a_model_our_frames_at_our_times(
    ask: Ask, dataset: Path, exported: Path, tmp_path: Path
) -> None:
    questions = VideoSSRDataset(dataset)
    items = [questions[index] for index in range(len(questions))]
    texts = {item.question.id: item.question.answer for item in items}
    texts[items[0].question.id] = "no answer"
    texts |= {item.question.id: "1,1,1" for item in items if item.sample.task == "counting"}
    question = {"folder": str(exported), "task": "small", "out": str(tmp_path), "told": texts}
    answer = ask("lmms_eval", "lmms_eval_run.py", question)
    assert reported_results(answer) == pytest.approx(expected_results(questions, texts))
    assert 0 < reported_results(answer)["overall"] < 1
    for item in items:
        shown = answer["shown"][item.question.id]
        system, user = shown["messages"]
        assert system == {"role": "system", "content": [{"type": "text", "text": item.question.system}]}
        parts = ["<video>" if part["type"] == "video" else part["text"] for part in user["content"]]
        assert "".join(parts) == item.question.prompt
        assert shown["settings"]["max_new_tokens"] == 64
        assert shown["settings"]["temperature"] == 0
        assert len(shown["clips"]) == len(item.clips)
        for number, (times, clip) in enumerate(zip(shown["clips"], item.clips, strict=True)):
            assert times == pytest.approx(clip.clock.times_ms, abs=1.5)
            frames = np.load(tmp_path / f"shown/{item.question.id}-{number}.npy").transpose(0, 2, 3, 1)
            assert psnr(frames, clip.frames).min() > 40
