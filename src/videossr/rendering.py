"""Rendering: decode the frames of a sample and perturb them into the clips that a model sees.

Every reader of a dataset renders through this module; `videossr validate` proves that the pixels repeat.
"""

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
    """A source of decoded frames; `videossr.corpus.corpus.Corpus` is one."""

    def frames(
        self, key: VideoKey, indices: Sequence[int] | None = None, size: tuple[int, int] | None = None
    ) -> Frames:
        """Decode frames of a video.

        The pixels depend on the arguments alone, so a gate judges the same pixels that are rendered later.

        Args:
            key: the video.
            indices: frames of its pack, in any order; all of them by default.
            size: (H, W) to which they are cropped and scaled; by default they keep theirs.

        Returns:
            (T, H, W, 3) uint8 RGB.
        """


def render(packs: Packs, sample: Sample) -> list[Clip]:
    """Render the clips of a sample: decode its frames, scale them to its size, and perturb them.

    The function is pure: the same packs and sample give the same bytes in any order, on any machine with the same
    versions of the libraries that the dataset's manifest names.

    Args:
        packs: source of the frames.
        sample: the sample.

    Returns:
        The clips in the order in which the question shows them.

    Raises:
        TaskError: the task's code fails; the message names the sample.
        CorpusError: frames are missing or damaged.
    """
    return open_task(sample.task).render(pictures(packs, sample, sample.slots), sample)


def pictures(packs: Packs, sample: Sample, slots: Sequence[tuple[int, int]]) -> Frames:
    """Decode the frames of `slots` at the size of a sample, before anything is perturbed.

    A frame that several slots show is decoded once.

    Args:
        packs: source of the frames.
        sample: the sample, which gives the videos and the size.
        slots: (index into `sample.sources`, frame in that pack) of each slot.

    Returns:
        (len(slots), H, W, 3) uint8 RGB.
    """
    decoded: dict[tuple[int, int], Frames] = {}
    for source, key in enumerate(sample.sources):
        indices = list(dict.fromkeys(frame for slot_source, frame in slots if slot_source == source))
        frames = packs.frames(key, indices, sample.size)
        if len(indices) == len(slots):  # every slot shows another frame of this one video
            return frames
        decoded |= {(source, frame): picture for frame, picture in zip(indices, frames, strict=True)}
    return np.stack([decoded[slot] for slot in slots])


def unaltered(packs: Packs, sample: Sample, due: Mapping[int, tuple[int, int]]) -> Frames:
    """Render T altered slots of a sample's clip as they would be without the alteration.

    Changes that the perturbation makes to all frames of the clip are applied.

    Args:
        packs: source of the frames.
        sample: the sample, which is a single clip.
        due: altered slot -> (source, frame) that it would show.

    Returns:
        (T, H, W, 3) uint8 RGB, in the order of `due`.
    """
    perturbation = perturbation_of(sample)
    if perturbation is None or not perturbation.alters_whole_clip:
        return pictures(packs, sample, [*due.values()])
    slots = [due.get(slot, shown) for slot, shown in enumerate(sample.slots)]
    return perturbation.unaltered(pictures(packs, sample, slots), sample.params)[[*due]]


def pixel_hash(clips: Sequence[Clip]) -> str:
    """Compute the SHA-256 over the shapes and bytes of the clips' frames, in hex."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(repr(clip.frames.shape).encode())
        digest.update(np.ascontiguousarray(clip.frames).data)
    return digest.hexdigest()
