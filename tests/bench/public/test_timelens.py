"""TimeLens-Bench: rows, figures against values worked out by hand, and the official reader of times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.base import BadRow
from videossr.bench.public.grounding.timelens import first_times, first_times_overlap

ANSWERS = {
    "charades/PQR77/1": "0.5 - 2.5",
    "activitynet/v_ffffffffff6/1": "15 - 20",
    "qvhighlights/harbour_210.0_360.0/1": "90 - 120",
}


def test_rows_of_three_sets_are_read(tmp_path: Path) -> None:
    rows = rows_of("timelens", tmp_path)
    assert [row.id for row in rows] == ["charades/PQR77/1", "charades/PQR77/2", *list(ANSWERS)[1:]]
    assert rows[0].question == "A person lifts a lid"
    assert rows[0].footage[0].paths == ("videos/charades/PQR77.mp4",)
    assert rows[3].answer == "60-90"
    (bad,) = (row for row in load("timelens", tmp_path) if isinstance(row, BadRow))
    assert "PQR78, query 1" in bad.where


def test_headline_is_the_mean_of_the_sets(tmp_path: Path) -> None:
    found = figures("timelens", rows_of("timelens", tmp_path), ANSWERS)
    assert next(iter(found)) == "mIoU"
    assert found["mIoU"] == pytest.approx(((1 + 0) / 2 + 0.5 + 0) / 3)
    assert found["R@0.5"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["charades: mIoU"] == 0.5
    assert found["activitynet: R@0.7"] == 0


def test_some_sets_can_be_chosen(tmp_path: Path) -> None:
    rows = rows_of("timelens", tmp_path, sets=("activitynet", "activitynet"))
    assert [row.category for row in rows] == ["activitynet"]
    assert "activitynet: mIoU" not in figures("timelens", rows, ANSWERS)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("10 - 20", (10, 20)),
        ("From 3.5 to 7, or 8 - 9", (8, 9)),
        ("from 3.5 to 7", (3.5, 7)),
        ("24.3s - 30.4s", (24, 30)),
        ("00:24 - 00:30.5", (24, 30.5)),
        ("1:02:03 and 1:02:04", (3723, 3724)),
        ("30.4 - 24.3", (30.4, 24.3)),
        ("at 5", None),
    ],
)
def test_official_rule_reads_the_first_two_times(text: str, times: tuple[float, float] | None) -> None:
    assert first_times(text) == times


def test_official_rule_scores_inverted_times_as_wrong(tmp_path: Path) -> None:
    assert first_times_overlap("30.4 - 24.3", "24.3-30.4") == 0
    assert first_times_overlap("24.3 - 30.4", "24.3-30.4") == 1
    rows = rows_of("timelens", tmp_path, sets=("activitynet",))
    answers = {"activitynet/v_ffffffffff6/1": "It is 10 - 20, not 30 - 40."}
    assert figures("timelens", rows, answers)["mIoU"] == 0
    assert figures("timelens", rows, answers, "official")["mIoU"] == 1
