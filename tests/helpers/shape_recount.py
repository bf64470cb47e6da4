"""Count drawn shapes from pixels alone, and read clips as videos, for the tests and `benchmarks/counting.py`.

`recount` knows nothing of recipes and shares no code with the drawing: it compares two frames, joins what differs into
blobs, and names each blob by two ratios of areas that do not depend on size or angle.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from videossr.clock import uniform_clock
from videossr.question import Frames
from videossr.sample import VideoKey
from videossr.tasks.base import Video

CHANGE = 8
"""Levels in some channel by which a pixel must differ to count as painted."""
ZOOM = 4
"""How much a blob is enlarged before its contour is taken."""


def read_clip(path: Path, size: tuple[int, int], steps: tuple[int, ...] = (1,)) -> Video | None:
    """Read 48 frames of a file, resized to (H, W): every n-th, for the first of `steps` that gives enough frames.

    Returns None where the file has fewer.
    """
    for step in steps:
        with av.open(str(path)) as container:
            decoded = (frame for k, frame in enumerate(container.decode(video=0)) if k % step == 0)
            pictures = [frame.to_ndarray(format="rgb24") for frame in islice(decoded, 48)]
        if len(pictures) == 48:
            resized = [cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA) for picture in pictures]
            content = hashlib.sha256(path.name.encode()).hexdigest()
            return Video(VideoKey(content, content), uniform_clock(48, 24_000), np.stack(resized).astype(np.uint8))
    return None


def recount(before: Frames, after: Frames) -> list[Counter[str]]:
    """Count the shapes of each name in each slot, from the original and the rendered frames (T, H, W, 3)."""
    return [Counter(_name(*blob) for blob in _blobs(a, b)) for a, b in zip(before, after, strict=True)]


def _blobs(before: Frames, after: Frames) -> Iterator[tuple[Frames, Frames]]:
    """Yield the surroundings of each blob of changed pixels, before and after."""
    changed = (cv2.absdiff(before, after).max(axis=2) > CHANGE).astype(np.uint8)
    if not changed.any():
        return
    joined = cv2.morphologyEx(np.pad(changed, 2), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))[2:-2, 2:-2]
    for x, y, width, height, area in cv2.connectedComponentsWithStats(joined, connectivity=8)[2][1:]:
        if area > 8:
            part = slice(max(0, y - 1), y + height + 1), slice(max(0, x - 1), x + width + 1)
            yield before[part], after[part]


def _name(before: Frames, after: Frames) -> str:
    """Name the shape in a small picture, whose color is the most frequent new one, by ratios of areas."""
    old, new = before.astype(float), after.astype(float)
    colors, times = np.unique(after[(before != after).any(axis=2)], axis=0, return_counts=True)
    towards = colors[times.argmax()] - old
    part = ((new - old) * towards).sum(axis=2) / np.maximum(1, (towards**2).sum(axis=2))
    part[(after == colors[times.argmax()]).all(axis=2)] = 1
    large = cv2.resize(np.pad(part, 2).astype(np.float32), None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_CUBIC)
    contours, _ = cv2.findContours((large >= 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=cv2.contourArea)
    area, hull = cv2.contourArea(contour), cv2.contourArea(cv2.convexHull(contour))
    solid, filled = area / hull, area / (np.pi * cv2.minEnclosingCircle(contour)[1] ** 2)
    if solid < 0.85:
        return "star" if solid < 0.62 else "cross"
    return "circle" if filled > 0.8 else "square" if filled > 0.54 else "triangle"
