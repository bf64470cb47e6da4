"""LongVideoBench: rows of both files, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public import Folder
from tests.helpers.public.longvideobench import rows as published
from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data, RowError
from videossr.bench.public.base import BadRow, NoSettings, Row
from videossr.bench.public.long.longvideobench import LongVideoBench, first_letter


def test_rows_show_the_first_seconds_of_a_file_that_may_have_a_short_name(tmp_path: Path) -> None:
    first, second, short = rows_of("longvideobench", tmp_path)
    assert first.answer.splitlines()[0] == "E. an egg"
    assert (first.footage[0].start, first.footage[0].end) == (0.0, 2.5)
    assert first.footage[0].paths == ("videos/spoon_AAAA1.mp4",)
    assert second.options == ("A. a cup", "B. a plate", "C. a fork")
    assert short.footage[0].paths == ("videos/@cook-7300000000000000001.mp4", "videos/7300000000000000001.mp4")
    assert (tmp_path / short.footage[0].paths[1]).exists()


def test_a_right_place_of_no_option_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = (row for row in load("longvideobench", tmp_path) if isinstance(row, BadRow))
    assert "correct_choice 3 is the place of none of the 3 options" in bad.error


def test_the_parquet_file_has_the_same_questions_with_padded_options(tmp_path: Path) -> None:
    padded = []
    for row in published():
        options = row.pop("candidates")
        assert isinstance(options, list)
        padded.append(row | {f"option{place}": [*options, "N/A", "N/A"][place] for place in range(5)})
    Folder(tmp_path / "hub").parquet("validation-00000-of-00001.parquet", padded)
    found = list(LongVideoBench().load(Data(tmp_path / "hub", "there"), NoSettings()))
    assert [row for row in found if isinstance(row, Row)] == rows_of("longvideobench", tmp_path / "json")


def test_figures_are_over_all_questions_and_by_length_and_category(tmp_path: Path) -> None:
    rows = rows_of("longvideobench", tmp_path)
    found = figures("longvideobench", rows, {"spoon_AAAA1_0": "E", "spoon_AAAA1_1": "B"})
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert (found["up to 15 s: accuracy"], found["up to 3600 s: accuracy"]) == (1 / 2, 0.0)
    assert (found["TOS: accuracy"], found["S2E: accuracy"]) == (1 / 2, 0.0)


@pytest.mark.parametrize(
    ("text", "value"), [("E", 1), ("The answer is E", 1), ("An egg", 0), ("Every one", 1), ("x", None)]
)
def test_official_rule_takes_the_first_capital_and_draws_nothing(text: str, value: float | None) -> None:
    assert first_letter(text, "E. an egg\nA. a pan\nE. an egg") == value


def test_official_rule_counts_unread_answers_as_wrong(tmp_path: Path) -> None:
    rows = rows_of("longvideobench", tmp_path)
    found = figures("longvideobench", rows, {"spoon_AAAA1_0": "E", "spoon_AAAA1_1": "?"}, "official")
    assert found["accuracy"] == pytest.approx(1 / 3)


def test_more_options_than_letters_are_a_fault_of_the_row(tmp_path: Path) -> None:
    rows_of("longvideobench", tmp_path)
    record, *_ = LongVideoBench().records(Data(tmp_path, "there"), NoSettings())
    options = [f"no. {number}" for number in range(27)]
    with pytest.raises(RowError, match="row 1: there are 27 options"):
        LongVideoBench().row(
            replace(record, fields={**record.fields, "candidates": options, "correct_choice": 26}), NoSettings()
        )


@pytest.mark.parametrize("groups", [{}, {"duration_group": "short"}])
def test_an_answer_without_a_group_of_lengths_is_told_by_its_id(tmp_path: Path, groups: dict[str, float | str]) -> None:
    rows = rows_of("longvideobench", tmp_path)
    rows[1] = replace(rows[1], groups=groups)
    with pytest.raises(ValueError, match="question spoon_AAAA1_1: group duration_group must be a number"):
        figures("longvideobench", rows, {})
