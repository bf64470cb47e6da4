"""Encode frames as JPEGs and back, at full size or at a power-of-two part of it. `benchmarks/read.py` measures both.

libjpeg can leave out the high frequencies of each 8 x 8 block and so decode at 1/2, 1/4 or 1/8 of the size, which is
faster than decoding everything and shrinking it after. Its whole-number transforms give the same bytes with and without
vector instructions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from videossr.question import Frames
from videossr.storage import limits
from videossr.video.plan import SPARE

Chroma: TypeAlias = Literal["444", "422", "420"]

QUALITY = 85
"""Of frames that are stored larger than they are shown: as near to the source as 90 at the size that is shown."""

CHROMA: Chroma = "420"
"""Chroma at half the resolution of luma, as nearly all videos have it; see docs/results/traces.md."""

PARTS = (8, 4, 2)
"""Divisors of a side at which a JPEG can be decoded."""


class JPEGError(ValueError):
    """A JPEG that cannot be decoded; `number` is its place among those that were asked for."""

    def __init__(self, number: int, why: str) -> None:
        super().__init__(number, why)
        self.number = number
        self.why = why


def encode(frames: Frames, quality: int = QUALITY, chroma: Chroma = CHROMA) -> list[bytes]:
    """Encode each frame of (T, H, W, 3) as a JPEG of that quality (1..100) and chroma sampling."""
    return [simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality, "RGB", chroma) for frame in frames]


def reduced(size: tuple[int, int], least: tuple[int, int] | None) -> tuple[int, int]:
    """Return the smallest (H, W) that frames of `size` can be decoded at, its sides at least `SPARE` those of `least`.

    A function of its arguments alone: whoever decodes for the same purpose gets the same pixels. `size` itself where
    `least` is None, or no part of it is large enough.
    """
    height, width = size
    for part in PARTS if least else ():
        decoded = -(-height // part), -(-width // part)
        if least and decoded[0] >= SPARE * least[0] and decoded[1] >= SPARE * least[1]:
            return decoded
    return size


def decode(
    jpegs: Sequence[bytes | memoryview], size: tuple[int, int], least: tuple[int, int] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of JPEGs that are all of `size`, decoded at `reduced(size, least)`.

    Each is (H, W, 4): red, green, blue, and a byte without meaning, because libjpeg writes four bytes faster than
    three. It is overwritten by the next one.

    Raises JPEGError for the first that is damaged or of another size, which its header tells before it is decoded.
    """
    if excess := limits.picture_excess(*size):
        raise JPEGError(0, excess)
    height, width = reduced(size, least)
    frame = np.empty((height, width, 4), np.uint8)
    for number, jpeg in enumerate(jpegs):
        try:
            shape = simplejpeg.decode_jpeg_header(jpeg)[:2]
            if shape != size:
                raise JPEGError(number, f"its size is {shape}, not {size}")
            made = simplejpeg.decode_jpeg(jpeg, "RGBX", min_height=height, min_width=width, buffer=frame)
        except JPEGError:
            raise
        except ValueError as error:
            raise JPEGError(number, str(error)) from error
        if made.shape != frame.shape:
            raise JPEGError(number, f"its size is {made.shape[:2]}, not {frame.shape[:2]}")
        yield frame
