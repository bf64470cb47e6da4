"""The size of an encoded picture by its header, so that none is decoded which would fill the memory.

`videossr.dataset.published.frames` and `videossr.video.image_folder` ask before they decode a picture.
"""

from __future__ import annotations

import re

import simplejpeg

_PNM = re.compile(rb"P[1-6](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")
_HEADER = 4096
"""Bytes in which the header of a PNM is looked for; comments may lie in it."""


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Return (H, W) by the header of a JPEG, PNG, WebP, BMP or PNM; None for anything else.

    Raises:
        ValueError: it is a JPEG whose header is damaged.
    """
    if data.startswith(b"\xff\xd8"):
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        return int(height), int(width)
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
        return int.from_bytes(data[20:24]), int.from_bytes(data[16:20])
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith(b"BM") and len(data) > 26:
        if int.from_bytes(data[14:18], "little") == 12:  # the first version of the header
            return int.from_bytes(data[20:22], "little"), int.from_bytes(data[18:20], "little")
        width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (18, 22))
        return abs(height), abs(width)  # a negative height means that the rows go down
    if found := _PNM.match(data, 0, _HEADER):
        return int(found[2]), int(found[1])
    return None


def _webp(data: bytes) -> tuple[int, int] | None:
    """Return (H, W) of a WebP: of its canvas, or of its only picture."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
        return height, width
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits >> 14 & 0x3FFF), 1 + (bits & 0x3FFF)
    if kind == b"VP8 ":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return height, width
    return None
