"""Parsers of single packets: whether a decode can start at one, and whether other pictures refer to its picture.

A codec is read only as far as its standard is unambiguous; for anything unusual the parser returns None, and then the
file is decoded from its start. `videossr.video.container` calls them for every packet of a stream.
"""

from __future__ import annotations

import re

from videossr.video.nal import PLAIN, START, PacketInfo, Reader, h264, hevc


def reader_of(codec: str, extradata: bytes | None) -> Reader | None:
    """Choose the parser of a codec's packets.

    Args:
        codec: ffmpeg's name of the codec, e.g. ``h264``.
        extradata: the data that the container stores once for the whole stream.

    Returns:
        A parser, or None where the codec or its extradata is not understood well enough.
    """
    if codec == "h264":
        return h264(extradata or b"")
    if codec == "hevc":
        return hevc(extradata or b"")
    if codec == "mpeg4":
        return _mpeg4(extradata or b"")
    return {"vp8": _vp8, "vp9": _vp9, "av1": _av1, "mpeg2video": _mpeg2}.get(codec)


def _vp8(data: bytes) -> PacketInfo | None:
    """Parse a packet of VP8: a key frame is a start unless it uses the segments of the frame before it.

    Hidden frames are not understood.
    """
    if len(data) < 3 or not data[0] & 16:
        return None
    if data[0] & 1:
        return PLAIN
    if len(data) < 14:
        return None
    # The first bits behind the picture's size, each as likely 0 as 1 to the arithmetic coder (RFC 6386, 7.3 and 19.2).
    value = int.from_bytes(data[10:14], "big")
    span = 255
    bits = []
    for _ in range(4):
        split = 1 + (span - 1) // 2
        bit = value >= split << 24
        value, span = (value - (split << 24), span - split) if bit else (value, split)
        while span < 128:
            value <<= 1
            span <<= 1
        bits.append(bit)
    _, _, segments, mapped = bits
    return PLAIN if segments and not mapped else START


def _vp9(data: bytes) -> PacketInfo | None:
    """Parse a packet of VP9: one frame, or several with an index at the end, of which exactly one is shown."""
    frames = _vp9_frames(data)
    heads = [_vp9_head(frame) for frame in frames]
    shown = [head for head in heads if head is not None and head[1]]
    if None in heads or len(shown) != 1:
        return None
    return START if heads[0] == (True, heads[0] is not None and heads[0][1]) else PLAIN


def _vp9_frames(data: bytes) -> list[bytes]:
    """Split a packet into its frames by the index at its end."""
    marker = data[-1]
    count = (marker & 7) + 1
    width = (marker >> 3 & 3) + 1
    size = 2 + count * width
    if marker & 0xE0 != 0xC0 or len(data) < size or data[-size] != marker:
        return [data]
    frames = []
    at = 0
    for k in range(count):
        entry = len(data) - size + 1 + k * width
        length = int.from_bytes(data[entry : entry + width], "little")
        frames.append(data[at : at + length])
        at += length
    return frames


def _vp9_head(frame: bytes) -> tuple[bool, bool] | None:
    """Read from the first bytes of a frame whether it is a key frame and whether it is shown."""
    if not frame or frame[0] >> 6 != 2:
        return None
    head = f"{frame[0]:08b}{frame[1] if len(frame) > 1 else 0:08b}"[5 if frame[0] & 0x30 == 0x30 else 4 :]
    return (False, True) if head[0] == "1" else (head[1] == "0", head[2] == "1")


_AV1_SEQUENCE, _AV1_HEAD, _AV1_FRAME = 1, 3, 6


def _av1(data: bytes) -> PacketInfo | None:
    """Parse a packet of AV1, of which exactly one frame is shown: a key frame behind a sequence header is a start."""
    first: bool | None = None
    sequence = False
    shown = 0
    at = 0
    while at < len(data):
        head = data[at]
        kind = head >> 3 & 15
        extended = head >> 2 & 1
        if not head & 2 or at + 2 + extended >= len(data) + 1 or (extended and data[at + 1] >> 3 & 3):
            return None  # no size of its own, or a picture of another resolution
        at += 1 + extended
        length = 0
        shift = 0
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
            repeated = body[0] >> 7  # an earlier frame is shown again
            visible = repeated or body[0] >> 4 & 1
            key = not repeated and body[0] >> 5 & 3 == 0
            shown += visible
            if first is None:
                first = bool(key and visible and sequence)
    if shown != 1:
        return None
    return START if first else PLAIN


_MPEG4_LAYER = re.compile(rb"\x00\x00\x01[\x20-\x2f].*?(?=\x00\x00\x01|\Z)", re.DOTALL)


def _mpeg4(extradata: bytes) -> Reader:
    """Make the parser of MPEG-4 Part 2, for packets of one I or P picture.

    B pictures and sprites depend on pictures too far away. The description of the layer must be the same wherever it
    is repeated.
    """
    layers = set(_MPEG4_LAYER.findall(extradata))

    def read(data: bytes) -> PacketInfo | None:
        picture = data.find(b"\0\0\1\xb6")
        if picture < 0 or data.find(b"\0\0\1\xb6", picture + 4) >= 0 or len(data) - picture < 16:
            return None  # a picture that is not coded takes a few bytes and gives no frame
        if not layers.issuperset(_MPEG4_LAYER.findall(data[:picture])):
            return None
        return (START, PLAIN, None, None)[data[picture + 4] >> 6]

    return read


def _mpeg2(data: bytes) -> PacketInfo | None:
    """Parse a packet of MPEG-2, of one whole picture and not two fields: an I picture behind a header is a start."""
    picture = data.find(b"\0\0\1\0")
    extension = data.find(b"\0\0\1\xb5", picture)
    if picture < 0 or data.find(b"\0\0\1\0", picture + 4) >= 0 or not 0 <= extension <= len(data) - 9:
        return None
    if data[extension + 4] >> 4 != 8 or data[extension + 6] & 3 != 3:
        return None
    kind = data[picture + 5] >> 3 & 7
    if kind == 1:
        return START if 0 <= data.find(b"\0\0\1\xb3") < picture else PLAIN
    return PacketInfo(start=False, leads=kind == 3) if kind in (2, 3) else None
