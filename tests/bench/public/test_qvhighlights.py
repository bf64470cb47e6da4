"""QVHighlights: rows, and figures by each rule, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.base import BadRow
from videossr.bench.public.grounding.qvhighlights import (
    QVHighlights,
    QVHighlightsSettings,
    average_precision,
    first_window,
)


def test_rows_keep_all_windows_in_their_order(tmp_path: Path) -> None:
    first, second, third, broken = load("qvhighlights", tmp_path)
    assert isinstance(broken, BadRow)
    assert "relevant_windows" in broken.error
    rows = rows_of("qvhighlights", tmp_path)
    assert [first, second, third] == rows
    assert [row.id for row in rows] == ["11", "12", "13"]
    assert rows[0].answer == "100-108, 20-40, 50-90"
    assert rows[0].question == "A crane lifts a red box."
    assert rows[0].footage[0].paths[0] == "videos/harbour_210.0_360.0.mp4"
    assert rows[2].seconds == 126


def test_the_test_split_is_another_file(tmp_path: Path) -> None:
    assert [row.id for row in rows_of("qvhighlights", tmp_path, split="test")] == ["21"]


def test_each_split_has_its_published_number() -> None:
    assert QVHighlights().size(QVHighlightsSettings()) == (1550, 1519)
    assert QVHighlights().size(QVHighlightsSettings("test")) == (1542, None)


def test_best_and_first_window_give_different_means(tmp_path: Path) -> None:
    rows = rows_of("qvhighlights", tmp_path)
    answers = {"11": "50 - 90", "12": "0 - 12", "13": "somewhere"}
    best = figures("qvhighlights", rows, answers)
    assert next(iter(best)) == "mIoU"
    assert best["mIoU"] == pytest.approx((1 + 0.6 + 0) / 3)
    assert (best["R@0.5"], best["R@0.7"]) == pytest.approx((2 / 3, 1 / 3))
    assert figures("qvhighlights", rows, answers, "first")["mIoU"] == pytest.approx((0 + 0.6 + 0) / 3)


def test_official_figures_have_precision_and_lengths(tmp_path: Path) -> None:
    rows = rows_of("qvhighlights", tmp_path)
    # Overlaps 40/40 of three windows, 12/20 (three of ten thresholds: .5, .55, .6), and 8/10 (seven: up to .8).
    found = figures("qvhighlights", rows, {"11": "50 - 90", "12": "0 - 12", "13": "8 - 16"}, "official")
    assert list(found)[:3] == ["mIoU", "R@0.5", "R@0.55"]
    assert found["mIoU"] == pytest.approx((1 + 0.6 + 0.8) / 3)
    assert (found["R@0.6"], found["R@0.65"], found["R@0.8"]) == pytest.approx((1, 2 / 3, 2 / 3))
    assert found["R@0.95"] == pytest.approx(1 / 3)
    assert found["mAP"] == pytest.approx((1 / 3 + 0.3 + 0.7) / 3)
    assert found["mAP@0.5"] == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert found["mAP@0.75"] == pytest.approx((1 / 3 + 0 + 1) / 3)
    # Short: 100-108 (missed) and 6-16; middle: 20-40 (missed) and 0-20; long: 50-90 alone, so its precision is 1.
    assert found["short: mAP"] == pytest.approx((0 + 0.7) / 2)
    assert found["middle: mAP"] == pytest.approx((0 + 0.3) / 2)
    assert found["long: mAP"] == 1
    assert found["middle: R@0.5"] == 0.5


def test_one_prediction_reaches_the_recall_of_one_window() -> None:
    assert average_precision(0.5, 4) == pytest.approx(0.1 / 4)
    assert average_precision(0.49, 1) == 0


def test_first_window_cannot_read_a_text_without_a_window() -> None:
    assert first_window("no idea", "0-10, 20-30") is None
    assert first_window("20 - 30", "0-10, 20-30") == 0
