"""MVTamperBench: rows, and scores of answers, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.base import BadRow

SEQUENCE = "action_sequence"
EPISODES = "episodic_reasoning"


def test_clips_are_shown_whole_and_grouped_by_the_kind_of_tampering(tmp_path: Path) -> None:
    rows = {row.id: row for row in rows_of("mvtamperbench", tmp_path)}
    first = rows[f"{SEQUENCE}/1"]
    assert (first.footage[0].start, first.footage[0].end) == (0.0, None)
    assert first.footage[0].paths == ("video/star/Charades_v1_480/PL3.mp4",)
    assert (first.category, first.groups["task"]) == ("original", SEQUENCE)
    assert first.answer == "B. No\nA. Yes\nB. No"
    episode = rows[f"{EPISODES}/2"].footage[0]
    assert (episode.paths, episode.fps) == (("video/tvqa/frames_fps3/show_s01e02_clip_01_dropping.mp4",), None)


def test_a_row_without_its_kind_is_a_bad_row(tmp_path: Path) -> None:
    (bad,) = (row for row in load("mvtamperbench", tmp_path) if isinstance(row, BadRow))
    assert "row 4: tamper_type must be a text" in bad.error


def test_tampered_and_original_clips_count_alike(tmp_path: Path) -> None:
    rows = rows_of("mvtamperbench", tmp_path)
    constant = figures("mvtamperbench", rows, {row.id: "A" for row in rows})
    assert constant["accuracy"] == 0.5
    assert figures("mvtamperbench", rows, {row.id: "A" for row in rows}, "micro")["accuracy"] == pytest.approx(3 / 5)


def test_each_kind_is_scored_beside_all_original_clips(tmp_path: Path) -> None:
    rows = rows_of("mvtamperbench", tmp_path)
    answers = {f"{SEQUENCE}/1": "no", f"{SEQUENCE}/2": "A", f"{SEQUENCE}/3": "B", f"{EPISODES}/2": "B. No"}
    found = figures("mvtamperbench", rows, answers)
    assert found["accuracy"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found["dropping: accuracy"] == pytest.approx(2 / 4)
    assert found["dropping: recall"] == pytest.approx(1 / 2)
    assert found["masking: accuracy"] == pytest.approx(1 / 3)
    assert found["original: accuracy"] == pytest.approx(1 / 2)
    assert found[f"task: {EPISODES}: accuracy"] == 0.0


def test_official_rule_reads_the_first_word(tmp_path: Path) -> None:
    rows = [row for row in rows_of("mvtamperbench", tmp_path) if row.id == f"{SEQUENCE}/1"]
    assert figures("mvtamperbench", rows, {f"{SEQUENCE}/1": "(B) No"}, "official")["accuracy"] == 1.0
    assert figures("mvtamperbench", rows, {f"{SEQUENCE}/1": "No"}, "official")["accuracy"] == 0.0
