"""What a perturbation of the picture is: how its parameters are drawn, and the pure function that applies them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.perturb.strengths import Strengths
from videossr.question import Frames
from videossr.sample import JSON

Params = Mapping[str, JSON]


def _nothing(_strengths: Strengths) -> dict[str, JSON]:
    return {}


@dataclass(frozen=True)
class Pixel:
    """A perturbation of the picture.

    Attributes:
        apply: frames (T, H, W, 3) uint8 and parameters -> new frames of the same shape; never writes to its input.
        weakest: the parameters of least effect that the strengths allow, for the gate.
        draw: the parameters of one segment; without one there is nothing to draw, and `weakest` is what is applied.
        beside: frames and parameters -> what the frames outside the segment become, so that only what the perturbation
            is about tells them from those inside; without one they stay as they are.
        grain: whether all frames of the clip get a faint grain, which hides traces too faint to be seen.
    """

    apply: Callable[[Frames, Params], Frames]
    weakest: Callable[[Strengths], dict[str, JSON]] = _nothing
    draw: Callable[[Strengths, np.random.Generator], dict[str, JSON]] | None = None
    beside: Callable[[Frames, Params], Frames] | None = None
    grain: bool = False

    def parameters(self, strengths: Strengths, rng: np.random.Generator) -> dict[str, JSON]:
        """Draw the parameters of one segment, with a `seed` where there is grain."""
        drawn = self.draw(strengths, rng) if self.draw else self.weakest(strengths)
        return drawn | {"seed": int(rng.integers(2**32))} if self.grain else drawn

    @property
    def local(self) -> bool:
        """Whether the frames outside a segment stay as they are."""
        return not (self.beside or self.grain)

    def plain(self, frames: Frames, params: Params) -> Frames:
        """Return the frames (T, H, W, 3) of a clip as `show` leaves those outside a segment."""
        shown = self.beside(frames, params) if self.beside else frames.copy()
        if self.grain:
            add_grain(shown, int(number(params, "seed")))
        return shown

    def show(self, frames: Frames, segment: slice, params: Params) -> Frames:
        """Alter the frames (T, H, W, 3) of a clip in `segment`, and bring the others into line with them."""
        shown = frames.copy()
        shown[segment] = self.apply(frames[segment], params)
        if self.beside:
            for rest in (slice(segment.start), slice(segment.stop, None)):
                shown[rest] = self.beside(frames[rest], params)
        if self.grain:
            add_grain(shown, int(number(params, "seed")))
        return shown


def number(params: Params, name: str) -> float:
    """A parameter that must be a number. Raises TypeError that names it."""
    value = params.get(name)
    if not isinstance(value, int | float):
        raise TypeError(f"parameter {name!r} must be a number, got {value!r}")
    return value


GRAIN = 2
"""Levels by which grain changes a channel of a pixel at the most; see docs/results/traces.md."""

_HALF = 1 << 20


@cache
def _grain() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return what to add and what to subtract, (1, 2 * _HALF): together each of -GRAIN..GRAIN is equally likely."""
    drawn = np.random.Generator(np.random.PCG64DXSM(0)).integers(-GRAIN, GRAIN + 1, (1, 2 * _HALF))
    return np.maximum(drawn, 0).astype(np.uint8), np.maximum(-drawn, 0).astype(np.uint8)


def add_grain(frames: Frames, seed: int) -> None:
    """Change every channel of every pixel of contiguous frames (T, H, W, 3) by up to `GRAIN` levels, in place.

    Each frame gets another part of one table: to draw the grain of every sample anew would take longer than reading it.
    """
    rng = np.random.Generator(np.random.PCG64DXSM(seed))
    added, taken = _grain()
    for frame in frames.reshape(len(frames), 1, -1):
        for start in range(0, frame.shape[1], _HALF):
            piece = frame[:, start : start + _HALF]
            part = slice(place := int(rng.integers(_HALF)), place + piece.shape[1])
            piece[:] = cv2.subtract(cv2.add(piece, added[:, part]), taken[:, part])
