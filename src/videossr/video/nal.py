"""Parsers of H.264 and HEVC packets: whether a decode can start at one, and whether others refer to its picture.

Only fields that the standards fix are read: the types of the units, and a few fields of the parameter sets. For
anything unusual the parser returns None, and then the file is decoded from its start. `videossr.video.bitstream`
chooses the parser of a codec.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias


class PacketInfo(NamedTuple):
    """How a packet that shows exactly one picture depends on other packets.

    Attributes:
        start: every picture from here on can be decoded without earlier packets, except for leading pictures.
        leads: whether it may refer to pictures before the start that it follows, if it is shown before that start.
        layer: its temporal layer if nothing in the same layer or below refers to it; -1 where something may.
        top: its temporal layer.
    """

    start: bool
    leads: bool = False
    layer: int = -1
    top: int = 0


Reader: TypeAlias = Callable[[bytes], PacketInfo | None]
"""Parses the bytes of a packet; returns None where they break a rule on which decoding by groups of pictures rests."""

START = PacketInfo(start=True)
PLAIN = PacketInfo(start=False)


class _Bits:
    """Reads whole numbers from bytes, the most significant bit first. Raises IndexError behind the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, bits: int) -> int:
        """Read a number of so many bits."""
        value = 0
        for _ in range(bits):
            value = value << 1 | self._data[self._at >> 3] >> (7 - (self._at & 7)) & 1
            self._at += 1
        return value

    def golomb(self) -> int:
        """Read an unsigned Exp-Golomb code, whose leading zeros give its length."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _raw(unit: bytes) -> bytes:
    """Remove from a unit the bytes that keep start codes out of it."""
    return unit.replace(b"\0\0\3", b"\0\0")


_FILM_GRAIN = 19


def _grainy(unit: bytes, header: int) -> bool:
    """Return whether an SEI unit asks for film grain, whose random numbers depend on where the decode started."""
    messages = _raw(unit)
    at = header
    while at + 1 < len(messages):
        numbers = []
        for _ in range(2):  # the type of the message, then its size: as many 255s as fit, and the rest
            number = 0
            while at < len(messages) and messages[at] == 255:
                number += 255
                at += 1
            numbers.append(number + (messages[at] if at < len(messages) else 0))
            at += 1
        if numbers[0] == _FILM_GRAIN:
            return True
        at += numbers[1]
    return False


_H264_SLICE, _H264_IDR, _H264_SEI = 1, 5, 6
_H264_SETS = {7, 8}
_H264_ASIDE = {6, 9, 12}
"""SEI messages, delimiters and filling: no picture depends on them, film grain apart."""


def h264(extradata: bytes) -> Reader | None:
    """Make the parser of H.264 packets whose units have lengths.

    Only an IDR picture is a start, since a decode from a recovery point is not exact.

    Args:
        extradata: the ``avcC`` record of the stream.

    Returns:
        The parser; None where the record is damaged, allows field pictures, or replaces parameter sets.
    """
    try:
        width, sets = _avcc(extradata)
        whole = all(_h264_whole_frames(unit) for unit in sets if unit[0] & 31 == 7)
    except (IndexError, ValueError):
        return None
    if not whole or not _one_each(sets, [unit[0] & 31 for unit in sets], alone={7}, header=1):
        return None

    def read(data: bytes) -> PacketInfo | None:
        first = 0
        spare = True
        at = 0
        end = len(data)
        while at < end:
            start = at + width
            at = start + int.from_bytes(data[at:start], "big")
            if at > end or at <= start:
                return None
            kind = data[start] & 31
            if kind in (_H264_SLICE, _H264_IDR):
                first = first or kind
                if kind != first:
                    return None
                spare = spare and not data[start] & 0x60
            elif kind in _H264_SETS:
                if data[start:at] not in sets:
                    return None
                spare = False
            elif kind not in _H264_ASIDE or (kind == _H264_SEI and _grainy(data[start:at], header=1)):
                return None
        if not first:
            return None
        if first == _H264_IDR:
            return START
        return PacketInfo(start=False, layer=0) if spare else PLAIN

    return read


def _avcc(extradata: bytes) -> tuple[int, list[bytes]]:
    """Read an ``avcC`` record: bytes of a length, and the parameter sets. Raises IndexError or ValueError."""
    if extradata[0] != 1:
        raise ValueError("no avcC: the units have start codes")
    sets = []
    at = 5
    for mask in (31, 255):
        count = extradata[at] & mask
        at += 1
        for _ in range(count):
            length = int.from_bytes(extradata[at : at + 2], "big")
            sets.append(extradata[at + 2 : at + 2 + length])
            at += 2 + length
    if at > len(extradata) or not all(sets):
        raise ValueError("avcC is cut short")
    return (extradata[4] & 3) + 1, sets


def _h264_whole_frames(unit: bytes) -> bool:
    """Return whether a sequence parameter set excludes field pictures, of which a packet may hold one or two."""
    bits = _Bits(_raw(unit)[1:])
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    if profile in (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135):
        chroma = bits.golomb()
        if chroma == 3:
            bits.take(1)
        bits.golomb()
        bits.golomb()
        bits.take(1)
        if bits.take(1):
            _skip_scaling(bits, 12 if chroma == 3 else 8)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    bits.take(1)
    bits.golomb()
    bits.golomb()
    return bool(bits.take(1))


def _skip_scaling(bits: _Bits, lists: int) -> None:
    """Read past the scaling lists of a sequence parameter set."""
    for number in range(lists):
        if not bits.take(1):
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                code = bits.golomb()
                following = (last + (code + 1) // 2 * (1 if code % 2 else -1)) % 256
            last = following or last


def _one_each(sets: list[bytes], kinds: list[int], alone: set[int], header: int) -> bool:
    """Return whether no parameter set replaces another: one of each kind in `alone`, the others with distinct ids."""
    others = [
        (kind, _Bits(_raw(unit)[header:]).golomb()) for kind, unit in zip(kinds, sets, strict=True) if kind not in alone
    ]
    return all(kinds.count(kind) == 1 for kind in alone) and len(set(others)) == len(others)


_HEVC_SETS = {32, 33, 34}
_HEVC_SEI = {39, 40}
_HEVC_ASIDE = {35, 38, 62} | _HEVC_SEI
_HEVC_STARTS = {19, 20, 21}
"""IDR and CRA. BLA is left out: the decoder drops its leading pictures, so not every packet would show a picture."""

_HEVC_RASL = {8, 9}


def hevc(extradata: bytes) -> Reader | None:
    """Make the parser of HEVC packets whose units have lengths.

    IDR and CRA pictures are starts; RASL pictures need the group of pictures before theirs.

    Args:
        extradata: the ``hvcC`` record of the stream.

    Returns:
        The parser; None where the record is damaged or replaces parameter sets.
    """
    try:
        width, sets = _hvcc(extradata)
        kinds = [unit[0] >> 1 & 63 for unit in sets]
        fit = not set(kinds) - _HEVC_SETS and _one_each(sets, kinds, alone={32, 33}, header=2)
    except (IndexError, ValueError):
        return None
    if not fit:
        return None

    def read(data: bytes) -> PacketInfo | None:
        first = -1
        top = 0
        aside = True
        at = 0
        end = len(data)
        while at < end:
            start = at + width
            at = start + int.from_bytes(data[at:start], "big")
            if at > end or at <= start + 1:
                return None
            kind = data[start] >> 1 & 63
            if data[start] & 1 or data[start + 1] >> 3:
                return None  # a picture of another view or resolution
            if kind <= 9 or kind in _HEVC_STARTS:
                layer = (data[start + 1] & 7) - 1
                if first >= 0 and (kind, layer) != (first, top):
                    return None
                first, top = kind, layer
            elif kind in _HEVC_SETS:
                if data[start:at] not in sets:
                    return None
                aside = False
            elif kind not in _HEVC_ASIDE or (kind in _HEVC_SEI and _grainy(data[start:at], header=2)):
                return None
        if first < 0:
            return None
        if first in _HEVC_STARTS:
            return START
        return PacketInfo(False, first in _HEVC_RASL, top if aside and first % 2 == 0 else -1, top)

    return read


def _hvcc(extradata: bytes) -> tuple[int, list[bytes]]:
    """Read an ``hvcC`` record: bytes of a length, and the parameter sets. Raises IndexError or ValueError."""
    if extradata[0] != 1:
        raise ValueError("no hvcC: the units have start codes")
    sets = []
    at = 23
    for _ in range(extradata[22]):
        kind = extradata[at] & 63
        count = int.from_bytes(extradata[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            length = int.from_bytes(extradata[at : at + 2], "big")
            unit = extradata[at + 2 : at + 2 + length]
            if kind in _HEVC_SETS:
                sets.append(unit)
            elif _grainy(unit, header=2):
                raise ValueError("film grain for the whole stream")
            at += 2 + length
    if at > len(extradata) or not all(len(unit) > 2 for unit in sets):
        raise ValueError("hvcC is cut short")
    return (extradata[21] & 3) + 1, sets
