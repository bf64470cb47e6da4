"""Frames as JPEGs and back, at full size or at a power-of-two part of it. `speed/read.py` measures both.

libjpeg can leave out the high frequencies of each 8 x 8 block and so decode at 1/2, 1/4 or 1/8 of the size, which is
faster than decoding everything and shrinking it after. Its whole-number transforms give the same bytes with and without
vector instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import simplejpeg

from videossr.question import Frames

Chroma: TypeAlias = Literal["444", "422", "420"]

QUALITY = 90
CHROMA: Chroma = "444"
"""Measured by speed/jpeg.py, see docs/results/index.md: at equal bytes 4:4:4 is nearer to the frame than 4:2:0."""

PARTS = (8, 4, 2, 1)
"""What one side may be divided by."""


class JPEGError(ValueError):
    """A JPEG that cannot be decoded; `number` is its place among those that were asked for."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(number, why)
        self.number = number
        self.why = why


def encode(frames: Frames, quality: int = QUALITY, chroma: Chroma = CHROMA) -> list[bytes]:
    """Each frame of (T, H, W, 3) as a JPEG of that quality (1..100) and chroma sampling."""
    return [simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality, "RGB", chroma) for frame in frames]


def reduced(size: tuple[int, int], least: tuple[int, int] | None) -> tuple[int, int]:
    """The smallest (H, W) that frames of `size` can be decoded at with both sides no shorter than those of `least`.

    A function of its arguments alone: whoever decodes for the same purpose gets the same pixels. `size` itself where
    `least` is None or not smaller.
    """
    height, width = size
    for part in PARTS if least else ():
        decoded = -(-height // part), -(-width // part)
        if least and decoded[0] >= least[0] and decoded[1] >= least[1]:
            return decoded
    return size


def decode(jpegs: Sequence[bytes | memoryview], size: tuple[int, int], least: tuple[int, int] | None = None) -> Frames:
    """Frames (T, H, W, 3) of JPEGs that are all of `size`, decoded at `reduced(size, least)`.

    Raises JPEGError for the first that is damaged or of another size.
    """
    height, width = reduced(size, least)
    frames = np.empty((len(jpegs), height, width, 3), np.uint8)
    for number, (jpeg, frame) in enumerate(zip(jpegs, frames, strict=True)):
        try:
            made = simplejpeg.decode_jpeg(jpeg, "RGB", min_height=height, min_width=width, buffer=frame)
        except ValueError as error:
            raise JPEGError(number, str(error)) from error
        if made.shape != frame.shape:
            raise JPEGError(number, f"its size is {made.shape[:2]}, not {frame.shape[:2]}")
    return frames
