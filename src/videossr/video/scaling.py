"""Scaling of frames with filters of OpenCV that give the same bytes on every machine.

Frame packs of a corpus, perturbations and pages scale pictures through this module.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.question import Frames

SLIGHT = 1.3
"""Up to this factor the bilinear filter shrinks pictures, since two pixels suffice; above it the slower area filter."""


def resize(frames: Frames, height: int, width: int) -> Frames:
    """Scale frames: with the area filter when shrinking, with the bilinear filter when enlarging.

    Args:
        frames: (T, H, W, 3) uint8.
        height: of the result in pixels.
        width: of the result in pixels.

    Returns:
        (T, height, width, 3) uint8; the frames themselves where they have that size.
    """
    if frames.shape[1:3] == (height, width):
        return frames
    shrinks = height <= frames.shape[1] and width <= frames.shape[2]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR_EXACT
    scaled = np.empty((len(frames), height, width, 3), np.uint8)
    for frame, target in zip(frames, scaled, strict=True):
        cv2.resize(frame, (width, height), dst=target, interpolation=interpolation)
    return scaled


def fill(frames: Frames, height: int, width: int) -> Frames:
    """Crop frames (T, H, W, 3) to the aspect of `height` x `width` around the middle, then scale them to that size."""
    top, left = _margins(frames.shape[1:3], (height, width), frames.shape[1:3])
    rows, columns = frames.shape[1:3]
    return resize(frames[:, top : rows - top, left : columns - left], height, width)


def fill_each(decoded: Iterable[NDArray[np.uint8]], frames: Frames, shape: tuple[int, int]) -> None:
    """Crop pictures to the aspect of `frames` around the middle, and scale the k-th into the k-th of `frames`.

    Args:
        decoded: T pictures (H, W, 4) uint8 of one size: red, green, blue and an unused byte.
        frames: (T, h, w, 3) uint8, which are written.
        shape: (H, W) that a picture would have with square pixels.
    """
    height, width = frames.shape[1:3]
    scaled = np.empty((height, width, 4), np.uint8)
    for picture, frame in zip(decoded, frames, strict=True):
        rows, columns = picture.shape[:2]
        top, left = _margins((rows, columns), (height, width), shape)
        part = picture[top : rows - top, left : columns - left]
        factors = part.shape[0] / height, part.shape[1] / width
        area = min(factors) >= 1 and max(factors) > SLIGHT
        interpolation = cv2.INTER_AREA if area else cv2.INTER_LINEAR_EXACT
        cv2.resize(part, (width, height), dst=scaled, interpolation=interpolation)
        cv2.cvtColor(scaled, cv2.COLOR_RGBA2RGB, dst=frame)


def _margins(size: tuple[int, ...], wanted: tuple[int, int], shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many of the `size` rows and columns to cut off at each end, to bring `shape` to the aspect `wanted`.

    The number is the same at both ends, so that the crop does not distinguish left from right or top from bottom.
    """
    aspect = wanted[0] * shape[1] / (wanted[1] * shape[0])
    top, left = (
        min(round(side * max(0.0, 1 - share) / 2), (side - 1) // 2)
        for side, share in zip(size, (aspect, 1 / aspect), strict=True)
    )
    return top, left
