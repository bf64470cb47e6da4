"""Charades-STA: rows, and figures by each rule, against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public import write
from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BadRow, NoSettings, Row
from videossr.bench.public.grounding.charades import Charades


def test_rows_keep_the_gold_that_is_published(tmp_path: Path) -> None:
    rows = rows_of("charades", tmp_path)
    assert [row.id for row in rows] == ["ABC12/1", "ABC12/2", "ABC12/3", "XYZ98/1"]
    assert [row.answer for row in rows] == ["0.5-2", "1-5", "8-9.5", "0-4"]
    assert rows[1].question == "person closes the curtain # twice."
    assert [row.groups for row in rows] == [{"length": 3.0}] * 3 + [{}]
    assert rows[0].footage[0].paths[0] == "Charades_v1_480/ABC12.mp4"


def test_damaged_and_inverted_lines_are_bad_rows(tmp_path: Path) -> None:
    damaged, inverted = (row for row in load("charades", tmp_path) if isinstance(row, BadRow))
    assert damaged.where.endswith("line 4")
    assert "video start end##sentence" in damaged.error
    assert inverted.where.endswith("line 7")


def test_only_the_rule_clipped_ends_gold_windows_with_the_video(tmp_path: Path) -> None:
    rows = rows_of("charades", tmp_path)
    answers = {"ABC12/1": "0.5 - 2", "ABC12/2": "1 - 3", "ABC12/3": "8 - 9.5", "XYZ98/1": "0 - 1"}
    assert figures("charades", rows, answers)["mIoU"] == pytest.approx((1 + 0.5 + 1 + 0.25) / 4)
    clipped = figures("charades", rows, answers, "clipped")
    assert clipped["mIoU"] == pytest.approx((1 + 1 + 0 + 0.25) / 4)
    assert clipped["R@0.7"] == 0.5


def test_the_table_of_lengths_is_not_needed(tmp_path: Path) -> None:
    root = write("charades", tmp_path)
    (root / "Charades_v1_test.csv").unlink()
    rows = [row for row in Charades().load(Data(root, ""), NoSettings()) if isinstance(row, Row)]
    assert [row.groups for row in rows] == [{}] * 4
    answers = {"ABC12/2": "1 - 3"}
    assert figures("charades", rows, answers)["R@0.3"] == 0.25
    with pytest.raises(ValueError, match=r"put Charades_v1_test\.csv beside the annotations"):
        figures("charades", rows, answers, "clipped")
