"""TOMATO: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data, RowError
from videossr.bench.public.base import BadRow, NoSettings
from videossr.bench.public.general.tomato import TOMATO, plain_letter

GOLD = "B. a star\nA. a ring\nB. a star\nC. a bow"


def test_answers_count_from_0_and_ids_name_the_file(tmp_path: Path) -> None:
    rows = {row.id: row for row in rows_of("tomato", tmp_path)}
    assert list(rows) == ["count/0", "count/7", "shape&trend/0", "visual_cues/3"]
    assert rows["count/0"].answer.splitlines()[0] == "A. 1"
    assert rows["count/7"].answer.splitlines()[0] == "G. 9"
    assert rows["count/7"].footage[0].paths == ("videos/object/0102-01.mp4",)
    assert (rows["shape&trend/0"].category, rows["shape&trend/0"].groups) == ("shape&trend", {"demonstration": "human"})


def test_an_answer_beyond_the_options_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = (row for row in load("tomato", tmp_path) if isinstance(row, BadRow))
    assert "count.json, row 3: answer 2 is the place of none of 2 options" in bad.error


def test_headline_is_the_mean_of_the_questions(tmp_path: Path) -> None:
    rows = rows_of("tomato", tmp_path)
    found = figures("tomato", rows, {"count/0": "A", "count/7": "9", "shape&trend/0": "C. Star"})
    assert found["accuracy"] == pytest.approx(2 / 4)
    assert found["count: accuracy"] == 1.0
    assert found["visual_cues: accuracy"] == 0.0
    assert found["demonstration: human: accuracy"] == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("B", 1),
        (" b\n", 1),
        ("A", 0),
        ("Answer is:B", 1),
        ("Answer is(C)", 0),
        ("B: A STAR", None),
        ("B: a star", None),
        ("B. a star", None),
        ("Answer is: B", None),
        ("D", None),
        ("", None),
    ],
)
def test_official_rule_reads_a_letter_alone(text: str, value: float | None) -> None:
    assert plain_letter(text, GOLD) == value


def test_official_rule_reads_a_whole_option_that_has_no_small_letters() -> None:
    assert plain_letter("B: 2", "B. 2\nA. 1\nB. 2") == 1
    assert plain_letter("a: 1", "B. 2\nA. 1\nB. 2") == 0


def test_official_rule_counts_what_it_cannot_read_as_wrong(tmp_path: Path) -> None:
    rows = rows_of("tomato", tmp_path)
    found = figures("tomato", rows, {"count/0": "A", "count/7": "G. 9"}, "official")
    assert found["accuracy"] == pytest.approx(1 / 4)


def test_more_options_than_letters_are_a_fault_of_the_row(tmp_path: Path) -> None:
    rows_of("tomato", tmp_path)
    record, *_ = TOMATO().records(Data(tmp_path, "there"), NoSettings())
    options = [f"no. {number}" for number in range(27)]
    with pytest.raises(RowError, match="row 1: there are 27 options"):
        TOMATO().row(replace(record, fields={**record.fields, "options": options, "answer": 26}), NoSettings())
