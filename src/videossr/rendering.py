"""Recipe in, pixels out: the one way from a sample to what a model sees. `videossr validate` proves that it repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from videossr.perturb.base import perturbation_of
from videossr.question import Clip, Frames
from videossr.sample import Sample, VideoKey
from videossr.tasks.base import open_task


class Packs(Protocol):
    """Where decoded frames come from; `videossr.corpus.corpus.Corpus` is one."""

    def frames(
        self, key: VideoKey, indices: Sequence[int] | None = None, size: tuple[int, int] | None = None
    ) -> Frames:
        """Frames (T, H, W, 3) of a video, all of them by default, cut and scaled to `size`, (H, W).

        What a gate judges and what is rendered are the same: the pixels depend on the arguments alone.
        """


def render(packs: Packs, sample: Sample) -> list[Clip]:
    """The clips of a sample: decode, bring to its size, then perturb.

    Pure: the same packs and sample give the same bytes in any order, on any machine with the same versions of the
    libraries that the dataset's manifest names.

    Raises TaskError that names the sample when the task's code fails, CorpusError when frames are missing or damaged.
    """
    return open_task(sample.task).render(pictures(packs, sample, sample.slots), sample)


def pictures(packs: Packs, sample: Sample, slots: Sequence[tuple[int, int]]) -> Frames:
    """Decode what `slots`, each a (source, frame) of the sample, show at its size before anything is perturbed.

    Returns (len(slots), H, W, 3). A frame is decoded once, in the place of its first slot.
    """
    decoded: dict[tuple[int, int], Frames] = {}
    for source, key in enumerate(sample.sources):
        kept = list(dict.fromkeys(frame for at, frame in slots if at == source))
        frames = packs.frames(key, kept, sample.size)
        if len(kept) == len(slots):  # every slot shows another frame of this one video
            return frames
        decoded |= {(source, frame): picture for frame, picture in zip(kept, frames, strict=True)}
    return np.stack([decoded[slot] for slot in slots])


def unaltered(packs: Packs, sample: Sample, due: Mapping[int, tuple[int, int]]) -> Frames:
    """Return what T altered slots of a sample's clip would show without the change, (T, H, W, 3).

    What the perturbation does to all frames of the clip, they have too.

    Args:
        packs: where the frames are.
        sample: whose clip has the slots.
        due: for each of the slots, the (source, frame) that it would show.
    """
    perturbation = perturbation_of(sample)
    if perturbation is None or not perturbation.alters_whole_clip:
        return pictures(packs, sample, [*due.values()])
    slots = [due.get(slot, shown) for slot, shown in enumerate(sample.slots)]
    return perturbation.unaltered(pictures(packs, sample, slots), sample.params)[[*due]]


def pixel_hash(clips: Sequence[Clip]) -> str:
    """SHA-256 over the shapes and bytes of the clips' frames, in hex."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(repr(clip.frames.shape).encode())
        digest.update(np.ascontiguousarray(clip.frames).data)
    return digest.hexdigest()
