"""A video as perturbations, gates and tasks see it: frames at the size that the model sees, and their times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from videossr.clock import Clock
from videossr.perturb.gates import ClipFeatures, clip_features
from videossr.question import Frames
from videossr.sample import VideoKey


@dataclass(frozen=True)
class Video:
    """One indexed video at the size that the model will see: frames (N, H, W, 3) and the clock of all N."""

    key: VideoKey
    clock: Clock
    frames: Frames

    @property
    def size(self) -> tuple[int, int]:
        """Return (H, W) in pixels."""
        return self.frames.shape[1], self.frames.shape[2]

    @cached_property
    def features(self) -> ClipFeatures:
        """Compute the features of the frames by which gates judge the video."""
        return clip_features(self.frames)

    def density(self, slots: int) -> int:
        """Return the number of frames kept for each of `slots` slots.

        Raises:
            ValueError: it is no whole number.
        """
        density, rest = divmod(len(self.clock), slots)
        if rest or not density:
            raise ValueError(f"{len(self.clock)} frames of video {self.key.content[:12]} are no multiple of {slots}")
        return density

    def subsample(self, slots: int) -> Video:
        """Return the same video with `slots` slots, each keeping its first frame."""
        if slots == len(self.clock):
            return self
        return Video(self.key, self.clock.subsample(slots), self.frames[:: self.density(slots)])


class Donors(Protocol):
    """The other videos of the corpus, in hash order, cut and scaled to the size of the video that is drawn from.

    One is decoded when it is asked for.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Video: ...
