"""Find filled shapes of the kinds that are counted in a video itself: discs, balloons, signs, tiles.

A region is a candidate where the color changes little from pixel to pixel and an edge runs all around. It counts when,
brought to a standard size, it covers what an outline of that kind covers at some angle. A disc may be seen at a slant
or be a balloon, so it may be an ellipse. `benchmarks/native.py` measures the figures of
`docs/results/counting.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.perturb.shapes import outline
from videossr.question import Frames

LOOKED = 12
"""Frames of a video that are looked at."""

SIZES = (0.12, 0.5)
"""Smallest and largest diameter of a region, as a share of the short side."""

EDGE = 4.0
"""Change of color from one pixel to the next, in CIE76, that ends a region."""

CONTRAST = 25.0
"""Least distance in CIE76 of a region's mean color from that of the ring around it."""

GRID = 32
"""Cells of a side in which regions are compared with outlines; the shape covers a quarter of them."""

COVERS = {"star": 0.7, "cross": 0.7}
"""Least overlap (intersection over union) of a region with an outline that has thin parts; 0.9 for all others."""

SLANT = 0.6
"""Least ratio of the axes of a disc."""

Mask = NDArray[np.bool_]


def native_share(frames: Frames, names: Sequence[str]) -> float:
    """Return the share of `LOOKED` frames, evenly spaced in `frames` (N, H, W, 3), with a shape of these names."""
    chosen = np.linspace(0, len(frames) - 1, min(LOOKED, len(frames))).round().astype(int)
    return sum(native_shapes(frames[index], names) > 0 for index in chosen) / len(chosen)


def native_shapes(frame: Frames, names: Sequence[str]) -> int:
    """Count the regions of `frame` (H, W, 3) that are filled shapes of one of these names."""
    smooth = cv2.medianBlur(frame, 3).astype(np.float32) / 255
    lab = np.asarray(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB), np.float32)
    height, width = frame.shape[:2]
    across = np.linalg.norm(lab[:-1, 1:] - lab[:-1, :-1], axis=-1)
    down = np.linalg.norm(lab[1:, :-1] - lab[:-1, :-1], axis=-1)
    flat = np.zeros((height, width), np.uint8)
    flat[:-1, :-1] = np.maximum(across, down) < EDGE
    low, high = (share * min(height, width) for share in SIZES)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(flat, connectivity=4)
    lefts, tops, wides, talls, areas = boxes[1:].T
    longer, shorter = np.maximum(wides, talls), np.minimum(wides, talls)
    inside = (lefts > 0) & (tops > 0) & (lefts + wides < width - 1) & (tops + talls < height - 1)
    sized = (longer >= low) & (longer <= high) & (shorter >= SLANT * longer) & (areas >= low * longer / 4)
    count = 0
    for region in np.flatnonzero(inside & sized):
        left, top, wide, tall = (int(value) for value in boxes[1 + region][:4])
        part = np.zeros((tall + 6, wide + 6), np.uint8)
        part[3:-3, 3:-3] = labels[top : top + tall, left : left + wide] == 1 + region
        count += _is_shape(part, names) and _stands_out(part, lab, left - 3, top - 3)
    return count


def _is_shape(part: Frames, names: Sequence[str]) -> bool:
    """Tell whether a region, 1 where it is, has one of these shapes; holes in it are filled."""
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(part), contours, -1, 1, cv2.FILLED)
    filled = cv2.dilate(filled, np.ones((2, 2), np.uint8))  # the edge takes a pixel
    moments = cv2.moments(filled, binaryImage=True)
    spread = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / moments["m00"]
    values, axes = np.linalg.eigh(spread)
    if values[0] < SLANT**2 * values[1]:
        return False
    center = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    scale = np.sqrt(moments["m00"]) / (GRID / 2)
    for name in names:
        # A disc seen at a slant is an ellipse, which is made round before it is compared.
        upright = axes @ np.diag(np.sqrt(values / np.sqrt(values.prod()))) @ axes.T if name == "circle" else np.eye(2)
        matrix = np.column_stack([scale * upright, center - scale * upright @ np.full(2, (GRID - 1) / 2)])
        flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        shown = cv2.warpAffine(filled, matrix, (GRID, GRID), flags=flags).astype(bool)
        both = (_outlines(name) & shown).sum(axis=(1, 2)) / (_outlines(name) | shown).sum(axis=(1, 2))
        if both.max() >= COVERS.get(name, 0.9):
            return True
    return False


@cache
def _outlines(name: str) -> Mask:
    """Draw an outline at all angles, in 5 degrees, each with an area of a quarter of the grid: (angles, 32, 32)."""

    def draw(size: float, angle: int) -> Frames:
        points = np.asarray(outline(name, (GRID - 1) / 2 * 16, (GRID - 1) / 2 * 16, size * 16, angle))
        corners = points.round().astype(np.int32)
        return np.asarray(cv2.fillPoly(np.zeros((GRID, GRID), np.uint8), [corners], 1, shift=4), np.uint8)

    size = 18.0
    for _ in range(4):
        size *= np.sqrt(GRID**2 / 4 / draw(size, 0).sum())
    return np.stack([draw(size, angle) for angle in range(0, 360, 5)]).astype(bool)


def _stands_out(part: Frames, lab: NDArray[np.float32], left: int, top: int) -> bool:
    """Tell whether the mean color of a region differs from that of the ring around it."""
    height, width = part.shape
    inner = part.astype(bool)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    ring = cv2.dilate(part, kernel).astype(bool) & ~cv2.dilate(part, kernel[2:5, 2:5]).astype(bool)
    area = lab[max(top, 0) : top + height, max(left, 0) : left + width]
    cut = slice(max(-top, 0), max(-top, 0) + area.shape[0]), slice(max(-left, 0), max(-left, 0) + area.shape[1])
    inner, ring = inner[cut], ring[cut]
    return bool(np.linalg.norm(area[inner].mean(axis=0) - area[ring].mean(axis=0)) >= CONTRAST)
