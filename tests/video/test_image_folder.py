"""Folders of numbered images as videos: their order, times and hash, and folders that are rejected."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import Outcome, index_videos
from videossr.video.image_folder import image_folder, in_order
from videossr.video.plan import Plan, RejectedError

PLAN = Plan(frames=8)


def picture(level: int, size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Make a gray picture of a level, with a white corner so that it is not flat."""
    pixels = np.full((*size, 3), level, np.uint8)
    pixels[: size[0] // 2, : size[1] // 2] = 255
    return pixels


def save(path: Path, pixels: np.ndarray) -> None:
    """Write an image in the format of the file's ending."""
    codec, pix_fmt = {".png": ("png", "rgb24"), ".jpg": ("mjpeg", "yuvj444p")}[path.suffix]
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.height, encoder.width, encoder.pix_fmt, encoder.time_base = *pixels.shape[:2], pix_fmt, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(pixels).reformat(format=pix_fmt)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))


@pytest.fixture
def frames(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of images of rising brightness; image k has the level 5 k."""

    def write(name: str, numbers: range = range(1, 41), pattern: str = "frame_{}.png") -> Path:
        folder = tmp_path / "frames" / name
        for k, number in enumerate(numbers):
            save(folder / pattern.format(number), picture(5 * k))
        return folder

    return write


def read_rejections(corpus: Path) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(corpus / "rejected.parquet").to_pylist()
    return {row["path"]: (row["reason"], row["detail"]) for row in rows}


def test_index_takes_each_folder_of_images_as_a_video_in_the_order_of_numbers(
    frames: Callable[..., Path], tmp_path: Path
) -> None:
    frames("a")  # frame_9.png comes before frame_10.png
    frames("deep/b", range(0, 400, 10), "{:06}.jpg")
    (tmp_path / "frames/notes.txt").write_text("not looked at")
    summary = index_videos(tmp_path / "frames", tmp_path / "corpus", PLAN, image_fps=10)
    corpus = Corpus(tmp_path / "corpus")
    assert (summary.videos, summary.rejected) == (2, {})
    entries = {entry.path: entry for entry in corpus.videos}
    assert set(entries) == {"a", "deep/b"}
    for entry in entries.values():
        assert (entry.duration_ms, entry.fps, entry.source_frames, entry.container) == (4000, 10, 40, "image2")
        assert (entry.source_width, entry.source_height, entry.size) == (128, 96, (96, 128))
        # Slots of 0.45 s from 0.2 s on, each showing the image of its tenth of a second.
        assert entry.ticks == tuple((200 + 450 * k) // 100 for k in range(8))
        assert entry.source_times == tuple(Fraction(tick, 10) for tick in entry.ticks)
        shown = corpus.frames(entry.key)[:, -1, -1].mean(axis=1)
        assert np.abs(shown - 5 * np.array(entry.ticks)).max() < 2
    assert (entries["a"].codec, entries["deep/b"].codec) == ("png", "mjpeg")


def test_index_of_images_with_the_plan_fps_takes_images_by_their_times(
    frames: Callable[..., Path], tmp_path: Path
) -> None:
    folder = frames("a")
    index_videos(folder, tmp_path / "corpus", Plan(kind="fps", fps=2), image_fps=10)
    (entry,) = Corpus(tmp_path / "corpus").videos
    assert entry.path == "a"
    assert entry.times_ms == tuple(range(0, 4000, 500))
    assert entry.ticks == tuple(range(0, 40, 5))


def test_image_folder_hash_covers_the_images_in_order_and_their_rate(
    frames: Callable[..., Path], tmp_path: Path
) -> None:
    folder = frames("a", range(1, 5))
    first = image_folder("a", folder, Fraction(10))
    content = first.hash()
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"{int(path.stem[-1]) + 3:04}.png")
    renamed = image_folder("a", folder, Fraction(10))
    assert not first.is_same()
    assert renamed.is_same()
    assert renamed.hash() == content
    assert image_folder("a", folder, Fraction(11)).hash() != content
    assert image_folder("a", folder, Fraction(11)).stamp != renamed.stamp
    (folder / "0004.png").rename(folder / "x.png")
    (folder / "0005.png").rename(folder / "0004.png")
    (folder / "x.png").rename(folder / "0005.png")
    assert image_folder("a", folder, Fraction(10)).hash() != content


def test_index_records_unusable_folders_of_images_with_their_reasons(
    frames: Callable[..., Path], tmp_path: Path
) -> None:
    frames("good")
    save(frames("sizes") / "frame_20.png", picture(9, (96, 160)))
    (frames("broken") / "frame_21.png").write_text("no picture")
    (frames("gap") / "frame_20.png").unlink()
    save(frames("cover") / "cover.png", picture(9))
    save(frames("twice") / "frame_20.jpg", picture(9))
    frames(".hidden")
    with pytest.raises(ValueError, match=r"folders of images.*--image-fps"):
        index_videos(tmp_path / "frames", tmp_path / "corpus", PLAN)
    assert not (tmp_path / "corpus").exists()
    assert index_videos(tmp_path / "frames", tmp_path / "corpus", PLAN, image_fps=10).videos == 1
    rejections = read_rejections(tmp_path / "corpus")
    assert {path: reason for path, (reason, _) in rejections.items()} == {
        ".hidden": "hidden",
        "broken": "damaged",
        "cover": "no_times",
        "gap": "no_times",
        "sizes": "unsupported",
        "twice": "no_times",
    }
    assert rejections["sizes"][1] == "its size changes from 128x96 to 160x96 at frame_20.png"
    assert "frame_21.png cannot be decoded" in rejections["broken"][1]
    assert "after frame_19.png comes frame_21.png" in rejections["gap"][1]
    assert "cover.png is not numbered as frame_1.png is" in rejections["cover"][1]


def test_index_rejects_a_truncated_image_as_damaged(frames: Callable[..., Path], tmp_path: Path) -> None:
    folder = frames("a", range(10, 18), "{}.jpg")
    image = folder / "13.jpg"
    image.write_bytes(image.read_bytes()[:-200])
    index_videos(tmp_path / "frames", tmp_path / "corpus", Plan(frames=8, margin=0), image_fps=5)
    assert read_rejections(tmp_path / "corpus")["a"][0] == "damaged"


def test_index_ignores_images_beside_videos(frames: Callable[..., Path], tmp_path: Path) -> None:
    """Images in the folder of a video are thumbnails; a folder of images alone is rejected without a rate."""
    frames("thumbs")
    with av.open(tmp_path / "frames/clip.mkv", "w") as container:
        stream = container.add_stream("mjpeg", 10, width=128, height=96, pix_fmt="yuvj420p")
        for k in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(5 * k))))
        container.mux(stream.encode(None))
    save(tmp_path / "frames/clip.jpg", picture(0))
    assert index_videos(tmp_path / "frames", tmp_path / "corpus", PLAN).videos == 1
    assert {path: reason for path, (reason, _) in read_rejections(tmp_path / "corpus").items()} == {
        "thumbs": "no_times"
    }
    assert index_videos(tmp_path / "frames", tmp_path / "corpus", PLAN, image_fps=10).videos == 2


@pytest.mark.slow
def test_index_extends_a_corpus_of_images_and_finds_duplicates(frames: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    shutil.copytree(frames("a"), tmp_path / "frames/copy")
    assert index_videos(tmp_path / "frames", out, PLAN, image_fps=10).rejected == {"duplicate": 1}
    assert index_videos(tmp_path / "frames", out, PLAN, image_fps=10).decoded == 0
    frames("b", range(1, 31))
    summary = index_videos(tmp_path / "frames", out, PLAN, image_fps=10, workers=2)
    assert (summary.videos, summary.decoded, summary.gone) == (2, 1, 0)
    save(tmp_path / "frames/b/frame_3.png", picture(200))
    changed = index_videos(tmp_path / "frames", out, PLAN, image_fps=10)
    assert (changed.videos, changed.decoded, changed.gone) == (3, 1, 1)
    prints = [entry.fingerprints for entry in Corpus(out).videos]
    assert all(any(fingerprint) for fingerprint in prints), "fingerprints are needed to find near-duplicates"


def test_index_rejects_images_that_change_after_they_were_hashed(frames: Callable[..., Path], tmp_path: Path) -> None:
    folder = frames("a")
    frames("b", range(1, 31))

    def add_image(outcome: object) -> None:
        save(folder / "frame_41.png", picture(200))

    summary = index_videos(tmp_path / "frames", tmp_path / "corpus", PLAN, image_fps=10, progress=add_image)
    assert summary.rejected == {"changed": 1}
    assert index_videos(tmp_path / "frames", tmp_path / "corpus", PLAN, image_fps=10).videos == 2


@pytest.mark.parametrize("names", [["10.png", "9.png", "8.png"], ["s1_f3.png", "s1_f1.png", "s1_f2.png"], ["a.png"]])
def test_in_order_sorts_by_number(names: list[str]) -> None:
    assert in_order(names) == sorted(names, key=lambda name: (len(name), name))


@pytest.mark.parametrize("names", [["a.png", "b.png"], ["1.png", "01.png"], ["1.png", "2.png", "3.png", "5.png"]])
def test_in_order_refuses_names_that_give_no_times(names: list[str]) -> None:
    with pytest.raises(RejectedError, match="no_times"):
        in_order(names)


def test_index_refuses_an_image_rate_that_is_not_above_0(frames: Callable[..., Path], tmp_path: Path) -> None:
    frames("a")
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="image_fps must be above 0"):
            index_videos(tmp_path / "frames", tmp_path / "corpus", PLAN, image_fps=rate)
    index_videos(tmp_path / "frames", tmp_path / "corpus", PLAN, image_fps=29.97)
    (entry,) = Corpus(tmp_path / "corpus").videos
    assert entry.time_base == (100, 2997)


@pytest.mark.slow
def test_index_of_images_resumes_a_stopped_run(frames: Callable[..., Path], tmp_path: Path) -> None:
    for name, last in (("a", 31), ("b", 33), ("c", 35)):
        frames(name, range(1, last))

    def stop(outcome: Outcome) -> None:
        if (outcome.phase, outcome.done) == ("videos", 1):
            raise KeyboardInterrupt

    out = tmp_path / "corpus"
    with pytest.raises(KeyboardInterrupt):
        index_videos(tmp_path / "frames", out, PLAN, image_fps=10, progress=stop)
    outcomes: list[Outcome] = []
    assert index_videos(tmp_path / "frames", out, PLAN, image_fps=10, progress=outcomes.append).decoded == 2
    assert [outcome.phase for outcome in outcomes] == ["videos"] * 2, "no image is hashed again"
    index_videos(tmp_path / "frames", tmp_path / "whole", PLAN, image_fps=10)
    assert Corpus(out).hash == Corpus(tmp_path / "whole").hash
