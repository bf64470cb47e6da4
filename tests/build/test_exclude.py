"""Datasets kept apart: by the bytes of the file, by likeness, by source, and donors count."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.build.conftest import CLIPS, JIGSAW, MIRROR, SWAP, Make, indexed, picture, write
from videossr.build import table
from videossr.video.corpus import Corpus


def contents(folder: Path) -> set[str]:
    """Every video that a dataset shows a frame of."""
    return {source["content"] for row in table.read_file(folder / "samples-00000.parquet") for source in row["sources"]}


def excluded(folder: Path) -> dict[str, tuple[str, float, float]]:
    """File -> reason, value and threshold, of the videos that were left out whole."""
    rows = table.read_file(folder / "rejected.parquet")
    return {row["path"]: (row["reason"], row["value"], row["threshold"]) for row in rows if row["column"] is None}


def test_no_video_is_shared_and_donors_count(made: Corpus, make: Make, tmp_path: Path) -> None:
    make("bench", made, {"swap": (SWAP, 4)})
    assert len(contents(tmp_path / "bench")) > 4, "no donor is a video of its own"
    manifest = make("train", made, {"mirror": (MIRROR, 6), "swap": (SWAP, 6)}, exclusions=[tmp_path / "bench"])
    assert not contents(tmp_path / "train") & contents(tmp_path / "bench")
    left_out = excluded(tmp_path / "train")
    assert {reason for reason, _, _ in left_out.values()} == {"excluded_content"}
    assert len(left_out) == len(contents(tmp_path / "bench")) < CLIPS
    assert manifest["rejected"]["excluded: excluded_content"] == len(left_out)
    assert len(manifest["excluded"]) == 1


def test_a_copy_of_another_size_and_codec_is_found(made: Corpus, make: Make, tmp_path: Path) -> None:
    make("bench", made, {"jigsaw": (JIGSAW, CLIPS)})
    write(tmp_path / "new/again.avi", picture(3, height=192, width=256), "mpeg4", {"qscale": "6"})
    write(tmp_path / "new/fresh.mp4", picture(103))
    make("train", indexed(tmp_path / "new"), {"mirror": (MIRROR, 1)}, exclusions=[tmp_path / "bench"])
    ((path, (reason, value, threshold)),) = excluded(tmp_path / "train").items()
    assert (path, reason) == ("again.avi", "excluded_near")
    assert value >= threshold == 0.5
    (row,) = table.read_file(tmp_path / "train" / "samples-00000.parquet")
    assert row["sources"][0]["content"] not in contents(tmp_path / "bench")


def test_clips_of_the_same_footage_are_kept_apart(clips: Path, make: Make, tmp_path: Path) -> None:
    for folder, names in {"old": ("a_1",), "new": ("a_2", "b_1")}.items():
        for name in names:
            (tmp_path / folder).mkdir(exist_ok=True)
            number = ("a_1", "a_2", "b_1").index(name)
            shutil.copy(clips / f"clip_{number:02}.mp4", tmp_path / folder / f"{name}.mp4")
    old, new = (indexed(tmp_path / folder, source_id=r"^(\w)_") for folder in ("old", "new"))
    make("bench", old, {"mirror": (MIRROR, 1)})
    make("train", new, {"mirror": (MIRROR, 1)}, exclusions=[tmp_path / "bench"])
    assert excluded(tmp_path / "train") == {"a_2.mp4": ("excluded_source", 1, 0)}


def test_when_nothing_is_left(made: Corpus, make: Make, tmp_path: Path) -> None:
    make("bench", made, {"jigsaw": (JIGSAW, CLIPS)})
    with pytest.raises(ValueError, match=r"no video is fit for mirror\. .*: excluded: excluded_content"):
        make("train", made, {"mirror": (MIRROR, 1)}, exclusions=[tmp_path / "bench"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        make("train", made, {"mirror": (MIRROR, 1)}, exclusions=[tmp_path / "nowhere"])
