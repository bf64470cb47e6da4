"""Measure whether a change would stand out, on frames at the size that the model will see, before a draw.

Three cues are looked at: the picture (color and layout, on a coarse grid), the palette (mean color, wherever it is) and
the texture (fine detail). A change stands out when, by one of them, the jump at a border of the segment would be large
enough wherever in the video that border lay, both in itself and against the jumps that the video makes from frame to
frame anyway. `docs/results/gates.md` shows what the defaults were chosen from; `benchmarks/gates.py` measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as config_dataclass

from videossr.measure import Measure
from videossr.question import Frames

GRID = 16

CUT = 2.5
"""Times the jumps before and after it that a cut changes the picture."""

Floats = NDArray[np.float32]


@config_dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
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
        5.0
    )
    contrast: Annotated[float, Field(ge=0, le=16, description="least jump over the video's own, as a factor")] = 1.5
    cut: Annotated[
        float, Field(ge=0, le=100, description="jump beyond which a cut is hard, mean CIE76 over the grid")
    ] = 8.0
    pace: Annotated[
        float,
        Field(ge=0, le=100, description="least motion of the faster part in slow or fast, median CIE76 of blocks"),
    ] = 2.0
    speed: Annotated[
        float, Field(ge=0, le=16, description="least change of the motion in slow or fast, as a factor")
    ] = 1.4
    ends: Annotated[
        float, Field(ge=0, le=16, description="shuffle: least step into and out of it, as a factor on the scene's own")
    ] = 1.0
    course: Annotated[float, Field(ge=0, le=16, description="least motion over three steps, to that over one")] = 1.25


@dataclass(frozen=True)
class ClipFeatures:
    """Features of N frames by which gates judge them.

    Attributes:
        pictures: (N, 16, 16, 3) in CIE Lab.
        palettes: (N, 3), the means of a, b and chroma.
        textures: (N,), fine detail in octaves of gray levels.
    """

    pictures: Floats
    palettes: Floats
    textures: Floats


def clip_features(frames: Frames) -> ClipFeatures:
    """Compute what the gates see of `frames` (N, H, W, 3)."""
    coarse = np.stack([cv2.resize(frame, (GRID, GRID), interpolation=cv2.INTER_AREA) for frame in frames])
    pictures = cv2.cvtColor(coarse.reshape(-1, GRID, 3).astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    pictures = np.asarray(pictures, np.float32).reshape(coarse.shape)
    colors = pictures[..., 1:]
    chroma = np.linalg.norm(colors, axis=-1, keepdims=True)
    palettes = np.concatenate([colors, chroma], axis=-1).mean(axis=(1, 2))
    grays = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames)
    detail = np.array([cv2.norm(cv2.Laplacian(gray, cv2.CV_16S), cv2.NORM_L1) for gray in grays], np.float32)
    detail /= frames.shape[1] * frames.shape[2]
    return ClipFeatures(pictures, palettes, np.log2(1 + detail))


def hard_cuts(pictures: Floats, limits: Limits) -> NDArray[np.bool_]:
    """Find the hard cuts between neighboring frames (N - 1,): single jumps far above those before and after.

    Args:
        pictures: (N, 16, 16, 3), see `PacketInfo`.
        limits: a cut changes the picture by more than `cut`, and by `CUT` times the jumps next to it.
    """
    return np.asarray(_leaps(pictures) > limits.cut)


def hard_cut(pictures: Floats, limits: Limits) -> Measure:
    """Measure the largest jump that would be a hard cut; see `hard_cuts`."""
    largest = float(_leaps(pictures).max(initial=0.0))
    return Measure("hard_cut", largest, limits.cut, least=False, setting="limits.cut")


def _leaps(pictures: Floats) -> Floats:
    """Compute the jumps between neighbors (N - 1,); 0 where one is not `CUT` times those before and after it."""
    jumps = picture_jump(pictures[:-1], pictures[1:])
    beside = np.concatenate([[0], jumps, [0]])
    return np.where(jumps >= CUT * np.maximum(beside[:-2], beside[2:]), jumps, np.float32(0))


def picture_jump(a: Floats, b: Floats) -> Floats:
    """Compute the mean color difference (CIE76) over the grid; leading axes are kept."""
    return np.asarray(np.linalg.norm(a - b, axis=-1).mean(axis=(-2, -1)), np.float32)


def motion_jump(a: Floats, b: Floats) -> Floats:
    """Compute the mean color difference (CIE76) of the tenth of the grid that differs most: small things count."""
    cells = np.sort(np.linalg.norm(a - b, axis=-1).reshape(*b.shape[:-3], -1), axis=-1)
    return np.asarray(cells[..., -(cells.shape[-1] // 10) :].mean(axis=-1), np.float32)


def hidden_change(
    original: ClipFeatures, altered: ClipFeatures, limits: Limits, *, between: bool = False
) -> Iterator[Measure]:
    """Measure, by each cue, how far the weakest border between `original` and `altered` stands out; one cue is enough.

    A slot must differ from what it would show, and both directions are looked at: from an original frame to the next
    one altered, and back. What the video does anyway is the median of its own jumps, see `_usual`.

    Args:
        original: what the gates see of the frames.
        altered: the same, of the altered frames.
        limits: thresholds.
        between: whether a single frame does not tell that it is altered, so that only the change between frames can.
            Then a border must also stand out against the video's own jump at that very place, and hard cuts, at which
            nobody could say where the altered segment begins or ends, are refused.
    """
    if between:
        yield hard_cut(original.pictures, limits)
    for cue, jump, least, x, y in (
        ("picture", picture_jump, limits.picture, original.pictures, altered.pictures),
        ("palette", _distance, limits.palette, original.palettes, altered.palettes),
        ("texture", _octaves, limits.texture, original.textures, altered.textures),
    ):
        natural = jump(x[:-1], x[1:])
        usual = np.maximum(_usual(natural), natural if between else 0)
        borders = np.minimum(jump(x[:-1], y[1:]), jump(y[:-1], x[1:]))
        change = min(float(borders.min()), float(jump(x, y).min()))
        yield Measure(f"hidden_{cue}", change, least, setting=f"limits.{cue}", either="hidden_change")
        factor = _factors(borders, usual).min()
        yield Measure(
            f"hidden_{cue}", float(factor), limits.contrast, setting="limits.contrast", either="hidden_change"
        )


def _factors(jumps: Floats, usual: Floats) -> Floats:
    """Divide jumps (N,) by the usual ones (N,) or (); infinite where those are nothing."""
    usual = np.broadcast_to(usual, jumps.shape)
    return np.divide(jumps, usual, out=np.full(jumps.shape, np.inf, np.float32), where=usual > 0)


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


def hidden_motion(pictures: Floats, lags: range, limits: Limits) -> Measure:
    """Measure the least motion between any two frames that are one of `lags` apart.

    Against it: still scenes, and scenes that repeat themselves, where another frame in a slot cannot be seen.
    """
    value = min(float(motion_jump(pictures[:-lag], pictures[lag:]).min()) for lag in lags if lag < len(pictures))
    return Measure("hidden_motion", value, limits.motion, setting="limits.motion")


@dataclass(frozen=True)
class Steps:
    """The steps between any two of N frames, see `steps`.

    Attributes:
        factors: (N, N), at [i, j] how much frame j differs from frame i, as a factor on the larger of the two steps of
            the scene itself into and out of frame i.
        motion: (N, N), by how much the two differ, see `motion_jump`.
    """

    factors: Floats
    motion: Floats


def steps(look: ClipFeatures) -> Steps:
    """Compare a step between any two frames with the scene's own steps.

    Where a rearranged segment begins or ends, the frame shown next is not the next one of the scene. That is seen only
    if it differs from the one that is due, and if the step is as large as the scene's own are there: by the whole
    picture or by the tenth that changes most, whichever tells more.
    """
    far: dict[Callable[[Floats, Floats], Floats], Floats] = {}
    factors = []
    for jump in (motion_jump, picture_jump):
        far[jump] = np.stack([jump(picture, look.pictures) for picture in look.pictures])
        natural = np.concatenate([[0], jump(look.pictures[:-1], look.pictures[1:]), [0]])
        factors.append(far[jump] / np.maximum(np.maximum(natural[:-1], natural[1:]), 1e-6)[:, None])
    return Steps(np.asarray(np.maximum(*factors), np.float32), far[motion_jump])


def no_course(pictures: Floats, step: int, limits: Limits) -> Measure:
    """Measure how much more frames three steps apart differ than neighbors do, in the median: does the scene move on?

    Against it: a show of unrelated pictures, which has neither an order that could be wrong nor a speed.
    """
    near, far = (_usual(motion_jump(pictures[:-lag], pictures[lag:])) for lag in (step, 3 * step))
    return Measure("no_course", far / near if near else 0.0, limits.course, setting="limits.course")
