"""Video-TT: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.base import BadRow
from videossr.bench.public.reasoning.videott import first_letter


def test_options_are_read_from_the_question_and_open_rows_are_left_out(tmp_path: Path) -> None:
    first, five, missing = rows_of("videott", tmp_path)
    assert [first.id, five.id, missing.id] == ["0001-1", "0002-1", "0003-1"]
    assert first.answer.splitlines() == ["B. A bat", "A. A moth", "B. A bat", "C. A leaf", "D. A hat"]
    assert (first.template, first.options) == ("choice_inside", ())
    assert five.answer.splitlines()[0] == "E. A lamp"
    assert missing.footage[0].paths[0] == "Benchmark-AllVideos-LQ/moth_CCCC-3.mp4"


def test_a_question_without_options_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = (row for row in load("videott", tmp_path) if isinstance(row, BadRow))
    assert "row 5: question must end in lines" in bad.error


def test_accuracy_is_over_all_questions_and_by_capability(tmp_path: Path) -> None:
    found = figures("videott", rows_of("videott", tmp_path), {"0001-1": "B", "0002-1": "E. A lamp", "0003-1": "B"})
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert (found["Element Counting: accuracy"], found["Plot Attribute: accuracy"]) == (1.0, 1 / 2)


@pytest.mark.parametrize(
    ("text", "value"), [("B", 1), ("The best answer is B.", 1), ("Best option: B", 1), ("A bat", 0), ("bat", None)]
)
def test_official_rule_takes_the_first_capital(text: str, value: float | None) -> None:
    assert first_letter(text, "B. A bat\nA. A moth\nB. A bat") == value


def test_official_rule_counts_unread_answers_as_wrong(tmp_path: Path) -> None:
    rows = rows_of("videott", tmp_path)
    assert figures("videott", rows, {"0001-1": "B", "0002-1": "?"}, "official")["accuracy"] == pytest.approx(1 / 3)
