"""Scale frames, with filters of OpenCV that give the same bytes on every machine.

Exercised by `videossr build smoke --corpus CORPUS --out DATASET`.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.question import Frames

SLIGHT = 1.3
"""Up to this factor the bilinear filter shrinks, of which two pixels are enough; beyond it the slower area filter."""


def resize(frames: Frames, height: int, width: int) -> Frames:
    """Scale frames (T, H, W, 3) to `height` x `width`: area filter when shrinking, bilinear when enlarging."""
    if frames.shape[1:3] == (height, width):
        return frames
    shrinks = height <= frames.shape[1] and width <= frames.shape[2]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR_EXACT
    scaled = np.empty((len(frames), height, width, 3), np.uint8)
    for frame, target in zip(frames, scaled, strict=True):
        cv2.resize(frame, (width, height), dst=target, interpolation=how)
    return scaled


def fill(frames: Frames, height: int, width: int) -> Frames:
    """Cut frames (T, H, W, 3) to the aspect of `height` x `width` around the middle, then scale them."""
    top, left = _margins(frames.shape[1:3], (height, width), frames.shape[1:3])
    rows, columns = frames.shape[1:3]
    return resize(frames[:, top : rows - top, left : columns - left], height, width)


def fill_each(decoded: Iterable[NDArray[np.uint8]], frames: Frames, shape: tuple[int, int]) -> None:
    """Cut pictures to the aspect of `frames` around the middle, then scale each into the next of `frames`.

    Args:
        decoded: pictures (H, W, 4) of one size: red, green, blue and a byte without meaning.
        frames: (T, h, w, 3), as many, which are written.
        shape: (H, W) that a picture would have with square pixels.
    """
    height, width = frames.shape[1:3]
    scaled = np.empty((height, width, 4), np.uint8)
    for picture, frame in zip(decoded, frames, strict=True):
        rows, columns = picture.shape[:2]
        top, left = _margins((rows, columns), (height, width), shape)
        part = picture[top : rows - top, left : columns - left]
        factors = part.shape[0] / height, part.shape[1] / width
        how = cv2.INTER_AREA if min(factors) >= 1 and max(factors) > SLIGHT else cv2.INTER_LINEAR_EXACT
        cv2.resize(part, (width, height), dst=scaled, interpolation=how)
        cv2.cvtColor(scaled, cv2.COLOR_RGBA2RGB, dst=frame)


def _margins(size: tuple[int, ...], wanted: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many of the `size` rows and columns to cut off at each end, to bring `shape` to the aspect `wanted`.

    The same number at both ends, so that what is cut off tells neither left from right nor top from bottom.
    """
    aspect = wanted[0] * shape[1] / (wanted[1] * shape[0])
    top, left = (
        min(round(side * max(0.0, 1 - share) / 2), (side - 1) // 2)
        for side, share in zip(size, (aspect, 1 / aspect), strict=True)
    )
    return top, left
