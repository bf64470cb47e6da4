"""The public names have the types that mypy infers; `make check` evaluates `assert_type`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import assert_type

import videossr
from videossr import Clip, Clock, Item, Question, Scores, VideoSSRDataset, compute_score, open_questions
from videossr.question_set import QuestionSet


def test_public_names_have_types(dataset: Path) -> None:
    item = VideoSSRDataset(dataset)[0]
    assert_type(item, Item)
    assert_type(item.question, Question)
    assert_type(item.clips[0].clock, Clock)
    clip: Clip = item.clips[0]
    assert clip.frames.dtype == "uint8"
    score: Callable[..., dict[str, float]] = compute_score
    assert score(item.question.data_source, item.question.answer, item.question.answer)["score"] == 1.0
    assert_type(open_questions(dataset), QuestionSet)
    assert_type(Scores(1.0, 1.0, parsed=True).smooth, float)


def test_public_names_are_defined_in_modules_of_the_package() -> None:
    for name in videossr.__all__:
        assert getattr(videossr, name).__module__.startswith("videossr.")
        assert getattr(videossr, name).__name__ == name
