"""Find clips with filled shapes of their own, which a count could be meant to include, without the gates' code.

Exercised by `videossr validate DATASET`.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.answers.checks import Check
from videossr.question import Frames
from videossr.validation.distributions import allowed, at_most

LOOKED, OFTEN = 8, 0.4
"""Frames of a clip that are looked at, and the share of them that must show a shape."""

SIDE = 192
"""Pixels of the short side at which shapes are looked for."""

EVEN, APART = 14.0, 40.0
"""Largest deviation in levels within a shape, and least distance of its mean color from that around it."""

ALLOWED = 0.1
"""Share of clips that may show such shapes: the detector also takes some wheels, windows and heads for one."""


def shows_shapes(frames: Frames) -> bool:
    """Tell whether many of `frames` (N, H, W, 3) show filled discs, squares or equilateral triangles."""
    chosen = np.linspace(0, len(frames) - 1, min(LOOKED, len(frames))).round().astype(int)
    return sum(_shown(frames[index]) for index in chosen) >= OFTEN * len(chosen)


def finding(category: str, seen: Sequence[bool], *, gated: bool) -> Check:
    """Judge a category by what `shows_shapes` says of each clip; where the recipe has no gates it is only reported."""
    text = f"{sum(seen)} of {len(seen)} clips show filled shapes of their own"
    if not gated:
        return Check("native shapes", None, f"{text}; the recipe has no gates", category)
    text += f", allowed {allowed(len(seen), ALLOWED)}: {ALLOWED:.0%} and chance"
    return Check("native shapes", at_most(sum(seen), len(seen), ALLOWED), text, category)


def _shown(frame: Frames) -> bool:
    """Tell whether a frame (H, W, 3) shows a filled disc, square or equilateral triangle."""
    scale = SIDE / min(frame.shape[:2])
    color = np.asarray(cv2.GaussianBlur(cv2.resize(frame, None, fx=scale, fy=scale), (5, 5), 0), np.uint8)
    gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
    low, high = round(0.06 * SIDE), round(0.25 * SIDE)
    circles = cv2.HoughCircles(gray, cv2.HOUGH_GRADIENT_ALT, 1.5, SIDE / 8, None, 200, 0.85, low, high)
    discs = [] if circles is None else np.asarray(circles, float).reshape(-1, circles.shape[-1])[:, :3].tolist()
    turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    outlines = [np.column_stack([x + r * np.cos(turn), y + r * np.sin(turn)]) for x, y, r in discs]
    contours, _ = cv2.findContours(cv2.Canny(gray, 60, 120), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        corners = cv2.approxPolyDP(contour, 0.04 * cv2.arcLength(contour, True), True)
        if len(corners) in (3, 4) and cv2.isContourConvex(corners):
            sides = np.linalg.norm(corners[:, 0] - np.roll(corners[:, 0], 1, axis=0), axis=1)
            right = len(corners) == 3 or cv2.contourArea(corners) > 0.9 * sides.mean() ** 2
            if sides.min() > 0.8 * sides.max() and sides.min() > 1.4 * low and right:
                outlines.append(corners[:, 0].astype(float))
    return any(_filled(color, outline.round().astype(np.int32)) for outline in outlines)


def _filled(color: Frames, corners: NDArray[np.int32]) -> bool:
    """Tell whether what lies within an outline has an even color, unlike that around it."""
    inside = cv2.fillPoly(np.zeros(color.shape[:2], np.uint8), [corners], 1)
    kernel = np.ones((5, 5), np.uint8)
    core = cv2.erode(inside, kernel).astype(bool)
    ring = (cv2.dilate(inside, np.ones((11, 11), np.uint8)) - cv2.dilate(inside, kernel)).astype(bool)
    if core.sum() < 30 or not ring.any():
        return False
    apart = float(np.linalg.norm(color[core].mean(axis=0) - color[ring].mean(axis=0)))
    return float(color[core].std(axis=0).mean()) <= EVEN and apart >= APART
