"""Recipe in, pixels out: the one way from a sample to what a model sees. `videossr validate` proves that it repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from videossr.perturb.spatial import resize
from videossr.question import Clip, Frames
from videossr.sample import Sample, VideoKey
from videossr.tasks.base import TASKS


class Packs(Protocol):
    """Where decoded frames come from; `videossr.video.pack.Corpus` is one."""

    def frames(self, key: VideoKey, indices: Sequence[int] | None = None) -> Frames:
        """Frames (T, H, W, 3) of a video's pack, all of them by default."""


def render(packs: Packs, sample: Sample) -> list[Clip]:
    """The clips of a sample: decode, bring to its size, then perturb.

    Pure: the same packs and sample give the same bytes in any order, on any machine with the same versions of the
    libraries that the dataset's manifest names.
    """
    frames = np.empty((len(sample.slots), *sample.size, 3), np.uint8)
    for source, key in enumerate(sample.sources):
        shown = [frame for at, frame in sample.slots if at == source]
        kept = sorted(set(shown))
        decoded = fill(packs.frames(key, kept), *sample.size)
        places = {frame: place for place, frame in enumerate(kept)}
        frames[[at == source for at, _ in sample.slots]] = decoded[[places[frame] for frame in shown]]
    return TASKS.get(sample.task)().render(frames, sample)


def fill(frames: Frames, height: int, width: int) -> Frames:
    """Frames of another size: cut to the aspect of (`height`, `width`) around the middle, then scaled."""
    old_height, old_width = frames.shape[1:3]
    if (old_height, old_width) == (height, width):
        return frames
    keep_height = min(old_height, round(old_width * height / width))
    keep_width = min(old_width, round(old_height * width / height))
    top, left = (old_height - keep_height) // 2, (old_width - keep_width) // 2
    return resize(frames[:, top : top + keep_height, left : left + keep_width], height, width)


def pixel_hash(clips: Sequence[Clip]) -> str:
    """SHA-256 over the shapes and bytes of the clips' frames, in hex."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(repr(clip.frames.shape).encode())
        digest.update(np.ascontiguousarray(clip.frames).data)
    return digest.hexdigest()
