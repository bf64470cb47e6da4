"""VinoGround: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.base import BadRow
from videossr.bench.public.general.vinoground import first_of_either_case
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
    assert found["text"] == pytest.approx(1 / 3)
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
    assert found["text"] == pytest.approx(1 / 3)
    assert found["video"] == pytest.approx(1 / 2)
    assert found["group"] == 0.0
    better = {**TEXT, **VIDEO, "video/0_neg": "B"}
    assert figures("vinoground", rows, better)["group"] == pytest.approx(1 / 3)
    assert figures("vinoground", rows, better)["major: object: group"] == 1.0


def test_another_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="score"):
        rows_of("vinoground", tmp_path, score="group")


@pytest.mark.parametrize(("text", "value"), [("B", 1), ("b) it", 1), ("A", 0), (" B", 0), ("(B)", 0), ("", 0)])
def test_official_rule_reads_the_first_character(text: str, value: int) -> None:
    assert first_of_either_case(text, "B. y\nA. x\nB. y") == value
