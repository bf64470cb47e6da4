"""Shared by the counting test and `speed/counting.py`: real clips as videos, and counting shapes from pixels alone.

`recount` knows nothing of recipes and shares no code with the drawing: it compares two frames, joins what differs into
blobs, and names each blob by two ratios of areas that do not depend on size or angle.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np

from videossr.clock import even
from videossr.question import Frames
from videossr.sample import VideoKey
from videossr.tasks.base import Video

CHANGE = 8
"""Levels in some channel by which a pixel must differ to count as painted."""


def read_clip(path: Path, size: tuple[int, int], frames: int = 48) -> Video | None:
    """`frames` frames at equal steps through the file, resized to (H, W); None when it has fewer."""
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    if len(decoded) < frames:
        return None
    picked = [decoded[k * len(decoded) // frames] for k in range(frames)]
    pixels = np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in picked])
    content = hashlib.sha256(path.name.encode()).hexdigest()
    return Video(VideoKey(content, content), even(frames, 500.0 * frames), pixels.astype(np.uint8))


def recount(before: Frames, after: Frames) -> list[Counter[str]]:
    """How many of each shape each slot shows, from the original and the rendered frames (T, H, W, 3)."""
    return [Counter(_name(blob) for blob in _blobs(a, b)) for a, b in zip(before, after, strict=True)]


def _blobs(before: Frames, after: Frames) -> list[np.ndarray]:
    changed = (cv2.absdiff(before, after).max(axis=2) > CHANGE).astype(np.uint8)
    if not changed.any():
        return []
    joined = cv2.morphologyEx(np.pad(changed, 4), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [contour for contour in contours if len(contour) > 8]


def _name(contour: np.ndarray) -> str:
    corner = contour.reshape(-1, 2).min(axis=0)
    shifted = contour - corner
    canvas = np.zeros(shifted.reshape(-1, 2).max(axis=0)[::-1] + 1, np.uint8)
    area = cv2.countNonZero(cv2.drawContours(canvas.copy(), [shifted], -1, 1, cv2.FILLED))
    hull = cv2.countNonZero(cv2.fillConvexPoly(canvas.copy(), cv2.convexHull(shifted), 1))
    _, radius = cv2.minEnclosingCircle(shifted)
    solid, round_ = area / hull, area / (np.pi * (radius + 0.5) ** 2)
    if solid < 0.86:
        return "star" if solid < 0.66 else "cross"
    return "circle" if round_ > 0.8 else "square" if round_ > 0.54 else "triangle"
