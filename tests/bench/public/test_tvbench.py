"""TVBench: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data, RowError
from videossr.bench.public.base import BadRow, NoSettings
from videossr.bench.public.general.tvbench import TVBench


def test_each_task_has_a_folder_of_its_own_and_bounds_where_they_are_given(tmp_path: Path) -> None:
    rows = {row.id: row for row in rows_of("tvbench", tmp_path)}
    assert list(rows) == ["action_sequence/1", "unexpected_action/1", "moving_direction/1", "moving_direction/2"]
    first = rows["action_sequence/1"].footage[0]
    assert (first.paths, first.start, first.end) == (("video/action_sequence/QX7.mp4",), 0.5, 2.5)
    assert rows["unexpected_action/1"].footage[0].paths == ("video/unexpected_action/H_1.mp4",)
    assert rows["moving_direction/1"].answer.splitlines()[0] == "C. Left."
    assert rows["moving_direction/1"].footage[0].end is None


def test_an_answer_that_is_no_candidate_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = (row for row in load("tvbench", tmp_path) if isinstance(row, BadRow))
    assert "moving_direction.json, row 3" in bad.where
    assert "'Away.' is none of the candidates" in bad.error


def test_headline_is_the_mean_of_the_tasks(tmp_path: Path) -> None:
    rows = rows_of("tvbench", tmp_path)
    answers = {
        "action_sequence/1": "B",
        "moving_direction/1": "C",
        "moving_direction/2": "B",
        "unexpected_action/1": "A",
    }
    assert figures("tvbench", rows, answers)["accuracy"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert figures("tvbench", rows, answers, "micro")["accuracy"] == pytest.approx(2 / 4)


def test_more_options_than_letters_are_a_fault_of_the_row(tmp_path: Path) -> None:
    rows_of("tvbench", tmp_path)
    record, *_ = TVBench().records(Data(tmp_path, "there"), NoSettings())
    options = [f"no. {number}" for number in range(27)]
    with pytest.raises(RowError, match="row 1: there are 27 options"):
        TVBench().row(
            replace(record, fields={**record.fields, "candidates": options, "answer": "no. 26"}), NoSettings()
        )
