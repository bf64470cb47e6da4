"""ActivityNet Captions: rows, and figures against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.base import BadRow


def test_rows_are_stripped_sentences_and_clipped_spans(tmp_path: Path) -> None:
    rows = rows_of("activitynet", tmp_path)
    assert [row.id for row in rows] == ["v_aaaaaaaaaa1/1", "v_aaaaaaaaaa1/2", "v_aaaaaaaaaa1/3", "v_cccccccccc3/1"]
    assert [row.question for row in rows[:2]] == ["A potter wets the clay", "She turns the wheel"]
    assert [row.answer for row in rows] == ["0.5-2", "1.25-3.5", "0-3.5", "0-5"]
    assert rows[0].footage[0].paths[:3] == tuple(f"videos/v_aaaaaaaaaa1.{kind}" for kind in ("mp4", "mkv", "webm"))
    assert "videos/aaaaaaaaaa1.mp4" in rows[0].footage[0].paths


def test_inverted_and_incomplete_queries_are_bad_rows_by_themselves(tmp_path: Path) -> None:
    bad = [row.where.partition("val_1.json, ")[2] for row in load("activitynet", tmp_path) if isinstance(row, BadRow)]
    assert bad == ["v_bbbbbbbbbb2, query 1", "v_cccccccccc3, query 2", "v_dddddddddd4, query 1"]


def test_the_other_split_is_a_setting(tmp_path: Path) -> None:
    (row,) = rows_of("activitynet", tmp_path, split="val_2")
    assert (row.id, row.question, row.answer) == ("v_eeeeeeeeee5/1", "A kite climbs", "1-2")


def test_figures_are_overlaps(tmp_path: Path) -> None:
    rows = rows_of("activitynet", tmp_path)
    answers = {"v_aaaaaaaaaa1/1": "0.5 - 2", "v_aaaaaaaaaa1/2": "It is 1.25s to 2.6s", "v_cccccccccc3/1": "3 - 10"}
    found = figures("activitynet", rows, answers)
    # 1.35 of 2.25 seconds is 0.6, and 2 of 10 seconds is 0.2; the third question has no answer.
    assert list(found) == ["mIoU", "R@0.3", "R@0.5", "R@0.7"]
    assert list(found.values()) == pytest.approx([(1 + 0.6 + 0 + 0.2) / 4, 0.5, 0.5, 0.25])
