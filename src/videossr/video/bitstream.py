"""What the bytes of one packet say of its picture, for every codec whose groups of pictures are understood.

A codec is read only as far as its standard makes it sure; whatever is unusual gives None, and then the file is decoded
from its start. Exercised by `videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

import re

from videossr.video.nal import PLAIN, START, PacketInfo, Reader, h264, hevc


def reader_of(codec: str, extradata: bytes | None) -> Reader | None:
    """How to read this codec's packets, or None where they are not understood well enough.

    Args:
        codec: ffmpeg's name of the codec, e.g. ``h264``.
        extradata: what the container stores once for the whole stream.
    """
    if codec == "h264":
        return h264(extradata or b"")
    if codec == "hevc":
        return hevc(extradata or b"")
    if codec == "mpeg4":
        return _mpeg4(extradata or b"")
    return {"vp8": _vp8, "vp9": _vp9, "av1": _av1, "mpeg2video": _mpeg2}.get(codec)


def _vp8(data: bytes) -> PacketInfo | None:
    """A key frame is a start, unless it goes by the segments of the frame before it. Hidden frames are not read."""
    if len(data) < 3 or not data[0] & 16:
        return None
    if data[0] & 1:
        return PLAIN
    if len(data) < 14:
        return None
    # The first bits behind the picture's size, each as likely 0 as 1 to the arithmetic coder (RFC 6386, 7.3 and 19.2).
    value, span, bits = int.from_bytes(data[10:14], "big"), 255, []
    for _ in range(4):
        split = 1 + (span - 1) // 2
        one = value >= split << 24
        value, span = (value - (split << 24), span - split) if one else (value, split)
        while span < 128:
            value, span = value << 1, span << 1
        bits.append(one)
    _, _, segments, mapped = bits
    return PLAIN if segments and not mapped else START


def _vp9(data: bytes) -> PacketInfo | None:
    """A packet is one frame, or several with an index at the end; exactly one of them must be shown."""
    frames = _vp9_frames(data)
    heads = [_vp9_head(frame) for frame in frames]
    shown = [head for head in heads if head is not None and head[1]]
    if None in heads or len(shown) != 1:
        return None
    return START if heads[0] == (True, heads[0] is not None and heads[0][1]) else PLAIN


def _vp9_frames(data: bytes) -> list[bytes]:
    marker = data[-1]
    count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
    size = 2 + count * width
    if marker & 0xE0 != 0xC0 or len(data) < size or data[-size] != marker:
        return [data]
    frames, at = [], 0
    for k in range(count):
        place = len(data) - size + 1 + k * width
        length = int.from_bytes(data[place : place + width], "little")
        frames.append(data[at : at + length])
        at += length
    return frames


def _vp9_head(frame: bytes) -> tuple[bool, bool] | None:
    """(a key frame, shown) from the first byte of a frame."""
    if not frame or frame[0] >> 6 != 2:
        return None
    head = f"{frame[0]:08b}{frame[1] if len(frame) > 1 else 0:08b}"[5 if frame[0] & 0x30 == 0x30 else 4 :]
    return (False, True) if head[0] == "1" else (head[1] == "0", head[2] == "1")


_AV1_SEQUENCE, _AV1_HEAD, _AV1_FRAME = 1, 3, 6


def _av1(data: bytes) -> PacketInfo | None:
    """A shown key frame right behind a sequence header is a start; exactly one frame of a packet must be shown."""
    first: bool | None = None
    sequence, shown = False, 0
    at = 0
    while at < len(data):
        head = data[at]
        kind, extended = head >> 3 & 15, head >> 2 & 1
        if not head & 2 or at + 2 + extended >= len(data) + 1 or (extended and data[at + 1] >> 3 & 3):
            return None  # no size of its own, or a picture of another resolution
        at += 1 + extended
        length = shift = 0
        while True:
            if at >= len(data) or shift > 28:
                return None
            length |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                break
        body = data[at : at + length]
        at += length
        if at > len(data):
            return None
        if kind == _AV1_SEQUENCE:
            if not body or body[0] >> 4 & 1:
                return None  # a still picture
            sequence = True
        elif kind in (_AV1_HEAD, _AV1_FRAME):
            if not body:
                return None
            again = body[0] >> 7
            visible = again or body[0] >> 4 & 1
            key = not again and body[0] >> 5 & 3 == 0
            shown += visible
            if first is None:
                first = bool(key and visible and sequence)
    if shown != 1:
        return None
    return START if first else PLAIN


_MPEG4_LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f].*?(?=\x00\x00\x01|\Z)", re.DOTALL)


def _mpeg4(extradata: bytes) -> Reader:
    """One I or P picture a packet. Pictures between two others and sprites carry too much from afar.

    The description of the layer must be the same wherever it is repeated.
    """
    layers = set(_MPEG4_LAYER.findall(extradata))

    def read(data: bytes) -> PacketInfo | None:
        place = data.find(b"\0\0\1\xb6")
        if place < 0 or data.find(b"\0\0\1\xb6", place + 4) >= 0 or len(data) - place < 16:
            return None  # a picture that is not coded takes a few bytes and gives no frame
        if not layers.issuperset(_MPEG4_LAYER.findall(data[:place])):
            return None
        return (START, PLAIN, None, None)[data[place + 4] >> 6]

    return read


def _mpeg2(data: bytes) -> PacketInfo | None:
    """One whole picture a packet, not two fields. An I picture behind a sequence header is a start."""
    place = data.find(b"\0\0\1\0")
    extension = data.find(b"\0\0\1\xb5", place)
    if place < 0 or data.find(b"\0\0\1\0", place + 4) >= 0 or not 0 <= extension <= len(data) - 9:
        return None
    if data[extension + 4] >> 4 != 8 or data[extension + 6] & 3 != 3:
        return None
    kind = data[place + 5] >> 3 & 7
    if kind == 1:
        return START if 0 <= data.find(b"\0\0\1\xb3") < place else PLAIN
    return PacketInfo(start=False, leads=kind == 3) if kind in (2, 3) else None
