"""The `human` model: a file with a person's answers, what it refuses, and what counts as not answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from videossr.bench.evaluation import evaluate
from videossr.bench.scoring import score
from videossr.dataset.dataset import VideoSSRDataset
from videossr.models.base import Decoding, ModelSpec, model_spec
from videossr.models.baselines import NoSettings
from videossr.models.human import NOT_ANSWERED, Human
from videossr.storage import limits


@pytest.fixture
def built(dataset: Path) -> VideoSSRDataset:
    return VideoSSRDataset(dataset)


def write_answers(
    built: VideoSSRDataset, out: Path, answered: set[int], asked: set[int] | None = None, **fields: Any
) -> Path:
    """Write a file with gold answers to the questions `answered` of those `asked`."""
    questions = [built.question(index) for index in sorted(asked or range(len(built)))]
    answered_ids = {built.question(index).id for index in answered}
    answers = {question.id: question.answer if question.id in answered_ids else "" for question in questions}
    out.write_text(json.dumps({"kind": "answers", "hash": built.hash, "shown": "stills", "answers": answers} | fields))
    return out


def make_spec(path: Path) -> ModelSpec:
    return ModelSpec(f"human:{path}", Human, str(path), NoSettings())


def test_model_spec_of_human_names_the_file() -> None:
    spec = model_spec("human:answers.json")
    assert (spec.kind, spec.target) == (Human, "answers.json")


def test_human_model_is_asked_only_shown_questions_and_fails_unanswered_ones(
    built: VideoSSRDataset, tmp_path: Path
) -> None:
    """This holds although the first questions are unanswered and the run stops after one failure."""
    file = write_answers(built, tmp_path / "answers.json", {5, 6}, {0, 1, 5, 6})
    run = evaluate(built, make_spec(file), tmp_path / "run", stop_after=1)
    assert [prediction.index for prediction in run.predictions] == [0, 1, 5, 6]
    assert [prediction.error for prediction in run.predictions] == [NOT_ANSWERED, NOT_ANSWERED, "", ""]
    assert run.config.wanted == run.config.shown == 4
    assert run.manifest is not None
    assert (run.manifest["asked"], run.manifest["answered"]) == (4, 2)
    board = score(run)
    assert board.outcomes.failed == 2
    assert board.coverage == 2 / len(built)
    without_score = {category.category for category in board.categories if category.score is None}
    unanswered = {built.category(0), built.category(1)} - {built.category(5), built.category(6)}
    assert without_score == unanswered != set(), "a category without an answer has no score, rather than 0"


def test_human_model_applies_a_limit_to_the_shown_questions(built: VideoSSRDataset, tmp_path: Path) -> None:
    file = write_answers(built, tmp_path / "answers.json", {2, 4, 6}, {2, 4, 6})
    run = evaluate(built, make_spec(file), tmp_path / "run", limit=2)
    assert len(run.predictions) == 2 == run.config.wanted
    assert {prediction.index for prediction in run.predictions} < {2, 4, 6}


def test_human_model_refuses_to_resume_with_other_answers(built: VideoSSRDataset, tmp_path: Path) -> None:
    """The new answers have replaced the file of a complete run."""
    file = write_answers(built, tmp_path / "answers.json", set(range(len(built))))
    first = evaluate(built, make_spec(file), tmp_path / "run")
    assert evaluate(built, make_spec(file), tmp_path / "run") == first
    write_answers(built, file, {0, 1})
    with pytest.raises(ValueError, match=r"made otherwise: answers is .* Choose another --out"):
        evaluate(built, make_spec(file), tmp_path / "run")


def test_human_model_refuses_several_answers_to_a_question(built: VideoSSRDataset, tmp_path: Path) -> None:
    file = write_answers(built, tmp_path / "answers.json", {0})
    with pytest.raises(ValueError, match="answered each question once"):
        evaluate(built, make_spec(file), tmp_path / "run", decoding=Decoding(n=4))


def test_human_model_refuses_a_file_beyond_the_limit(
    built: VideoSSRDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_answers(built, tmp_path / "answers.json", {0})
    monkeypatch.setattr(limits, "JSON_BYTES", 10)
    with pytest.raises(ValueError, match=rf"^{file} is no file of answers: .*VIDEOSSR_JSON_BYTES"):
        evaluate(built, make_spec(file), tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no file of answers"),
        ("[]", "is no file of answers"),
        (
            '{"kind": "answers", "hash": "%s", "shown": "", "answers": {"a": 3}}',
            "answers a Input should be a valid str",
        ),
        ('{"kind": "answers", "hash": "%s", "shown": "", "answers": {}, "x": 1}', "x Unexpected keyword"),
        ('{"kind": "run", "hash": "%s", "shown": "", "answers": {}}', "kind Input should be 'answers'"),
        ('{"kind": "answers", "hash": "h", "shown": "", "answers": {"a": "1"}}', "hash String should match pattern"),
        ('\ufeff{"kind": "answers", "hash": "%s", "shown": "", "answers": {"a": "1"}}', "answers to other questions"),
    ],
)
def test_human_model_refuses_an_invalid_file(built: VideoSSRDataset, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "answers.json"
    file.write_text(text.replace("%s", "ab" * 32))
    with pytest.raises(ValueError, match=message) as error:
        evaluate(built, make_spec(file), tmp_path / "run")
    assert str(file) in str(error.value)
    assert "\u202e" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_human_model_refuses_a_file_without_answers_or_with_unknown_questions(
    built: VideoSSRDataset, tmp_path: Path
) -> None:
    file = write_answers(built, tmp_path / "answers.json", set())
    with pytest.raises(ValueError, match=f"not one of its {len(built)} questions is answered"):
        evaluate(built, make_spec(file), tmp_path / "run")
    write_answers(built, file, {0}, answers={"feed": "1"})
    with pytest.raises(ValueError, match="has no question 'feed'"):
        evaluate(built, make_spec(file), tmp_path / "run")
    with pytest.raises(ValueError, match="names no file"):
        evaluate(built, model_spec("human"), tmp_path / "run")
    with pytest.raises(FileNotFoundError, match=r"absent\.json is no file: name the one that the page"):
        evaluate(built, make_spec(tmp_path / "absent.json"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
