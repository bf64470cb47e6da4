"""The contract of a pretext task. `examples/custom_task` is a whole one in another package.

A task never opens a file: it is shown videos as frames, draws samples, and renders them as a pure function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from videossr.clock import Clock
from videossr.question import Clip, Frames, Question, Truth
from videossr.sample import Sample, VideoKey
from videossr.wording import Wording


@dataclass(frozen=True, slots=True)
class Reject:
    """Why a video or a draw was not used: a reason, and what was measured against which threshold."""

    reason: str
    value: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Smooth and strict reward in [0, 1], whether the text parsed, and the score of each part of the answer."""

    smooth: float
    strict: float
    parsed: bool
    parts: tuple[float, ...] = ()


@dataclass(frozen=True)
class Video:
    """One indexed video at the size that the model will see: frames (N, H, W, 3) and the clock of all N."""

    key: VideoKey
    clock: Clock
    frames: Frames

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.shape[1], self.frames.shape[2]


Donors = Sequence[Callable[[], Video]]
"""The other videos of the corpus, in hash order, each decoded only when called."""


class Task(Protocol):
    """A pretext task. Other packages add theirs through the entry-point group ``videossr.tasks``.

    `Knobs` is a frozen pydantic dataclass whose defaults are the paper's; `knobs` below is an instance of it.
    """

    name: str
    Knobs: type[Any]

    def admits(self, video: Video, knobs: Any) -> Reject | None:
        """Decide from the pixels, before anything is drawn, whether every answer could be proven on this video."""

    def draw(self, video: Video, column: str, knobs: Any, rng: np.random.Generator, donors: Donors) -> Sample | Reject:
        """Draw one sample. A Reject here must not depend on the answer that was drawn."""

    def render(self, frames: Frames, sample: Sample) -> list[Clip]:
        """The clips shown, from `frames` (len(sample.slots), H, W, 3): the slots of the sample, not yet altered.

        Pure: the same arguments give the same bytes. `frames` is not written to.
        """

    def question(self, sample: Sample, wording: Wording) -> Question:
        """What is asked, in the words of `wording`."""

    def truth(self, sample: Sample) -> Truth:
        """What the answer rests on."""

    def score(self, answer: str, sample: Sample) -> Scores:
        """Score a model's text. Never raises, whatever the text."""
