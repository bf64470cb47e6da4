"""Flat shapes: their outlines, and painting them with smooth edges. Exercised by `python -m benchmarks.counting 1000`.

Everything after the sine table is integer arithmetic: outlines are rounded to 1/64 pixel, coverage is summed from whole
sub-pixel units and colors are mixed with an integer weight. No sum depends on a processor's vector width or on a
library's rounding, so a recipe gives the same bytes on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = tuple[tuple[float, float], ...]
"""Corners ((x, y), ...) in pixels; pixel column c covers c <= x < c + 1."""

UNIT = 64
"""Units in a pixel: outlines lie on this grid."""
LINES = 8
"""Scan lines in a pixel row; along a line, coverage is exact to a unit."""
FULL = UNIT * LINES

_ONE = 1 << 20
_SINE = tuple(round(math.sin(math.radians(degree)) * _ONE) for degree in range(360))


def _ring(*corners: tuple[float, int]) -> tuple[tuple[int, int], ...]:
    return tuple((round(radius * _ONE), degree) for radius, degree in corners)


# Corners as (radius, degrees): radius 1 is the circumscribed circle. Whole degrees, so that the sine table serves all.
_STAR_NOTCH = 0.382
_CROSS_NOTCH = math.sqrt(2) * math.sin(math.radians(18))
_CORNERS = {
    "circle": _ring(*((1.0, degree) for degree in range(0, 360, 5))),
    "square": _ring(*((1.0, degree) for degree in range(45, 360, 90))),
    "triangle": _ring(*((1.0, degree) for degree in range(30, 360, 120))),
    "star": _ring(*((_STAR_NOTCH if degree % 72 else 1.0, degree) for degree in range(0, 360, 36))),
    "cross": _ring(
        *((r, quarter + d) for quarter in range(0, 360, 90) for r, d in ((1.0, 18), (_CROSS_NOTCH, 45), (1.0, 72)))
    ),
}

SHAPES = tuple(_CORNERS)
"""Names of the shapes that can be drawn."""


def outline(name: str, x: float, y: float, size: float, angle: int) -> Points:
    """Corners of a shape in pixels, each rounded to 1/64 pixel.

    Args:
        name: one of `SHAPES`.
        x: center, in pixels from the left edge; `y` from the top edge. Multiples of 1/64.
        y: see `x`.
        size: diameter of the circumscribed circle in pixels, a multiple of 1/32.
        angle: turn in whole degrees.

    Raises KeyError for an unknown name.
    """
    center_x, center_y, half = round(x * UNIT), round(y * UNIT), round(size * UNIT / 2)

    def turned(radius: int, sine: int) -> int:
        return (half * radius * sine + (1 << 39)) >> 40

    return tuple(
        (
            (center_x + turned(radius, _SINE[(degree + angle + 90) % 360])) / UNIT,
            (center_y + turned(radius, _SINE[(degree + angle) % 360])) / UNIT,
        )
        for radius, degree in _CORNERS[name]
    )


def coverage(points: Points) -> tuple[int, int, NDArray[np.int64]]:
    """How much of each pixel a simple polygon covers: (top row, left column, (h, w) from 0 to `FULL`).

    Each scan line adds, for every edge that it crosses, the part of each pixel right of the crossing, with the sign of
    the edge's direction; what lies outside cancels.
    """
    grid = np.rint(np.asarray(points) * UNIT).astype(np.int64)
    left, top = grid.min(axis=0) // UNIT
    right, bottom = -(-grid.max(axis=0) // UNIT)
    lines = top * UNIT + (UNIT // LINES) * np.arange((bottom - top) * LINES) + UNIT // LINES // 2
    start, end = grid, np.roll(grid, -1, axis=0)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    edge, line = np.nonzero((low[:, None] <= lines) & (lines < high[:, None]))
    run, rise = (end - start)[edge].T
    crossing = start[edge, 0] + (lines[line] - start[edge, 1]) * run // rise
    # What a crossing adds grows in its own pixel and in the next, and is the same in all those right of them.
    height, width = int(bottom - top), int(right - left)
    pixel = crossing // UNIT
    inside = (pixel + 1) * UNIT - crossing
    place = line // LINES * (width + 2) + pixel - left
    growth = np.concatenate([inside, UNIT - inside]) * np.tile(np.sign(rise), 2)
    grown = np.bincount(np.concatenate([place, place + 1]), growth, height * (width + 2)).astype(np.int64)
    covered = grown.reshape(height, width + 2).cumsum(axis=1)[:, :width]
    return int(top), int(left), np.abs(covered)


def paint(frame: NDArray[np.uint8], points: Points, color: Sequence[int]) -> None:
    """Fill a simple polygon in `frame` (H, W, 3) uint8, in place; pixels on its edge are mixed by their coverage.

    Raises ValueError when the polygon does not lie wholly in the frame.
    """
    top, left, covered = coverage(points)
    height, width = covered.shape
    if top < 0 or left < 0 or top + height > frame.shape[0] or left + width > frame.shape[1]:
        raise ValueError(
            f"shape at rows {top}..{top + height}, columns {left}..{left + width} leaves {frame.shape[:2]}"
        )
    part = frame[top : top + height, left : left + width]
    weight = covered[:, :, None]
    part[:] = (part * (FULL - weight) + np.asarray(color, np.int64) * weight + FULL // 2) // FULL
