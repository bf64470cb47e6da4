"""CG-Bench: rows of both questions, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data, RowError
from videossr.bench.public.base import BadRow
from videossr.bench.public.long.cgbench import CGBench, CGBenchSettings, official

_GOLD = "E. x\nA. v\nE. x"


def test_the_right_letter_counts_where_choices_are_equal(tmp_path: Path) -> None:
    eight, equal, other = rows_of("cgbench", tmp_path)
    assert (eight.id, eight.answer_type, eight.answer.splitlines()[0]) == ("14", "option", "H. Hedy")
    assert equal.answer.splitlines()[0] == "C. Ada"
    assert other.footage[0].paths == ("cg_videos_720p/cow_BBBB2.mp4",)
    assert (other.category, other.groups, other.seconds) == ("Event Cognition", {"domain": "Town"}, 2741.0)


def test_clues_are_joined_where_they_overlap(tmp_path: Path) -> None:
    one, several, apart = rows_of("cgbench", tmp_path, ask="clue")
    assert (one.template, one.answer_type, one.answer) == ("moments", "moments", "8-11")
    assert several.answer == "0-2, 2.5-3"
    assert apart.answer == "100-110, 200-210"


@pytest.mark.parametrize(("ask", "error"), [("answer", "right_answer 'F'"), ("clue", "got 5 to 4")])
def test_a_wrong_letter_or_an_inverted_clue_is_a_bad_row(tmp_path: Path, ask: str, error: str) -> None:
    (bad,) = (row for row in load("cgbench", tmp_path, ask=ask) if isinstance(row, BadRow))
    assert error in bad.error


def test_accuracy_is_over_all_questions_and_by_domain_and_task(tmp_path: Path) -> None:
    rows = rows_of("cgbench", tmp_path)
    found = figures("cgbench", rows, {"14": "H", "15": "A", "31": "Bea"})
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert (found["domain: Farm: accuracy"], found["domain: Town: accuracy"]) == (1 / 2, 1.0)
    assert (found["Event Cognition: accuracy"], found["Text Cognition: accuracy"]) == (1.0, 0.0)


def test_clues_are_scored_by_the_overlap_of_the_unions(tmp_path: Path) -> None:
    rows = rows_of("cgbench", tmp_path, ask="clue")
    found = figures("cgbench", rows, {"14": "8 - 11", "15": "0 - 1, 2.5 - 3", "31": "100 - 110, 205 - 220"})
    shares = [1.0, 1.5 / 2.5, 15 / 30]
    assert next(iter(found)) == "mIoU"
    assert found["mIoU"] == pytest.approx(sum(shares) / 3)
    assert found["domain: Farm: mIoU"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("E", 1),
        ("A or E", 1),
        ("A", 0),
        ("Elephant", None),
        ("e", None),
        ('```json\n{"result": "E"}\n```', 1),
        ('A?\n```json\n{"result": E}\n```', 1),
        ('```json\n{"result": "A"}\n``` or E', 0),
        ("```json\nE\n```", 1),
    ],
)
def test_official_rule_looks_for_the_letter_among_all_that_stand_alone(text: str, value: float | None) -> None:
    assert official(text, _GOLD) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0 to 10", 1),
        ("from 0 to 5 and 5 to 10", 1),
        ('```json\n{"result": [[0, 5]]}\n```', 0.5),
        ("0-10", 0),
        ("0 to 10 or 12", None),
        ("no idea", None),
    ],
)
def test_official_rule_takes_numbers_as_starts_and_ends_in_turn(text: str, value: float | None) -> None:
    assert official(text, "0-10") == value


@pytest.mark.parametrize("gold", [_GOLD, "0-10"])
@pytest.mark.parametrize(
    "text",
    [
        "```json\n" + "[" * 100_000 + "\n```",
        '```json\n{"result": ' + "[" * 100_000 + "}\n```",
        '```json\n{"result": [[0, ' + "9" * 5000 + "]]}\n```",
        "7" * 400 + " to " + "9" * 400,
    ],
)
def test_official_rule_cannot_read_deep_brackets_and_endless_numbers(gold: str, text: str) -> None:
    assert official(text, gold) is None


@pytest.mark.parametrize("end", ["9" * 400, "1e999", "Infinity", "NaN"])
def test_official_rule_cannot_read_a_result_that_no_float_holds(end: str) -> None:
    assert official(f'```json\n{{"result":[[0,{end}]]}}\n```', "0-10") is None


def test_official_rule_leaves_answers_without_a_letter_out(tmp_path: Path) -> None:
    rows = rows_of("cgbench", tmp_path)
    assert figures("cgbench", rows, {"14": "H", "15": "no idea"}, "official")["accuracy"] == 1.0


@pytest.mark.parametrize("ask", ["answer", "clue"])
def test_answers_and_clues_are_asked_about_the_same_questions(ask: Literal["answer", "clue"]) -> None:
    assert CGBench().size(CGBenchSettings(ask)) == (3000, 1118)


def test_more_choices_than_letters_are_a_fault_of_the_row(tmp_path: Path) -> None:
    rows_of("cgbench", tmp_path)
    record, *_ = CGBench().records(Data(tmp_path, "there"), CGBenchSettings())
    choices = [f"cow {number}" for number in range(27)]
    with pytest.raises(RowError, match="row 1: there are 27 options"):
        CGBench().row(replace(record, fields={**record.fields, "choices": choices}), CGBenchSettings())
