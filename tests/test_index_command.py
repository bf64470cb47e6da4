"""`videossr index` as a user types it: files, lists and folders of images, and what is said where there is nothing."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from videossr.cli import main
from videossr.video.corpus import Corpus

Command = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `videos/a.mkv`, `videos/b.mkv`, and `frames/x` of 20 images."""
    (tmp_path / "videos").mkdir()
    for seed, name in enumerate("ab"):
        pictures = np.random.default_rng(seed).integers(0, 256, (20, 64, 96, 3), np.uint8)
        with av.open(tmp_path / f"videos/{name}.mkv", "w") as container:
            stream = container.add_stream("mjpeg", 10, width=96, height=64, pix_fmt="yuvj420p")
            packets = [packet for one in pictures for packet in stream.encode(av.VideoFrame.from_ndarray(one))]
            container.mux([*packets, *stream.encode(None)])
    (tmp_path / "frames/x").mkdir(parents=True)
    for number, packet in enumerate(packets):
        (tmp_path / f"frames/x/{number}.jpg").write_bytes(bytes(packet))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def index(where: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `videossr index … --out out`; its exit status, and what it says."""

    def run(line: str) -> tuple[int, str, str]:
        try:
            main(["index", *shlex.split(line), "--out", "out", "--frames", "4", "--workers", "1"])
            status = 0
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return status, out, err

    return run


def paths() -> list[str]:
    return sorted(entry.path for entry in Corpus("out").videos)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("videos", ["a.mkv", "b.mkv"]),
        ("videos/a.mkv", ["a.mkv"]),
        ("videos/b.mkv videos/a.mkv", ["a.mkv", "b.mkv"]),
        ("--list list.txt", ["frames/x", "videos/a.mkv"]),
        ("frames --fps 10", ["x"]),
        ("frames/x --image-fps 29.97", ["x"]),
        ("frames videos --plan fps --fps 5 --image-fps 10", ["frames/x", "videos/a.mkv", "videos/b.mkv"]),
    ],
)
def test_what_may_be_named(index: Command, where: Path, line: str, found: list[str]) -> None:
    (where / "list.txt").write_text(f"videos/a.mkv\n\n{where}/frames/x\n")
    status, _, err = index(line + " --image-fps 10" * ("list" in line))
    assert (status, paths()) == (0, found), err


def test_a_rate_of_the_plan_is_not_one_of_images(index: Command) -> None:
    assert index("videos --plan fps --fps 2")[0] == 0
    assert {len(entry.times_ms) for entry in Corpus("out").videos} == {4}


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("''", ["a path is empty"]),
        ("", ["no video was named"]),
        ("nowhere", ["nowhere: there is no such file or folder"]),
        ("videos nowhere", ["nowhere: there is no such file or folder"]),
        ("nowhere.mp4", ["nowhere.mp4 is not there", "current folder"]),
        ("empty", ["empty has no videos", "mp4"]),
        ("frames", ["frames has no videos but 1 folder of images", "--image-fps"]),
        ("frames --plan fps --fps 5", ["frames has no videos but 1 folder of images", "--image-fps"]),
        ("frames/x/1.jpg", ["1.jpg is an image", "name its folder"]),
        ("videos --fps 5", ["no folders of images", "--plan fps"]),
        ("--list empty.txt", ["empty.txt is empty"]),
        ("--list videos/a.mkv", ["a.mkv is not a text file", "without --list"]),
        ("--list bad.txt", ["bad.txt: ", "unknown kind of address x://"]),
    ],
)
def test_what_cannot_be_indexed_is_said_before_anything_is_written(
    index: Command, where: Path, line: str, parts: list[str]
) -> None:
    (where / "empty").mkdir()
    (where / "empty.txt").write_text("\n")
    (where / "bad.txt").write_text("videos/a.mkv\nx://y\n")
    status, _, err = index(line)
    assert status == 2
    assert all(part in err for part in parts), err
    assert not (where / "out").exists()


def test_a_corpus_without_a_video_is_told_by_the_exit_status(index: Command, where: Path) -> None:
    (where / "list.txt").write_text("videos/a.mkv\n")
    status, out, err = index("list.txt")
    assert status == 1
    assert "0 videos in out" in out
    assert "no video could be used" in err
    assert "give it as --list list.txt" in err.replace(f"{where}/", "")
