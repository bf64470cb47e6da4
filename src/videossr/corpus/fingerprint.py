"""Describe what a frame shows, so that the same footage is recognised after re-encoding, scaling, bars or cropping.

A fingerprint holds the lowest spatial frequencies of the gray picture inside its bars. `videossr.corpus.duplicates`
compares them. Exercised by `videossr index`, which stores one for each frame.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.errors import DataError
from videossr.question import Frames

WAVES = 10
"""Frequencies of a fingerprint down and across: waves of 0 to 4.5 periods a picture."""

Fingerprints: TypeAlias = NDArray[np.int8]
"""(T, WAVES, WAVES) int8; a frame of zeros, which is flat or text alone, says nothing."""

Packed: TypeAlias = bytes
"""Fingerprints as they are stored with a video; `unpack` reads them."""

Box: TypeAlias = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""

_FLAT = 3.0
"""Standard deviation of the low frequencies, in levels of 255, below which a frame has nothing to compare."""

_COARSE = 0.3
"""Share of the variance of a picture that its low frequencies hold at the least; those of any line of text look alike.

Pictures hold 0.37 and more, one to four lines of text on one color 0.24 at most.
"""

_LEVELS = 4
"""Levels of gray by which a bar of one color may vary."""

_BAR = 0.9
"""Share of the pixels of a line that have the color of the bar, if it belongs to a bar."""

_TEXT = 0.3
"""Share of the pixels of a line that have the color of the bar, if it crosses text inside a bar."""

_GAP = 0.15
"""Part of a side that such text may take."""

_LEAST = 0.1
"""Part of a side that must be left between bars; else they are taken for content."""


class Fingerprinter:
    """Fingerprint the frames of one video, which are given in their order.

    Bars are what had one color in all frames so far. One frame with content at the edges is enough to tell dark scenes
    from bars.
    """

    def __init__(self) -> None:
        self._box: Box | None = None

    def __call__(self, frame: NDArray[np.uint8]) -> Fingerprints:
        """Return the fingerprint (WAVES, WAVES) of an RGB frame (H, W, 3) of at least 32 x 32 pixels."""
        gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), np.uint8)
        whole = 0, gray.shape[0], 0, gray.shape[1]
        self._box = self._box if self._box == whole else _union(self._box, _content(gray))
        top, bottom, left, right = self._box or whole
        if bottom - top < max(_LEAST * whole[1], WAVES) or right - left < max(_LEAST * whole[3], WAVES):
            top, bottom, left, right = whole
        return _describe(gray[top:bottom, left:right])


def fingerprint(frames: Frames) -> Fingerprints:
    """Return the fingerprints (T, WAVES, WAVES) of all frames (T, H, W, 3) of one video."""
    of = Fingerprinter()
    return np.stack([of(frame) for frame in frames])


def frequency() -> NDArray[np.float64]:
    """Return the distance (WAVES, WAVES) of each frequency from zero, 1 for zero itself.

    The waves of natural pictures get weaker in proportion to it. A fingerprint is multiplied by it, so that all its
    numbers are of like size.
    """
    down, across = np.mgrid[:WAVES, :WAVES]
    distance: NDArray[np.float64] = np.maximum(np.hypot(down, across), 1.0)
    return distance


@cache
def _basis(size: int) -> NDArray[np.float64]:
    """Return the cosine waves (WAVES, size), as whole numbers: their products with pixels are exact everywhere."""
    waves = np.cos(np.pi * np.outer(np.arange(WAVES), 2 * np.arange(size) + 1) / (2 * size))
    return np.asarray(np.rint(1024 * waves), np.float64)


def _describe(gray: NDArray[np.uint8]) -> Fingerprints:
    height, width = gray.shape
    waves = _basis(height) @ gray.astype(np.float64) @ _basis(width).T / (1024 * 1024 * height * width)
    waves[1:] *= 2**0.5
    waves[:, 1:] *= 2**0.5
    waves[0, 0] = 0
    energy = (waves**2).sum()
    if energy < max(_FLAT**2, _COARSE * gray.var()):
        return np.zeros((WAVES, WAVES), np.int8)
    waves *= frequency()
    return np.asarray(np.rint(127 / np.sqrt((waves**2).sum()) * waves), np.int8)


def _content(gray: NDArray[np.uint8]) -> Box | None:
    """Return the part of a picture inside its bars; None where all of it is bars."""
    height, width = gray.shape
    top, below = _margin(gray), _margin(gray[::-1])
    if top + below >= height:
        return None
    columns = gray[top : height - below].T
    left, beside = _margin(columns), _margin(columns[::-1])
    if left + beside >= width:
        return None
    return top, height - below, left, width - beside


def _margin(lines: NDArray[np.uint8]) -> int:
    """Count the lines of pixels, from the first one on, that belong to a bar; text inside it may interrupt it."""
    color = int(np.median(lines[0]))
    if _like(lines[:1], color)[0] < _BAR:
        return 0
    like = _like(lines, color)
    ends = np.flatnonzero(like < _TEXT)
    bar = np.flatnonzero(like[: ends[0] if len(ends) else None] >= _BAR)
    gaps = np.flatnonzero(np.diff(bar) > _GAP * len(lines))
    return int(bar[gaps[0] if len(gaps) else -1]) + 1


def _like(lines: NDArray[np.uint8], color: int) -> NDArray[np.float64]:
    """Return the share of the pixels of each line that have a color."""
    share: NDArray[np.float64] = (np.abs(lines.astype(np.int16) - color) <= _LEVELS).mean(axis=1)
    return share


def _union(one: Box | None, other: Box | None) -> Box | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), max(one[3], other[3])


def unpack(data: Packed) -> Fingerprints:
    """Return the fingerprints (T, WAVES, WAVES) that are stored with a video.

    Raises ValueError where they are of an older version.
    """
    if not isinstance(data, bytes) or len(data) % (WAVES * WAVES):
        raise DataError("the fingerprints of its videos are of an older version of videossr: build it again")
    return np.frombuffer(data, np.int8).reshape(-1, WAVES, WAVES)
