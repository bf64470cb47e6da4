"""LVBench: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data, RowError
from videossr.bench.public.base import BadRow, NoSettings
from videossr.bench.public.long.lvbench import LVBench
from videossr.bench.public.official import first_in_brackets


def test_videos_are_found_by_key_and_by_the_names_of_the_downloader(tmp_path: Path) -> None:
    first, second, renamed, missing = rows_of("lvbench", tmp_path)
    assert [row.id for row in (first, second, renamed, missing)] == ["1", "2", "4", "5"]
    assert first.footage[0].paths == ("videos/boat_AAAA-1.mp4", "boat_AAAA-1.mp4")
    assert renamed.footage[0].paths[-1] == "videos/00000/000000001.mp4"
    assert missing.footage[0].paths[-1] == "videos/00000/000000002.mp4"
    assert first.answer.splitlines() == ["B. A boat", "A. A tent", "B. A boat", "C. A cart", "D. A barn"]
    assert (first.template, first.options) == ("choice_inside", ())


def test_videos_are_found_by_key_where_the_downloader_was_not_used(tmp_path: Path) -> None:
    rows_of("lvbench", tmp_path)
    (tmp_path / "videos" / "00000.parquet").unlink()
    records = list(LVBench().records(Data(tmp_path, "there"), NoSettings()))
    assert [record.context["name"] for record in records] == [""] * 6


def test_a_question_without_options_and_a_video_without_questions_are_bad_rows(tmp_path: Path) -> None:
    bad = [row for row in load("lvbench", tmp_path) if isinstance(row, BadRow)]
    assert ["line 1, question 3" in bad[0].where, "line 4" in bad[1].where, len(bad)] == [True, True, 2]


@pytest.mark.parametrize("form", ["({}) {}", "({}){}", "{}. {}", "{}.{}", "{}){}"])
def test_options_are_found_with_and_without_a_blank_behind_the_label(tmp_path: Path, form: str) -> None:
    rows_of("lvbench", tmp_path)
    record, *_ = LVBench().records(Data(tmp_path, "there"), NoSettings())
    lines = [form.format(letter, text) for letter, text in zip("ABCD", ("red", "blue", "Green", "7"), strict=True)]
    shown = replace(record, fields={**record.fields, "question": "\n".join(["Which one?", *lines])})
    row = LVBench().row(shown, NoSettings())
    assert row.answer == "B. blue\nA. red\nB. blue\nC. Green\nD. 7"


def test_an_answer_without_types_is_told_by_its_id(tmp_path: Path) -> None:
    rows = rows_of("lvbench", tmp_path)
    old = [*rows[:2], replace(rows[2], groups={"type": "reasoning"})]
    with pytest.raises(ValueError, match="question 4: group types must be a text, got None"):
        figures("lvbench", old, {})
    with pytest.raises(ValueError, match="question 4: group types must be a text, got 3"):
        figures("lvbench", [replace(rows[2], groups={"types": 3})], {})


def test_a_line_that_is_no_json_says_so(tmp_path: Path) -> None:
    rows_of("lvbench", tmp_path)
    (tmp_path / "video_info.meta.jsonl").write_text('{"key": ', "utf-8")
    (bad,) = LVBench().load(Data(tmp_path, "there"), NoSettings())
    assert isinstance(bad, BadRow)
    assert "line 1: it is not valid JSON" in bad.error


@pytest.mark.parametrize("uid", [None, "", True, 1.5])
def test_an_id_must_be_a_text_or_a_whole_number(tmp_path: Path, uid: object) -> None:
    rows_of("lvbench", tmp_path)
    record, *_ = LVBench().records(Data(tmp_path, "there"), NoSettings())
    with pytest.raises(RowError, match="uid must be a text, got"):
        LVBench().row(replace(record, fields={**record.fields, "uid": uid}), NoSettings())


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
    assert first_in_brackets(text, "(B) A boat\n(A) A tent\n(B) A boat") == value


def test_official_rule_leaves_questions_without_an_answer_out(tmp_path: Path) -> None:
    rows = rows_of("lvbench", tmp_path)
    assert figures("lvbench", rows, {"1": "B", "2": "A", "4": "(C)"}, "official")["accuracy"] == pytest.approx(2 / 3)
