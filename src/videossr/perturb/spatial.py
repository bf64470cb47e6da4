"""Spatial perturbations (paper, anomaly grounding): they move the picture within the frame, whose size stays."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from videossr.perturb.pixel import Params, Pixel, number
from videossr.perturb.strengths import Strengths
from videossr.question import Frames
from videossr.sample import JSON
from videossr.video.scaling import resize


def zoom_in(frames: Frames, params: Params) -> Frames:
    """Show the middle 1/`factor` of each side, enlarged to the whole frame."""
    height, width = frames.shape[1:3]
    inner_height, inner_width = _shrunk(height, width, number(params, "factor"))
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    return _enlarge(frames[:, top : top + inner_height, left : left + inner_width], height, width)


def soften(frames: Frames, params: Params) -> Frames:
    """Shrink frames by `factor` and enlarge them again, so that they are as soft as magnified ones."""
    height, width = frames.shape[1:3]
    return _enlarge(resize(frames, *_shrunk(height, width, number(params, "factor"))), height, width)


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


def zoom_out(frames: Frames, params: Params) -> Frames:
    """Show the whole picture at 1/`factor` of its size in the middle of a black frame."""
    height, width = frames.shape[1:3]
    return _on_black(resize(frames, *_shrunk(height, width, number(params, "factor"))), height, width)


_LUMA, _CHROMA = 1.0, 8
"""Of magnified frames and those beside them: the blur of luma in pixels, and what the sides of chroma are divided by.

Chosen on half of the clips of docs/results/traces.md."""

_TURNS = {1: cv2.ROTATE_90_CLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_COUNTERCLOCKWISE}
"""OpenCV, because copying one of NumPy's turned views takes ten times as long."""


def mirror(frames: Frames) -> Frames:
    """Left becomes right."""
    flipped = cv2.flip(frames.reshape(-1, *frames.shape[2:]), 1)  # the frames one below the other
    return cast(Frames, flipped.reshape(frames.shape))


def rotate(frames: Frames, turns: int) -> Frames:
    """Turn clockwise by `turns` quarter turns; what no longer fits is scaled to fit, on black."""
    height, width = frames.shape[1:3]
    turned = cast(Frames, np.stack([cv2.rotate(frame, _TURNS[turns]) for frame in frames]))
    if turned.shape == frames.shape:
        return turned
    scale = min(height / width, width / height)
    fitted = resize(turned, round(width * scale), round(height * scale))
    return _on_black(fitted, height, width)


def _shrunk(height: int, width: int, factor: float) -> tuple[int, int]:
    return max(1, round(height / factor)), max(1, round(width / factor))


def _on_black(frames: Frames, height: int, width: int) -> Frames:
    canvas = np.zeros((len(frames), height, width, 3), np.uint8)
    inner_height, inner_width = frames.shape[1:3]
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    canvas[:, top : top + inner_height, left : left + inner_width] = frames
    return canvas


def _factor(low: float, high: float, rng: np.random.Generator) -> dict[str, JSON]:
    return {"factor": round(rng.uniform(low, high), 3)}


def _least(span: tuple[float, float]) -> dict[str, JSON]:
    return {"factor": span[0]}


def _draw_zoom_in(strengths: Strengths, rng: np.random.Generator) -> dict[str, JSON]:
    return _factor(*strengths.zoom_in, rng)


def _draw_zoom_out(strengths: Strengths, rng: np.random.Generator) -> dict[str, JSON]:
    return _factor(*strengths.zoom_out, rng)


SPATIAL: dict[str, Pixel] = {
    "zoom_in": Pixel(zoom_in, lambda strengths: _least(strengths.zoom_in), _draw_zoom_in, beside=soften, grain=True),
    "zoom_out": Pixel(zoom_out, lambda strengths: _least(strengths.zoom_out), _draw_zoom_out),
    "mirror": Pixel(lambda frames, params: mirror(frames)),
    "rotate_90": Pixel(lambda frames, params: rotate(frames, 1)),
    "rotate_180": Pixel(lambda frames, params: rotate(frames, 2)),
    "rotate_270": Pixel(lambda frames, params: rotate(frames, 3)),
}
