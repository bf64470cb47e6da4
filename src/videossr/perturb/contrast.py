"""Measure how far a color stands out from pixels: distance in CIE L*a*b* (1976).

The conversion is one table of 64 x 64 x 64 colors, rounded to 1/16 of a distance unit; after it all is integer
arithmetic, so that a draw takes the same decisions on every machine. The coarse table errs by less than 3 units.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Lab: TypeAlias = NDArray[np.int32]
"""(..., 3) L*, a*, b* in 1/16 units."""

SCALE = 16
_SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def exact_lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert sRGB colors (..., 3) in 0..255 to L*, a*, b* (D65)."""
    value = rgb / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    ratio = linear @ (_SRGB_TO_XYZ / _SRGB_TO_XYZ.sum(axis=1, keepdims=True)).T
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


@functools.cache
def lab_table() -> Lab:
    """Compute the color of each cell of 4 x 4 x 4 levels at its middle, (64 ** 3, 3)."""
    level = np.arange(64) * 4 + 1.5
    cells = np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1).reshape(-1, 3)
    return np.rint(exact_lab(cells) * SCALE).astype(np.int32)


def to_lab(pixels: NDArray[np.uint8]) -> Lab:
    """Convert (..., 3) uint8 RGB to the same shape in 1/16 units."""
    cell = (pixels >> 2).astype(np.int32)
    packed = (cell[..., 0] << 12) | (cell[..., 1] << 6) | cell[..., 2]
    return np.take(lab_table(), packed, axis=0)


def near(pixels: Lab, color: Lab, distance: float) -> NDArray[np.bool_]:
    """Tell which of `pixels` (..., 3) are closer to `color` (broadcast against them) than `distance` units."""
    gap = pixels - color
    squared: NDArray[np.int32] = np.einsum("...c,...c->...", gap, gap)
    return np.less(squared, round(distance * SCALE) ** 2)


def disk(lab: Lab, x: float, y: float, radius: float) -> Lab:
    """Return the pixels (n, 3) of an (H, W, 3) frame whose centers lie within `radius` of (x, y), all in pixels.

    `x`, `y` and `radius` are multiples of 1/16, so that the comparison is exact.
    """
    top, left = max(0, int(y - radius)), max(0, int(x - radius))
    part = lab[top : int(y + radius) + 1, left : int(x + radius) + 1]
    down = np.arange(part.shape[0]) + (top + 0.5 - y)
    across = np.arange(part.shape[1]) + (left + 0.5 - x)
    return part[down[:, None] ** 2 + across**2 <= radius**2]
