"""VLMEvalKit runs an exported class in its own tree: our frames at our times, and our scores.

The environment has the source of VLMEvalKit that its index offers. To test a clone of it, name that in VLMEVALKIT.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import videossr
from tests.export.test_lmms_eval import psnr
from tests.integration.conftest import Ask
from videossr.bench.records import Run
from videossr.bench.scoring import score
from videossr.dataset.dataset import VideoSSRDataset
from videossr.export.vlmevalkit import export_vlmevalkit

pytestmark = pytest.mark.integration

GARBAGE = ("", "no", "NA", "None", "=1", "Failed to obtain answer via API.")
"""Texts of which none is an answer; spreadsheets and tables take some for something else than a text."""


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vlmevalkit") / "exported"
    export_vlmevalkit(VideoSSRDataset(dataset), out, "Small")
    return out


@pytest.fixture(scope="module")
def guesses(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of guesses, of which `constant` has some scores between 0 and 1."""
    return videossr.evaluate(str(dataset), "constant", tmp_path_factory.mktemp("runs") / "constant")


@pytest.fixture(scope="module")
def told(
    ask: Ask, dataset: Path, exported: Path, guesses: Run, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What VLMEvalKit reports of gold answers, of guesses and of garbage, and the folder of what it has shown."""
    questions = VideoSSRDataset(dataset)
    asked = [questions.question(index) for index in range(len(questions))]
    texts = {
        "gold": {question.id: question.answer for question in asked},
        "guesses": {prediction.id: prediction.texts[0] for prediction in guesses.predictions},
        "garbage": {question.id: GARBAGE[number % len(GARBAGE)] for number, question in enumerate(asked)},
    }
    out = tmp_path_factory.mktemp("vlmevalkit") / "run"
    out.mkdir()
    question = {"folder": str(exported), "name": "Small", "out": str(out), "texts": texts}
    answer = ask("vlmevalkit", "vlmevalkit_run.py", question)
    return {**answer, "out": out}


def test_vlmevalkit_scores_gold_answers_1_and_garbage_0(dataset: Path, told: dict[str, Any]) -> None:
    questions = VideoSSRDataset(dataset)
    names = {"overall", *(questions.category(index) for index in range(len(questions)))}
    for form in ("json", "tsv", "xlsx"):
        assert told["figures"]["gold"][form] == dict.fromkeys(names, 1.0)
        assert told["figures"]["garbage"][form] == dict.fromkeys(names, 0.0)


def test_vlmevalkit_reports_the_figures_of_bench_score(guesses: Run, told: dict[str, Any]) -> None:
    board = score(guesses)
    assert board.overall
    expected = {"overall": board.overall.value}
    expected |= {category.category: category.score.value for category in board.categories if category.score}
    for form in ("json", "tsv", "xlsx"):
        assert told["figures"]["guesses"][form] == pytest.approx(expected)
    assert 0 < expected["overall"] < 1


@pytest.mark.parametrize("shown", ["fps video", "fps frames", "frame video", "frame frames"])
def test_vlmevalkit_shows_a_model_our_frames_at_our_times(dataset: Path, told: dict[str, Any], shown: str) -> None:
    """A model that takes videos gets the files, whose times it computes; another gets frames, and tenths of seconds."""
    questions = VideoSSRDataset(dataset)
    for index in range(len(questions)):
        item = questions[index]
        message = told["shown"][shown][item.question.id]
        system, *parts = message["parts"]
        assert system == {"type": "text", "value": item.question.system, "role": "system"}
        values = [part["value"] for part in parts if part["type"] == "text"]
        if shown.endswith("video"):
            assert "".join("<video>" if part["type"] == "video" else part["value"] for part in parts) == (
                item.question.prompt
            )
        else:
            values = [value for value in values if not value.endswith(" seconds>")]
            assert "".join(values) == item.question.prompt.replace("<video>", "")
        assert len(message["times"]) == len(item.clips)
        for number, (times, clip) in enumerate(zip(message["times"], item.clips, strict=True)):
            assert times == pytest.approx(clip.clock.times_ms, abs=1.5 if shown.endswith("video") else 51)
            frames = np.load(told["out"] / f"{shown}-{item.question.id}-{number}.npy")
            assert psnr(frames, clip.frames).min() > 40


def test_vlmevalkit_takes_fewer_frames_where_a_setting_says_so(told: dict[str, Any]) -> None:
    """Of 48 frames the setting of 16 takes every third; a clip that has no more is shown whole."""
    assert all(len(times) == min(16, frames) for times, frames in told["fewer"])
    assert {frames for _, frames in told["fewer"]} > {48}
    assert any(frames < 16 for _, frames in told["fewer"])
    assert all(index == 3 * number for times, frames in told["fewer"] if frames == 48 for number, index in times)


def test_vlmevalkit_knows_the_dataset(dataset: Path, told: dict[str, Any]) -> None:
    assert (told["modality"], told["type"], told["length"]) == ("VIDEO", "Video-VQA", len(VideoSSRDataset(dataset)))
    assert told["primary"] == ["overall"]


def test_vlmevalkit_refuses_a_missing_table_and_another_one(told: dict[str, Any]) -> None:
    missing, another = told["refused"]
    assert "Small.tsv is missing: put the exported folder, or a link to it, at" in missing
    assert "is not the table of questions that this class was written for" in another
