"""Perturbations of the picture: the base of those that alter the frames of a segment, each by the same function."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import cache
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.measure import Measure
from videossr.perturb.base import Drawn, Params, Perturbation, Segment, SegmentConfig, own_slots
from videossr.perturb.gates import clip_features, hidden_change
from videossr.perturb.video import Donors, Video
from videossr.question import Frames
from videossr.sample import JSON


class PixelPerturbation(Perturbation):
    """A perturbation of the picture. A subclass says what `apply` does, and what its parameters are.

    Attributes:
        grain: whether all frames of the clip get a faint grain, which hides traces too faint to be seen.
    """

    grain: ClassVar[bool] = False

    @abstractmethod
    def apply(self, frames: Frames, params: Params) -> Frames:
        """Return the altered frames.

        Args:
            frames: (T, H, W, 3) uint8 RGB. They are not written to.
            params: as `weakest` and `draw_params` make them.

        Returns:
            New frames of the same shape.
        """

    def weakest(self, config: SegmentConfig) -> dict[str, JSON]:
        """Return the parameters of least effect that the settings allow. The gates look at what they do."""
        return {}

    def draw_params(self, config: SegmentConfig, rng: np.random.Generator) -> dict[str, JSON]:
        """Draw the parameters of one segment; those of `weakest` where there is nothing to draw."""
        return self.weakest(config)

    def beside(self, frames: Frames, params: Params) -> Frames:
        """Return what frames (T, H, W, 3) outside the segment become; they themselves where they stay as they are.

        A perturbation that leaves a trace beside what it is about, such as the softness of a magnified picture, gives
        the other frames the same trace.
        """
        return frames

    def gates(self, video: Video, config: SegmentConfig) -> Iterator[Measure]:
        """Measure how far the weakest change stands out, see `videossr.perturb.gates.hidden_change`."""
        shown = video.subsample(config.frames)
        params = self.weakest(config)
        beside = self.beside(shown.frames, params)
        original = shown.features if beside is shown.frames else clip_features(beside)
        altered = clip_features(self.apply(shown.frames, params))
        yield from hidden_change(original, altered, config.limits, between=self.hidden_by_cuts)

    def draw(
        self, video: Video, segment: Segment, config: SegmentConfig, rng: np.random.Generator, donors: Donors
    ) -> Drawn:
        """Draw the parameters; the clip shows its own slots."""
        return Drawn(own_slots(video, config), {"strength": self.parameters(config, rng)})

    def parameters(self, config: SegmentConfig, rng: np.random.Generator) -> dict[str, JSON]:
        """Draw the parameters of one segment, with a `seed` where there is grain."""
        drawn = self.draw_params(config, rng)
        return drawn | {"seed": int(rng.integers(2**32))} if self.grain else drawn

    def render(self, frames: Frames, segment: Segment, params: Params) -> Frames:
        """Alter the frames (T, H, W, 3) of a clip in the segment, and bring the others into line with them."""
        return self.show(frames, segment.slots, _strength(params))

    def show(self, frames: Frames, segment: slice, params: Params) -> Frames:
        """Alter the frames (T, H, W, 3) in `segment` with the parameters of `apply`, and bring the others into line."""
        shown = frames.copy()
        shown[segment] = self.apply(frames[segment], params)
        for rest in (slice(segment.start), slice(segment.stop, None)):
            outside = frames[rest]
            beside = self.beside(outside, params)
            if beside is not outside:
                shown[rest] = beside
        if self.grain:
            add_grain(shown, int(number(params, "seed")))
        return shown

    @property
    def alters_whole_clip(self) -> bool:
        """Tell whether the frames outside a segment are changed too."""
        return self.grain or type(self).beside is not PixelPerturbation.beside

    def unaltered(self, frames: Frames, params: Params) -> Frames:
        """Return the frames (T, H, W, 3) of a clip as `render` leaves those outside a segment."""
        strength = _strength(params)
        beside = self.beside(frames, strength)
        shown = frames.copy() if beside is frames else beside
        if self.grain:
            add_grain(shown, int(number(strength, "seed")))
        return shown


def _strength(params: Params) -> Params:
    """Return the parameters of `apply` among those of a sample."""
    strength = params.get("strength")
    if not isinstance(strength, dict):
        raise TypeError(f"strength must be a table, got {strength!r}")
    return strength


def number(params: Params, name: str) -> float:
    """Return a parameter that must be a number.

    Raises:
        TypeError: it is missing or something else; the message names it.
    """
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
