"""MotionBench: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BadRow, NoSettings
from videossr.bench.public.general.motionbench import MotionBench
from videossr.bench.public.official import first_in_brackets

GOLD = "B. a jump\nA. a nod\nB. a jump"


def test_hidden_answers_are_left_out_and_options_come_from_the_question(tmp_path: Path) -> None:
    first, second, third = rows_of("motionbench", tmp_path)
    assert (first.id, second.id, third.id) == ("u1", "33", "u4")
    assert first.answer == "B. a jump\nA. a nod\nB. a jump\nC. a bow"
    assert second.answer == "A. once\nA. once\nB. twice"
    assert third.answer == "A"
    assert (first.template, first.options) == ("choice_inside", ())
    assert (first.category, third.category) == ("Action Order", "Camera Motion")


@pytest.mark.parametrize("form", ["{}. {}", "{}.{}", "({}) {}"])
def test_options_are_found_with_and_without_a_blank_behind_the_label(tmp_path: Path, form: str) -> None:
    rows_of("motionbench", tmp_path)
    record, *_ = MotionBench().records(Data(tmp_path, "there"), NoSettings())
    lines = [form.format(letter, text) for letter, text in zip("ABC", ("red", "Blue", "7"), strict=True)]
    shown = replace(record, fields={**record.fields, "question": "\n".join(["Which one?", *lines])})
    row = MotionBench().row(shown, NoSettings())
    assert row is not None
    assert row.answer == "B. Blue\nA. red\nB. Blue\nC. 7"


def test_a_video_lies_in_one_of_several_folders(tmp_path: Path) -> None:
    rows = rows_of("motionbench", tmp_path)
    found = [next((path for path in row.footage[0].paths if (tmp_path / path).exists()), None) for row in rows]
    assert found == ["MotionBench/self-collected/m1.mp4", None, "MotionBench/public-dataset/ha_58_59.mp4"]


def test_a_wrong_letter_and_a_line_without_questions_are_bad_rows(tmp_path: Path) -> None:
    letter, line = (row for row in load("motionbench", tmp_path) if isinstance(row, BadRow))
    assert "line 4, question 1: answer 'C' is the letter of none of 2 options" in letter.error
    assert "line 5: answer must be a text" in line.error


def test_headline_is_the_mean_of_the_questions(tmp_path: Path) -> None:
    rows = rows_of("motionbench", tmp_path)
    found = figures("motionbench", rows, {"u1": "a jump", "33": "B"})
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["Action Order: accuracy"] == 1.0
    assert found["Repetition Count: accuracy"] == 0.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("B", 1),
        ("(B) a jump", 1),
        ("It is (B)", 1),
        ("B) a jump", 1),
        ("b", 0),
        ("Answer: B", 0),
        ("", None),
        ("(", None),
    ],
)
def test_official_rule_reads_the_first_character_in_brackets(text: str, value: float | None) -> None:
    assert first_in_brackets(text, GOLD) == value
