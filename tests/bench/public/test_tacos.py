"""TACoS: rows of both copies, and figures against values worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public import Folder
from tests.helpers.public.scored import figures, load, rows_of
from tests.helpers.public.tacos import write_seconds
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BadRow, NoSettings, Row
from videossr.bench.public.grounding.tacos import TACoS


def test_frame_numbers_become_seconds_and_repeated_rows_stay(tmp_path: Path) -> None:
    rows = rows_of("tacos", tmp_path)
    assert [row.id for row in rows] == ["s90-d01/1", "s90-d01/2", "s90-d01/3"]
    assert [row.answer for row in rows] == ["1-2.5", "1-2.5", "3.5-4"]
    assert [row.question for row in rows[1:]] == ["He peels an onion", "The person rinses the knife"]
    assert rows[0].seconds == 4.0
    assert rows[0].footage[0].paths == ("videos/s90-d01.avi", "videos/s90-d01.mp4", "videos/s90-d01-cam-002.mp4")


def test_videos_without_a_frame_rate_are_bad_rows(tmp_path: Path) -> None:
    bad = [row.error for row in load("tacos", tmp_path) if isinstance(row, BadRow)]
    assert len(bad) == 2
    assert all("fps must be" in error for error in bad)


def test_the_copy_in_seconds_gives_the_same_questions(tmp_path: Path) -> None:
    write_seconds(Folder(tmp_path / "seconds"))
    rows = [row for row in TACoS().load(Data(tmp_path / "seconds", ""), NoSettings()) if isinstance(row, Row)]
    assert rows == rows_of("tacos", tmp_path)[:2]


def test_figures_are_overlaps(tmp_path: Path) -> None:
    found = figures("tacos", rows_of("tacos", tmp_path), {"s90-d01/1": "1 - 2.5", "s90-d01/3": "0:00 - 0:04"})
    assert list(found) == ["mIoU", "R@0.3", "R@0.5", "R@0.7", "R@0.1"]
    assert list(found.values()) == pytest.approx([(1 + 0 + 0.125) / 3, 1 / 3, 1 / 3, 1 / 3, 2 / 3])
