"""LVBench: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BadRow, NoSettings
from videossr.bench.public.long.lvbench import LVBench, bracketed_letter


def test_videos_are_found_by_key_and_by_the_names_of_the_downloader(tmp_path: Path) -> None:
    first, second, renamed, missing = rows_of("lvbench", tmp_path)
    assert [row.id for row in (first, second, renamed, missing)] == ["1", "2", "4", "5"]
    assert first.footage[0].paths == ("videos/boat_AAAA-1.mp4", "boat_AAAA-1.mp4")
    assert renamed.footage[0].paths[-1] == "videos/00000/000000001.mp4"
    assert missing.footage[0].paths[-1] == "videos/00000/000000002.mp4"
    assert first.answer.splitlines() == ["(B) A boat", "(A) A tent", "(B) A boat", "(C) A cart", "(D) A barn"]
    assert (first.template, first.options) == ("choice_inside", ())


def test_videos_are_found_by_key_where_the_downloader_was_not_used(tmp_path: Path) -> None:
    rows_of("lvbench", tmp_path)
    (tmp_path / "videos" / "00000.parquet").unlink()
    records = list(LVBench().records(Data(tmp_path, "there"), NoSettings()))
    assert [record.context["name"] for record in records] == [""] * 6


def test_a_question_without_options_and_a_video_without_questions_are_bad_rows(tmp_path: Path) -> None:
    bad = [row for row in load("lvbench", tmp_path) if isinstance(row, BadRow)]
    assert ["line 1, question 3" in bad[0].where, "line 4" in bad[1].where, len(bad)] == [True, True, 2]


def test_a_question_counts_in_each_of_its_types(tmp_path: Path) -> None:
    found = figures("lvbench", rows_of("lvbench", tmp_path), {"1": "B", "2": "(A) A tent", "4": "c", "5": ""})
    assert found["accuracy"] == 2 / 4
    assert found["entity recognition: accuracy"] == 1 / 2
    assert found["reasoning: accuracy"] == 0.0
    assert found["temporal grounding: accuracy"] == 1.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("B", 1),
        ("(B) A boat", 1),
        ("It is (B)", 1),
        ("B) A boat", 1),
        ("Answer: B", 0),
        ("b", 0),
        (" ", None),
        ("( )", None),
    ],
)
def test_official_rule_reads_the_first_character_behind_a_bracket(text: str, value: float | None) -> None:
    assert bracketed_letter(text, "(B) A boat\n(A) A tent\n(B) A boat") == value


def test_official_rule_leaves_questions_without_an_answer_out(tmp_path: Path) -> None:
    rows = rows_of("lvbench", tmp_path)
    assert figures("lvbench", rows, {"1": "B", "2": "A", "4": "(C)"}, "official")["accuracy"] == pytest.approx(2 / 3)
