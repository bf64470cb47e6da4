"""A person's file of answers as a model: what is refused, and what counts as not answered."""

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


@pytest.fixture
def built(dataset: Path) -> VideoSSRDataset:
    return VideoSSRDataset(dataset)


def sheet(built: VideoSSRDataset, out: Path, answered: set[int], asked: set[int] | None = None, **more: Any) -> Path:
    """A file of gold answers to the questions `answered` of those `asked`."""
    questions = [built.question(index) for index in sorted(asked or range(len(built)))]
    right = {built.question(index).id for index in answered}
    answers = {question.id: question.answer if question.id in right else "" for question in questions}
    out.write_text(json.dumps({"kind": "answers", "hash": built.hash, "shown": "stills", "answers": answers} | more))
    return out


def spec(path: Path) -> ModelSpec:
    return ModelSpec(f"human:{path}", Human, str(path), NoSettings())


def test_the_spec_names_the_file() -> None:
    found = model_spec("human:answers.json")
    assert (found.kind, found.target) == (Human, "answers.json")


def test_only_what_was_shown_is_asked_and_what_was_left_out_failed(built: VideoSSRDataset, tmp_path: Path) -> None:
    """Even where the first questions are those left out, and a run would stop at the first failure."""
    file = sheet(built, tmp_path / "answers.json", {5, 6}, {0, 1, 5, 6})
    done = evaluate(built, spec(file), tmp_path / "run", stop_after=1)
    assert [p.index for p in done.predictions] == [0, 1, 5, 6]
    assert [p.error for p in done.predictions] == [NOT_ANSWERED, NOT_ANSWERED, "", ""]
    assert done.config.wanted == done.config.shown == 4
    assert done.manifest is not None
    assert (done.manifest["asked"], done.manifest["answered"]) == (4, 2)
    board = score(done)
    assert board.outcomes.failed == 2
    assert board.coverage == 2 / len(built)
    without = {each.category for each in board.categories if each.score is None}
    unanswered = {built.category(0), built.category(1)} - {built.category(5), built.category(6)}
    assert without == unanswered != set(), "a category without an answer has no score, rather than 0"


def test_a_limit_chooses_among_what_was_shown(built: VideoSSRDataset, tmp_path: Path) -> None:
    file = sheet(built, tmp_path / "answers.json", {2, 4, 6}, {2, 4, 6})
    done = evaluate(built, spec(file), tmp_path / "run", limit=2)
    assert len(done.predictions) == 2 == done.config.wanted
    assert {p.index for p in done.predictions} < {2, 4, 6}


def test_a_run_does_not_go_on_with_other_answers(built: VideoSSRDataset, tmp_path: Path) -> None:
    """Where they replaced the file under its name, and all had been answered."""
    file = sheet(built, tmp_path / "answers.json", set(range(len(built))))
    first = evaluate(built, spec(file), tmp_path / "run")
    assert evaluate(built, spec(file), tmp_path / "run") == first
    sheet(built, file, {0, 1})
    with pytest.raises(ValueError, match=r"made otherwise: answers is .* Choose another --out"):
        evaluate(built, spec(file), tmp_path / "run")


def test_several_answers_to_a_question_cannot_be_had(built: VideoSSRDataset, tmp_path: Path) -> None:
    file = sheet(built, tmp_path / "answers.json", {0})
    with pytest.raises(ValueError, match="answered each question once"):
        evaluate(built, spec(file), tmp_path / "run", decoding=Decoding(n=4))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is no file of answers"),
        ("[]", "is no file of answers"),
        ('{"kind": "answers", "hash": "h", "shown": "", "answers": {"a": 3}}', "answers a Input should be a valid str"),
        ('{"kind": "answers", "hash": "h", "shown": "", "answers": {}, "x": 1}', "x Unexpected keyword"),
        ('{"kind": "run", "hash": "h", "shown": "", "answers": {}}', "kind Input should be 'answers'"),
        (
            '\ufeff{"kind": "answers", "hash": "h\\u202e", "shown": "", "answers": {"a": "1"}}',
            r"answers to other questions",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_before_anything(
    built: VideoSSRDataset, tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "answers.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=told) as raised:
        evaluate(built, spec(file), tmp_path / "run")
    assert str(file) in str(raised.value)
    assert "\u202e" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_file_without_an_answer_or_with_a_strange_question_is_refused(built: VideoSSRDataset, tmp_path: Path) -> None:
    file = sheet(built, tmp_path / "answers.json", set())
    with pytest.raises(ValueError, match=f"not one of its {len(built)} questions is answered"):
        evaluate(built, spec(file), tmp_path / "run")
    sheet(built, file, {0}, answers={"feed": "1"})
    with pytest.raises(ValueError, match="has no question 'feed'"):
        evaluate(built, spec(file), tmp_path / "run")
    with pytest.raises(ValueError, match="names no file"):
        evaluate(built, model_spec("human"), tmp_path / "run")
    with pytest.raises(FileNotFoundError, match=r"absent\.json is no file: name the one that the page"):
        evaluate(built, spec(tmp_path / "absent.json"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
