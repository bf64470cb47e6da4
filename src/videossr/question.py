"""What is put to a model. Models, exports, trainer and report know nothing of a dataset but this."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from videossr.clock import Clock

Frames: TypeAlias = NDArray[np.uint8]
"""(T, H, W, 3) uint8 RGB."""

VIDEO = "<video>"
"""Stands in a prompt where a clip is shown; one for each clip, in order."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames (T, H, W, 3) uint8 RGB and the clock of their T slots."""

    frames: Frames
    clock: Clock

    def __post_init__(self) -> None:
        if self.frames.dtype != np.uint8 or self.frames.ndim != 4 or self.frames.shape[3] != 3:
            raise ValueError(f"frames must be (T, H, W, 3) uint8, got {self.frames.shape} {self.frames.dtype}")
        if len(self.frames) != len(self.clock):
            raise ValueError(f"{len(self.frames)} frames for a clock of {len(self.clock)} slots")


@dataclass(frozen=True, slots=True)
class Question:
    """Text and clips in reading order, the gold answer, and how an answer is scored.

    Attributes:
        id: the sample's id, or the public benchmark's.
        data_source: first argument of `videossr.rewards.compute_score`.
        system: the system turn, may be empty.
        prompt: the user turn; ``<video>`` marks where each clip is shown.
        answer: gold.
        clocks: the clock of each clip, in the order of the markers.
    """

    id: str
    data_source: str
    system: str
    prompt: str
    answer: str
    clocks: tuple[Clock, ...]

    def __post_init__(self) -> None:
        if self.prompt.count(VIDEO) != len(self.clocks):
            raise ValueError(f"question {self.id}: {self.prompt.count(VIDEO)} {VIDEO} for {len(self.clocks)} clips")


@dataclass(frozen=True, slots=True)
class Outline:
    """A drawn shape: the clip's slot, its name, and its contour in pixels, ((x, y), ...)."""

    slot: int
    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """What the answer rests on, for people and checks; never shown to a model.

    Attributes:
        spans: (first slot, last slot) of what was altered, both inclusive.
        outlines: the shapes that were drawn.
        order: where several clips are pieces of one video, the original piece shown as each clip, from 0.
    """

    spans: tuple[tuple[int, int], ...] = ()
    outlines: tuple[Outline, ...] = field(default=())
    order: tuple[int, ...] = ()
