"""Spatial perturbations (paper, anomaly grounding): they move the picture within the frame, whose size stays."""

from __future__ import annotations

from typing import ClassVar, cast

import cv2
import numpy as np

from videossr.perturb.base import Params, SegmentConfig
from videossr.perturb.pixel import PixelPerturbation, number
from videossr.question import Frames
from videossr.sample import JSON
from videossr.video.scaling import resize


class ZoomIn(PixelPerturbation):
    """The middle 1/`factor` of each side, enlarged to the whole frame."""

    name = "zoom_in"
    text = "For part of this video, the picture is magnified, so that only its middle is seen."
    hidden_by_cuts = True
    leaves_no_traces = True
    grain = True

    def weakest(self, config: SegmentConfig) -> dict[str, JSON]:
        return {"factor": config.strengths.zoom_in[0]}

    def draw_params(self, config: SegmentConfig, rng: np.random.Generator) -> dict[str, JSON]:
        return {"factor": round(rng.uniform(*config.strengths.zoom_in), 3)}

    def apply(self, frames: Frames, params: Params) -> Frames:
        height, width = frames.shape[1:3]
        inner_height, inner_width = _shrunk(height, width, number(params, "factor"))
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        return _enlarge(frames[:, top : top + inner_height, left : left + inner_width], height, width)

    def beside(self, frames: Frames, params: Params) -> Frames:
        """Shrink frames by `factor` and enlarge them again, so that they are as soft as magnified ones."""
        height, width = frames.shape[1:3]
        return _enlarge(resize(frames, *_shrunk(height, width, number(params, "factor"))), height, width)


class ZoomOut(PixelPerturbation):
    """The whole picture at 1/`factor` of its size, in the middle of a black frame."""

    name = "zoom_out"
    text = "For part of this video, the picture is shrunk and surrounded by a black border."

    def weakest(self, config: SegmentConfig) -> dict[str, JSON]:
        return {"factor": config.strengths.zoom_out[0]}

    def draw_params(self, config: SegmentConfig, rng: np.random.Generator) -> dict[str, JSON]:
        return {"factor": round(rng.uniform(*config.strengths.zoom_out), 3)}

    def apply(self, frames: Frames, params: Params) -> Frames:
        height, width = frames.shape[1:3]
        return _on_black(resize(frames, *_shrunk(height, width, number(params, "factor"))), height, width)


class Mirror(PixelPerturbation):
    """Left becomes right."""

    name = "mirror"
    text = "For part of this video, left and right have been exchanged, as in a mirror."
    hidden_by_cuts = True
    leaves_no_traces = True

    def apply(self, frames: Frames, params: Params) -> Frames:
        flipped = cv2.flip(frames.reshape(-1, *frames.shape[2:]), 1)  # the frames one below the other
        return cast(Frames, flipped.reshape(frames.shape))


class Rotation(PixelPerturbation):
    """A turn clockwise; what no longer fits is scaled to fit, on black.

    Attributes:
        turn: by how much, as OpenCV names it: copying one of NumPy's turned views takes ten times as long.
    """

    leaves_no_traces = True
    turn: ClassVar[int]

    def apply(self, frames: Frames, params: Params) -> Frames:
        height, width = frames.shape[1:3]
        turned = cast(Frames, np.stack([cv2.rotate(frame, self.turn) for frame in frames]))
        if turned.shape == frames.shape:
            return turned
        scale = min(height / width, width / height)
        fitted = resize(turned, round(width * scale), round(height * scale))
        return _on_black(fitted, height, width)


class QuarterTurn(Rotation):
    """A quarter turn clockwise."""

    name = "rotate_90"
    text = "For part of this video, the picture is turned a quarter turn clockwise."
    pads_unless_square = True
    turn = cv2.ROTATE_90_CLOCKWISE


class HalfTurn(Rotation):
    """Half a turn."""

    name = "rotate_180"
    text = "For part of this video, the picture is upside down, turned by half a turn."
    turn = cv2.ROTATE_180


class QuarterTurnBack(Rotation):
    """A quarter turn counterclockwise."""

    name = "rotate_270"
    text = "For part of this video, the picture is turned a quarter turn counterclockwise."
    pads_unless_square = True
    turn = cv2.ROTATE_90_COUNTERCLOCKWISE


_LUMA, _CHROMA = 1.0, 8
"""Of magnified frames and those beside them: the blur of luma in pixels, and what the sides of chroma are divided by.

Chosen on half of the clips of docs/results/traces.md."""


def _enlarge(frames: Frames, height: int, width: int) -> Frames:
    """Enlarge frames, and leave only detail that they have whether they were shrunk or cut out before.

    A part that was cut out has less detail than a picture that was shrunk to its size: luma a little, chroma much less.
    """
    enlarged = np.empty((len(frames), height, width, 3), np.uint8)
    for frame, target in zip(frames, enlarged, strict=True):
        planes = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2YCrCb)
        luma = cv2.resize(planes[..., 0], (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        luma = cv2.GaussianBlur(luma, (0, 0), _LUMA, hint=cv2.ALGO_HINT_ACCURATE)
        coarse = (max(1, round(side / _CHROMA)) for side in reversed(frame.shape[:2]))
        chroma = cv2.resize(planes[..., 1:], tuple(coarse), interpolation=cv2.INTER_AREA)
        chroma = cv2.resize(chroma, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_LINEAR_EXACT)
        chroma = cv2.GaussianBlur(chroma, (0, 0), _CHROMA / 8, hint=cv2.ALGO_HINT_ACCURATE)
        chroma = cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR_EXACT)
        cv2.cvtColor(np.dstack([luma, chroma]), cv2.COLOR_YCrCb2RGB, dst=target)
    return enlarged


def _shrunk(height: int, width: int, factor: float) -> tuple[int, int]:
    """Return the sides of a frame divided by `factor`, one pixel at the least."""
    return max(1, round(height / factor)), max(1, round(width / factor))


def _on_black(frames: Frames, height: int, width: int) -> Frames:
    """Put frames (T, H, W, 3) in the middle of black ones of the given size."""
    canvas = np.zeros((len(frames), height, width, 3), np.uint8)
    inner_height, inner_width = frames.shape[1:3]
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    canvas[:, top : top + inner_height, left : left + inner_width] = frames
    return canvas
