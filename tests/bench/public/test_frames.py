"""The packs of decoded frames: what they show, and that each video is decoded once."""

from __future__ import annotations

import pickle
import zipfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.public import Folder
from videossr.bench.public import frames as module
from videossr.bench.public.base import Footage
from videossr.bench.public.frames import PIXELS, FrameCache
from videossr.errors import DataError
from videossr.video.decoding import decode, pick
from videossr.video.plan import Plan

WHOLE = Footage(("a.mp4",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a video of 4 s, images of it, and a file that is no video."""
    made = Folder(tmp_path)
    made.video("a.mp4", 4.0)
    made.images("images", 12)
    made.text("bad.mp4", "no video")
    return tmp_path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the videos that are decoded, as it happens."""
    names: list[str] = []

    def counted(path: Path, *rest: Any) -> object:
        names.append(path.name)
        return pick(path, *rest)

    monkeypatch.setattr(module, "pick", counted)
    return names


def test_a_video_is_decoded_once_for_all_numbers_of_frames_and_later_caches(folder: Path, decoded: list[str]) -> None:
    cache = FrameCache(folder / "cache", (4, 8))
    for budget in (4, 8, 4):
        clip = cache.clip(folder / "a.mp4", WHOLE, budget)
        assert len(clip.frames) == budget
        assert clip.clock == cache.clock(folder / "a.mp4", WHOLE, budget)
    assert FrameCache(folder / "cache", (8,)).clip(folder / "a.mp4", WHOLE, 4).clock.end_ms == 4000
    assert decoded == ["a.mp4"]


def test_another_number_of_frames_keeps_those_that_the_pack_has(folder: Path, decoded: list[str]) -> None:
    first = FrameCache(folder / "cache", (4,)).clip(folder / "a.mp4", WHOLE, 4)
    more = FrameCache(folder / "cache", (6,)).clip(folder / "a.mp4", WHOLE, 6)
    again = FrameCache(folder / "cache", (4,)).clip(folder / "a.mp4", WHOLE, 4)
    assert decoded == ["a.mp4", "a.mp4"]
    assert len(more.frames) == 6
    np.testing.assert_array_equal(first.frames, again.frames)


def test_frames_are_those_on_screen_at_the_size_of_the_protocol(folder: Path) -> None:
    clip = FrameCache(folder / "cache", (64,)).clip(folder / "a.mp4", WHOLE, 64)
    assert clip.clock.times_ms == tuple(range(0, 4000, 500))
    # 160 x 128 pixels lie between the bounds of the protocol, and both sides are multiples of 32.
    assert clip.frames.shape == (8, 128, 160, 3)
    plain = decode(folder / "a.mp4", Plan(kind="fps", frames=64, fps=2.0, max_pixels=PIXELS))
    difference = np.abs(clip.frames.astype(int) - plain.frames.astype(int))
    assert difference.mean() < 2, "a JPEG of quality 95 is near to what it was made of"


def test_a_part_and_the_whole_have_packs_of_their_own(folder: Path, decoded: list[str]) -> None:
    cache = FrameCache(folder / "cache", (8,))
    part = cache.clip(folder / "a.mp4", Footage(("a.mp4",), start=1.0, end=2.0), 8)
    whole = cache.clip(folder / "a.mp4", WHOLE, 8)
    assert len(part.clock) == 2
    np.testing.assert_array_equal(part.frames[0], whole.frames[2])
    assert len(decoded) == 2


def test_a_folder_of_images_is_a_video(folder: Path) -> None:
    cache = FrameCache(folder / "cache", (8,))
    footage = Footage(("images",), start=1.0, end=3.0, fps=3.0)
    assert cache.clock(folder / "images", footage, 8).times_ms == (0, 500, 1000, 1500)
    clip = cache.clip(folder / "images", footage, 8)
    assert clip.clock.end_ms == 2000
    assert len({frame.tobytes() for frame in clip.frames}) == 4


def test_a_video_that_was_replaced_is_decoded_anew(folder: Path, decoded: list[str]) -> None:
    cache = FrameCache(folder / "cache", (4,))
    before = cache.clip(folder / "a.mp4", WHOLE, 4)
    Folder(folder).video("a.mp4", 5.0, seed=3)
    after = cache.clip(folder / "a.mp4", WHOLE, 4)
    assert len(decoded) == 2
    assert before.clock.end_ms != after.clock.end_ms


def test_a_broken_video_is_tried_once_and_named(folder: Path, decoded: list[str]) -> None:
    cache = FrameCache(folder / "cache", (4,))
    for _ in range(3):
        with pytest.raises(DataError, match=r"bad\.mp4: unreadable"):
            cache.clip(folder / "bad.mp4", Footage(("bad.mp4",)), 4)
    assert decoded == ["bad.mp4"]


def test_a_damaged_pack_is_made_anew(folder: Path, decoded: list[str]) -> None:
    cache = FrameCache(folder / "cache", (4,))
    clip = cache.clip(folder / "a.mp4", WHOLE, 4)
    (path,) = (folder / "cache").rglob("*.zip")
    path.write_bytes(path.read_bytes()[:100])
    np.testing.assert_array_equal(
        FrameCache(folder / "cache", (4,)).clip(folder / "a.mp4", WHOLE, 4).frames, clip.frames
    )
    assert len(decoded) == 2
    with zipfile.ZipFile(path) as pack:
        facts = pack.read("facts.json")
    for other in (facts, b"{", b"[" * 100_000, b'{"budgets": []}', facts.replace(b'"4"', b'"99999999"'), b"[1]"):
        with zipfile.ZipFile(path, "w") as pack:
            pack.writestr("facts.json", other)
            pack.writestr("00000000.jpg", b"no picture")
        again = FrameCache(folder / "cache", (4,))
        assert again.clock(folder / "a.mp4", WHOLE, 4) == clip.clock
        np.testing.assert_array_equal(again.clip(folder / "a.mp4", WHOLE, 4).frames, clip.frames)


def test_processes_with_other_numbers_of_frames_share_a_folder(folder: Path) -> None:
    for number in range(4):
        Folder(folder).video(f"v{number}.mp4", 4.0, seed=number)
    with ProcessPoolExecutor(2) as pool:
        counts = list(pool.map(_clips, [(folder, budget) for budget in (4, 6, 4, 6)]))
    assert counts == [[4] * 4, [6] * 4] * 2


def _clips(task: tuple[Path, int]) -> list[int]:
    """Return the number of frames of each video, in a process of its own."""
    folder, budget = task
    cache = FrameCache(folder / "cache", (budget,))
    names = [f"v{number}.mp4" for number in range(4)]
    return [len(cache.clip(folder / name, Footage((name,)), budget).frames) for name in names]


def test_threads_that_want_one_video_decode_it_once(folder: Path, decoded: list[str]) -> None:
    cache = FrameCache(folder / "cache", (4, 8))
    with ThreadPoolExecutor(8) as pool:
        clips = list(pool.map(lambda _: cache.clip(folder / "a.mp4", WHOLE, 8), range(8)))
    assert decoded == ["a.mp4"]
    assert all(np.array_equal(clip.frames, clips[0].frames) for clip in clips)


def test_a_cache_can_be_pickled(folder: Path) -> None:
    cache = pickle.loads(pickle.dumps(FrameCache(folder / "cache", (4,))))
    assert len(cache.clip(folder / "a.mp4", WHOLE, 4).frames) == 4
