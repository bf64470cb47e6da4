"""Video-MME-v2: rows, groups of four, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data, RowError
from videossr.bench.public.base import BadRow, NoSettings
from videossr.bench.public.long.videomme_v2 import VideoMMEv2, first_letter, logic, relevance


def _right(text: str) -> list[bool]:
    return [mark == "1" for mark in text]


def test_rows_have_eight_options_and_their_place_in_the_group(tmp_path: Path) -> None:
    row = rows_of("videomme_v2", tmp_path)[0]
    assert row.id == "001-2"
    assert row.options[7] == "H. Door 8"
    assert row.answer.splitlines()[0] == "H. Door 8"
    assert len(row.answer.splitlines()) == 9
    assert row.footage[0].paths[0] == "001.mp4"
    assert row.groups == {"group": "001", "place": 2, "type": "relevance", "level": "1", "head": "Time"}


def test_a_chain_of_an_unknown_form_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = (row for row in load("videomme_v2", tmp_path) if isinstance(row, BadRow))
    assert "group_structure '[1,2,[3,4]]'" in bad.error


@pytest.mark.parametrize(("right", "score"), [("0000", 0), ("0100", 1 / 16), ("0101", 4 / 16), ("1111", 1)])
def test_relevance_is_the_square_of_the_share(right: str, score: float) -> None:
    assert relevance(_right(right)) == score


@pytest.mark.parametrize(
    ("structure", "right", "score"),
    [
        ("[1, 2, 3, 4]", "0111", 0),
        ("[1, 2, 3, 4]", "1011", 1 / 16),
        ("[1, 2, 3, 4]", "1101", 4 / 16),
        ("[1, 2, 3, 4]", "1110", 9 / 16),
        ("[1, 2, 3, 4]", "1111", 1),
        ("[1, [2, 3], 4]", "1001", 1 / 12),
        ("[1, [2, 3], 4]", "1011", 4 / 12),
        ("[1, [2, 3], 4]", "1101", 4 / 12),
        ("[1, [2, 3], 4]", "1110", 7 / 12),
        ("[1, [2, 3], 4]", "0111", 0),
        ("[[1, 2], 3, 4]", "0111", 1 / 10),
        ("[[1, 2], 3, 4]", "1011", 1 / 10),
        ("[[1, 2], 3, 4]", "1100", 2 / 10),
        ("[[1, 2], 3, 4]", "1110", 5 / 10),
    ],
)
def test_a_chain_counts_up_to_its_first_error(structure: str, right: str, score: float) -> None:
    assert logic(_right(right), structure) == score


def test_headline_is_the_mean_of_the_complete_groups(tmp_path: Path) -> None:
    rows = rows_of("videomme_v2", tmp_path)
    right = {"001": "123", "002": "134", "003": "134", "004": "123", "005": "134"}
    answers = {f"{video}-{place}": "H" for video, places in right.items() for place in places}
    found = figures("videomme_v2", rows, answers)
    assert next(iter(found)) == "group score"
    scores = [9 / 16, 1 / 16, 4 / 12, 5 / 10]
    assert found["group score"] == pytest.approx(sum(scores) / 4)
    assert found["relevance: group score"] == 9 / 16
    assert found["logic: group score"] == pytest.approx(sum(scores[1:]) / 3)
    assert found["level 3: group score"] == pytest.approx((4 / 12 + 5 / 10) / 2)
    assert found["second head: Time: group score"] == found["group score"]
    assert "second head: Space: group score" not in found
    assert found["accuracy"] == 15 / 19
    assert found["second head: Space: accuracy"] == 1.0
    assert found["level 3: accuracy"] == 1 / 2


def test_without_a_complete_group_accuracy_remains(tmp_path: Path) -> None:
    rows = [row for row in rows_of("videomme_v2", tmp_path) if row.groups["group"] == "005"]
    found = figures("videomme_v2", rows, {"005-1": "H"})
    assert next(iter(found)) == "accuracy"
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert {name.rpartition(": ")[2] for name in found} == {"accuracy"}


@pytest.mark.parametrize("structure", ["[" * 100_000, "[1, 2", "9" * 5000, "NaN"])
def test_a_chain_that_is_no_list_or_too_deep_is_a_fault_of_the_row(tmp_path: Path, structure: str) -> None:
    rows_of("videomme_v2", tmp_path)
    record = list(VideoMMEv2().records(Data(tmp_path, "there"), NoSettings()))[4]
    with pytest.raises(RowError, match=r"group_structure .* is none of"):
        VideoMMEv2().row(replace(record, fields={**record.fields, "group_structure": structure}), NoSettings())


def test_options_without_a_blank_behind_the_label_get_one(tmp_path: Path) -> None:
    rows_of("videomme_v2", tmp_path)
    record, *_ = VideoMMEv2().records(Data(tmp_path, "there"), NoSettings())
    options = "\n".join(f"{letter}.door" for letter in "ABCDEFGH")
    row = VideoMMEv2().row(replace(record, fields={**record.fields, "options": options}), NoSettings())
    assert row.options == tuple(f"{letter}. door" for letter in "ABCDEFGH")
    assert row.answer.splitlines() == ["H. door", *row.options]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("group", None, "group group must be a text, got None"),
        ("place", "2", "group place must be a number, got '2'"),
        ("type", None, "group type must be a text, got None"),
        ("structure", None, "group structure must be a text, got None"),
        ("structure", "[4, 3, 2, 1]", r"group structure '\[4, 3, 2, 1\]' is none of"),
    ],
)
def test_an_answer_without_its_groups_is_told_by_its_id(
    tmp_path: Path, name: str, value: str | None, error: str
) -> None:
    rows = rows_of("videomme_v2", tmp_path)
    place = next(index for index, row in enumerate(rows) if row.id == "002-1")
    groups = {key: old for key, old in rows[place].groups.items() if key != name}
    rows[place] = replace(rows[place], groups=groups if value is None else {**groups, name: value})
    with pytest.raises(ValueError, match=f"question 002-1: {error}"):
        figures("videomme_v2", rows, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [("H", 1), ("Final Answer: H", 1), ("Answer: H.", 1), ("Best option: H", 1), ("Door H", 0), ("h", None)],
)
def test_official_rule_takes_the_first_capital_behind_known_phrases(text: str, value: float | None) -> None:
    assert first_letter(text, "H. z\nA. x\nH. z") == value
