"""Video-TT: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BadRow, NoSettings
from videossr.bench.public.reasoning.videott import VideoTT, first_letter


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


@pytest.mark.parametrize("form", ["{}. {}", "{}.{}", "({}) {}"])
def test_options_are_found_with_and_without_a_blank_behind_the_label(tmp_path: Path, form: str) -> None:
    rows_of("videott", tmp_path)
    record, *_ = VideoTT().records(Data(tmp_path, "there"), NoSettings())
    lines = [form.format(letter, text) for letter, text in zip("ABCD", ("red", "blue", "Green", "7"), strict=True)]
    row = VideoTT().row(
        replace(record, fields={**record.fields, "question": "\n".join(["Which one?", *lines])}), NoSettings()
    )
    assert row is not None
    assert row.answer == "B. blue\nA. red\nB. blue\nC. Green\nD. 7"


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
