"""Would a change stand out? Measured on the frames at the size that the model will see, before anything is drawn.

Three cues are looked at: the picture (color and layout, on a coarse grid), the palette (mean color, wherever it is) and
the texture (fine detail). A change stands out when, by one of them, the jump at a border of the segment would be large
enough wherever in the video that border lay, both in itself and against the jumps that the video makes from frame to
frame anyway. `docs/results/gates.md` shows what the defaults were chosen from; `speed/gates.py` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as knobs

from videossr.question import Frames
from videossr.sample import Reject

GRID = 16
Floats = NDArray[np.float32]


@knobs(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Limits:
    """Thresholds of the gates."""

    picture: Annotated[
        float, Field(ge=0, le=100, description="least jump of the picture, mean CIE76 over the grid")
    ] = 5.0
    palette: Annotated[
        float, Field(ge=0, le=100, description="least jump of the mean color, CIE76 without lightness")
    ] = 3.0
    texture: Annotated[float, Field(ge=0, le=16, description="least jump of the texture, in octaves")] = 0.5
    motion: Annotated[float, Field(ge=0, le=100, description="least motion, CIE76 of the tenth that changes most")] = (
        2.0
    )
    contrast: Annotated[float, Field(ge=0, le=16, description="least jump over the video's own, as a factor")] = 1.5
    course: Annotated[float, Field(ge=0, le=16, description="least motion over three steps, to that over one")] = 1.25


@dataclass(frozen=True)
class Look:
    """What the gates see of N frames.

    Attributes:
        pictures: (N, 16, 16, 3) in CIE Lab.
        palettes: (N, 3), the means of a, b and chroma.
        textures: (N,), fine detail in octaves of gray levels.
    """

    pictures: Floats
    palettes: Floats
    textures: Floats


def look(frames: Frames) -> Look:
    """What the gates see of `frames` (N, H, W, 3)."""
    coarse = np.stack([cv2.resize(frame, (GRID, GRID), interpolation=cv2.INTER_AREA) for frame in frames])
    pictures = cv2.cvtColor(coarse.reshape(-1, GRID, 3).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    pictures = np.asarray(pictures, np.float32).reshape(coarse.shape)
    colors = pictures[..., 1:]
    chroma = np.linalg.norm(colors, axis=-1, keepdims=True)
    palettes = np.concatenate([colors, chroma], axis=-1).mean(axis=(1, 2))
    grays = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames)
    detail = np.array([cv2.norm(cv2.Laplacian(gray, cv2.CV_16S), cv2.NORM_L1) for gray in grays], np.float32)
    detail /= frames.shape[1] * frames.shape[2]
    return Look(pictures, palettes, np.log2(1 + detail))


def picture_jump(a: Floats, b: Floats) -> Floats:
    """Mean color difference (CIE76) over the grid; leading axes are kept."""
    return np.asarray(np.linalg.norm(a - b, axis=-1).mean(axis=(-2, -1)), np.float32)


def motion_jump(a: Floats, b: Floats) -> Floats:
    """Mean color difference (CIE76) of the tenth of the grid that differs most: a small thing that moves counts."""
    cells = np.sort(np.linalg.norm(a - b, axis=-1).reshape(*a.shape[:-3], -1), axis=-1)
    return np.asarray(cells[..., -(cells.shape[-1] // 10) :].mean(axis=-1), np.float32)


def hidden_change(original: Look, altered: Look, limits: Limits) -> Reject | None:
    """None when a border between `original` and `altered` would stand out at every slot, else what came nearest to it.

    A slot must differ from what it would show, and both directions are looked at: from an original frame to the next
    one altered, and back. What the video does anyway is the median of its own jumps, see `_usual`.
    """
    results = []
    for cue, jump, least, x, y in (
        ("picture", picture_jump, limits.picture, original.pictures, altered.pictures),
        ("palette", _distance, limits.palette, original.palettes, altered.palettes),
        ("texture", _octaves, limits.texture, original.textures, altered.textures),
    ):
        borders = float(min(jump(x[:-1], y[1:]).min(), jump(y[:-1], x[1:]).min()))
        drowned = max(least, limits.contrast * _usual(jump(x[:-1], x[1:])))
        measured = ((borders, drowned), (float(jump(x, y).min()), least))
        missed = [(value / threshold, value, threshold) for value, threshold in measured if value < threshold]
        if not missed:
            return None
        share, value, threshold = min(missed)
        results.append((share, Reject(f"hidden_{cue}", value, threshold)))
    return max(results, key=lambda result: result[0])[1]


def _usual(jumps: Floats) -> float:
    """Return the median of the jumps between pictures that differ; 0 where none do.

    A held picture fills several slots. Were its jumps of nothing counted, a video that stands still half the time would
    seem calm, though it moves in leaps.
    """
    leaps = jumps[jumps > 0]
    return float(np.median(leaps)) if leaps.size else 0.0


def _distance(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.linalg.norm(a - b, axis=-1), np.float32)


def _octaves(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.abs(a - b), np.float32)


def hidden_motion(pictures: Floats, lags: range, limits: Limits, share: float = 1) -> Reject | None:
    """None when frames that are any of `lags` apart look different everywhere, by `share` of the least motion.

    Against it: still scenes, and scenes that repeat themselves, where another frame in a slot cannot be seen.
    """
    value = min(float(motion_jump(pictures[:-lag], pictures[lag:]).min()) for lag in lags if lag < len(pictures))
    threshold = limits.motion * share
    return Reject("hidden_motion", value, threshold) if value < threshold else None


def no_course(pictures: Floats, step: int, limits: Limits) -> Reject | None:
    """None when the scene moves on: frames three steps apart differ more than neighbors do, in the median.

    Against it: a show of unrelated pictures, which has neither an order that could be wrong nor a speed.
    """
    near, far = (_usual(motion_jump(pictures[:-lag], pictures[lag:])) for lag in (step, 3 * step))
    value = far / near if near else 0.0
    return Reject("no_course", value, limits.course) if value < limits.course else None
