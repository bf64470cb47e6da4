"""AoTBench: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BadRow, NoSettings
from videossr.bench.public.general.aotbench import AoTBench


def test_lists_are_read_from_either_folder_and_asked_as_they_are(tmp_path: Path) -> None:
    rows = rows_of("aotbench", tmp_path)
    assert [row.id for row in rows] == ["ReverseFilm/1", "UCF101/1", "UCF101/2", "Rtime_t2v/1", "AoTBench_QA/1"]
    assert {row.template for row in rows} == {"as_published"}
    assert rows[0].question.endswith("that is right.")
    assert rows[0].answer == "B. It runs backward.\nA. It runs forward.\nB. It runs backward."
    assert rows[4].answer.splitlines()[0] == "C. A turn."


@pytest.mark.parametrize("form", ["{}. {}", "{}.{}", "({}) {}"])
def test_options_are_found_with_and_without_a_blank_behind_the_label(tmp_path: Path, form: str) -> None:
    rows_of("aotbench", tmp_path)
    record, *_ = AoTBench().records(Data(tmp_path, "there"), NoSettings())
    lines = [form.format(letter, text) for letter, text in zip("ABC", ("red", "Blue", "7"), strict=True)]
    shown = replace(record, fields={**record.fields, "question": "\n".join(["Which one?", *lines, "Say a letter."])})
    assert AoTBench().row(shown, NoSettings()).answer == "B. Blue\nA. red\nB. Blue\nC. 7"


def test_a_video_may_have_another_ending(tmp_path: Path) -> None:
    paths = rows_of("aotbench", tmp_path)[1].footage[0].paths
    assert paths[0] == "videos/v_Dive_g01.mp4"
    assert [path for path in paths if (tmp_path / path).exists()] == ["videos/v_Dive_g01.avi"]


def test_a_letter_without_an_option_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = (row for row in load("aotbench", tmp_path) if isinstance(row, BadRow))
    assert "AoTBench_QA.json, row 2: ans 'D' is the letter of none of 2 options" in bad.error


def test_headline_is_the_mean_of_the_questions(tmp_path: Path) -> None:
    rows = rows_of("aotbench", tmp_path)
    answers = {
        "ReverseFilm/1": "B",
        "UCF101/1": "(A)",
        "UCF101/2": "A",
        "Rtime_t2v/1": "The second.",
        "AoTBench_QA/1": "C",
    }
    found = figures("aotbench", rows, answers)
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["sequence direction: accuracy"] == pytest.approx(2 / 3)
    assert found["UCF101: accuracy"] == pytest.approx(1 / 2)
    assert "caption matching: accuracy" not in found
    assert figures("aotbench", rows, answers, "macro")["accuracy"] == pytest.approx((1 + 1 / 2 + 0 + 1) / 4)


def test_official_rule_leaves_empty_answers_out(tmp_path: Path) -> None:
    rows = rows_of("aotbench", tmp_path)
    answers = {"ReverseFilm/1": "Both", "UCF101/1": "(A)", "UCF101/2": " ", "AoTBench_QA/1": "C."}
    assert figures("aotbench", rows, answers, "official")["accuracy"] == pytest.approx(2 / 3)
