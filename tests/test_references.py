"""Rows that refer to samples, and the cache of the clips that they refer to."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from videossr import references
from videossr.clock import Clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import DataError
from videossr.question import Clip
from videossr.references import ClipCache, Reference, read_references, render


def reference(index: int = 0, *, sample: str = "s", clip: int = 0) -> Reference:
    return Reference(dataset="d", corpus="", index=index, id=sample, clip=clip, anywhere=False)


def test_read_references_leaves_other_rows_alone() -> None:
    assert read_references([{"role": "user", "content": "How many?"}]) == []
    shown: list[dict[str, object]] = [{"type": "video", "video": "a.mp4"}]
    assert read_references([{"role": "user", "content": shown}]) == []
    shown.append({"type": "video", **reference()})
    with pytest.raises(DataError, match="1 clips of samples, and 1 other media"):
        read_references([{"role": "user", "content": shown}])


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let samples be two clips of 24 KiB, and list the index of each one that is rendered."""
    seen: list[int] = []
    clip = Clip(np.zeros((8, 32, 32, 3), np.uint8), Clock(tuple(range(8)), 8))

    def count(asked: Reference) -> list[Clip]:
        seen.append(asked["index"])
        if asked["index"] < 0:
            raise DataError("no such sample")
        return [clip, clip]

    monkeypatch.setattr(references, "render", count)
    return seen


def test_clip_cache_renders_a_sample_once_for_all_rollouts(rendered: list[int]) -> None:
    cache = ClipCache()
    barrier = threading.Barrier(8)

    def ask(clip: int) -> Clip:
        barrier.wait()
        return cache.clips([reference(clip=clip % 2)])[0]

    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(ask, range(8)))) == 8
    assert rendered == [0]


def test_clip_cache_forgets_what_was_not_asked_for_the_longest(rendered: list[int]) -> None:
    cache = ClipCache()
    room = 2 * 2 * 8 * 32 * 32 * 3
    for index in (0, 1, 0, 2, 0, 1):
        cache.clips([reference(index)], room)
    assert rendered == [0, 1, 2, 1]
    assert len(cache) == 2


def test_clip_cache_does_not_keep_failures(rendered: list[int]) -> None:
    cache = ClipCache()
    for _ in range(2):
        with pytest.raises(DataError, match="no such sample"):
            cache.clips([reference(-1)])
    assert rendered == [-1, -1]
    assert not len(cache)


def test_render_refuses_a_dataset_that_was_built_anew(dataset: Path) -> None:
    first = VideoSSRDataset(dataset).row(0)["id"]
    for index in (1, 10**6):
        asked = Reference(dataset=str(dataset), corpus="", index=index, id=first, clip=0, anywhere=False)
        with pytest.raises(DataError, match=f"written for sample {first} at index {index}"):
            render(asked)
