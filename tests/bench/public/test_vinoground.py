"""VinoGround: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BadRow
from videossr.bench.public.general.vinoground import VinoGround, VinoGroundSettings, first_of_either_case
from videossr.config import parse
from videossr.errors import ConfigError

TEXT = {"text/0_pos": "A", "text/0_neg": "B", "text/17_pos": "A", "text/17_neg": "A", "text/18_pos": "A"}
VIDEO = {"video/0_pos": "A", "video/0_neg": "A", "video/17_pos": "A", "video/17_neg": "B"}


def test_rows_know_their_pair_from_their_index(tmp_path: Path) -> None:
    rows = rows_of("vinoground", tmp_path)
    assert [row.id for row in rows] == ["text/0_pos", "text/17_neg", "text/0_neg", "text/17_pos", "text/18_pos"]
    assert rows[1].groups == {"score": "text", "pair": "17", "side": "neg", "minor": ""}
    assert rows[2].category == "object"
    assert rows[2].groups["minor"] == "interaction;cyclical"
    assert rows[1].answer.splitlines()[0] == "B. the bell rings before the cup falls"
    assert rows[0].footage[0].paths == ("vinoground_videos/0_pos.mp4",)


def test_an_index_without_a_side_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = (row for row in load("vinoground", tmp_path) if isinstance(row, BadRow))
    assert "row 6: idx must be a pair and its side" in bad.error


def test_a_pair_is_right_when_both_questions_are(tmp_path: Path) -> None:
    found = figures("vinoground", rows_of("vinoground", tmp_path), TEXT)
    assert next(iter(found)) == "text"
    # A question of the third pair cannot be used, so it was not asked.
    assert found["text"] == pytest.approx(1 / 2)
    assert found["accuracy"] == pytest.approx(4 / 5)
    assert found["major: object: text"] == 1.0
    assert found["major: action: text"] == 0.0
    assert found["minor: cyclical: text"] == 1.0
    assert "group" not in found


def test_video_score_is_read_from_the_folder_of_its_clips(tmp_path: Path) -> None:
    rows = rows_of("vinoground", tmp_path, score="video")
    assert rows[0].footage[0].paths == ("vinoground_videos_concated/0_pos.mp4",)
    assert figures("vinoground", rows, VIDEO)["video"] == pytest.approx(1 / 2)


def test_group_score_needs_all_four_questions(tmp_path: Path) -> None:
    rows = rows_of("vinoground", tmp_path, score="both")
    found = figures("vinoground", rows, {**TEXT, **VIDEO})
    assert found["text"] == pytest.approx(1 / 2)
    assert found["video"] == pytest.approx(1 / 2)
    assert found["group"] == 0.0
    better = {**TEXT, **VIDEO, "video/0_neg": "B"}
    assert figures("vinoground", rows, better)["group"] == pytest.approx(1 / 2)
    assert figures("vinoground", rows, better)["major: object: group"] == 1.0


def test_a_failed_question_makes_its_pair_wrong_and_one_that_was_not_asked_leaves_it_out(tmp_path: Path) -> None:
    rows = rows_of("vinoground", tmp_path, score="both")
    failed = {**TEXT, **VIDEO, "video/0_neg": "B"}
    del failed["text/0_neg"]
    found = figures("vinoground", rows, failed)
    assert (found["text"], found["video"], found["group"]) == (0.0, 1.0, 0.0)
    asked = [row for row in rows if row.id != "text/0_neg"]
    found = figures("vinoground", asked, failed)
    assert (found["text"], found["video"], found["group"]) == (0.0, 1.0, 0.0)
    assert "major: object: text" not in found
    assert found["major: object: video"] == 1.0
    assert "minor: cyclical: group" not in found


def test_without_a_whole_pair_the_mean_over_the_questions_remains(tmp_path: Path) -> None:
    rows = rows_of("vinoground", tmp_path)[:2]
    assert figures("vinoground", rows, {"text/0_pos": "A"}) == {"accuracy": 0.5}


@pytest.mark.parametrize("name", ["score", "pair", "minor"])
@pytest.mark.parametrize("value", [None, 17.0])
def test_an_answer_without_a_group_is_told_by_its_id(tmp_path: Path, name: str, value: float | None) -> None:
    rows = rows_of("vinoground", tmp_path)
    groups = {key: old for key, old in rows[1].groups.items() if key != name}
    rows[1] = replace(rows[1], groups=groups if value is None else {**groups, name: value})
    with pytest.raises(ValueError, match=f"question text/17_neg: group {name} must be a text, got {value}"):
        figures("vinoground", rows, TEXT)


@pytest.mark.parametrize(("score", "size"), [("text", (1000, 1000)), ("video", (1000, None)), ("both", (2000, None))])
def test_each_score_has_its_published_number(score: str, size: tuple[int, int | None]) -> None:
    assert VinoGround().size(parse(VinoGroundSettings, {"score": score}, "")) == size


@pytest.mark.parametrize("form", ["{}. {}", "{}.{}"])
def test_options_are_found_with_and_without_a_blank_behind_the_label(tmp_path: Path, form: str) -> None:
    rows_of("vinoground", tmp_path)
    settings = VinoGroundSettings()
    record, *_ = VinoGround().records(Data(tmp_path, "there"), settings)
    lines = [form.format("A", "a cup falls"), form.format("B", "a Bell rings")]
    shown = replace(record, fields={**record.fields, "question": "\n".join(["Which one?", *lines])})
    assert VinoGround().row(shown, settings).answer == "A. a cup falls\nA. a cup falls\nB. a Bell rings"


def test_another_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="score"):
        rows_of("vinoground", tmp_path, score="group")


@pytest.mark.parametrize(("text", "value"), [("B", 1), ("b) it", 1), ("A", 0), (" B", 0), ("(B)", 0), ("", 0)])
def test_official_rule_reads_the_first_character(text: str, value: int) -> None:
    assert first_of_either_case(text, "B. y\nA. x\nB. y") == value
