"""Hidden edges of the picture that a container declares: the clean aperture of mp4 and mov, the crop of Matroska.

PyAV exposes neither, so `videossr.video.decoding` reads them here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, TypeAlias

from av.container import InputContainer
from av.video.stream import VideoStream

from videossr.video.remote import Remote, Source

Edges: TypeAlias = tuple[int, int, int, int]
"""Pixels of the decoded picture that are not shown, at its left, top, right and bottom edge."""

WHOLE: Edges = (0, 0, 0, 0)

_Part: TypeAlias = tuple[int, int, int]
"""A box of mp4 or an element of Matroska: its kind, and where its content starts and ends."""

BinaryFile: TypeAlias = BinaryIO | Remote

_SEGMENT = 0x18538067
_CLUSTER = 0x1F43B675
_TRACKS = 0x1654AE6B
_TRACK = 0xAE
_TRACK_TYPE = 0x83
_VIDEO = 0xE0
_CROPS = (0x54CC, 0x54BB, 0x54DD, 0x54AA)
"""Matroska's elements for the pixels that are hidden at the left, top, right and bottom."""

_VISUAL = 78
"""Bytes of a visual sample entry of mp4 before the boxes in it."""


def crop_of(source: Source, container: InputContainer, stream: VideoStream, size: tuple[int, int]) -> Edges:
    """Read the hidden edges of the pictures of one stream.

    Args:
        source: the video. The position of a remote file is left as it was.
        container: the same video, open.
        stream: of the container.
        size: (width, height) of the decoded picture in its own pixels.

    Returns:
        The hidden pixels; `WHOLE` where the container declares none, or more than the picture has.
    """
    formats = container.format.name.split(",")
    with opened(source) as (file, end):
        if "mp4" in formats:
            edges = _clean_aperture(file, end, stream.id, size)
        elif "matroska" in formats:
            number = [video.index for video in container.streams.video].index(stream.index)
            edges = _pixel_crop(file, end, number)
        else:
            return WHOLE
    left, top, right, bottom = edges
    return edges if min(edges) >= 0 and left + right < size[0] and top + bottom < size[1] else WHOLE


@contextmanager
def opened(source: Source) -> Iterator[tuple[BinaryFile, int]]:
    """Open a source and yield it with its size in bytes."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            yield file, file.seek(0, 2)
        return
    before = source.tell()
    try:
        yield source, source.seek(0, 2)
    finally:
        source.seek(before)


def read_at(file: BinaryFile, start: int, size: int) -> bytes:
    """Read up to `size` bytes from a position on."""
    file.seek(start)
    return file.read(size)


def _clean_aperture(file: BinaryFile, end: int, track: int, size: tuple[int, int]) -> Edges:
    """Read the hidden edges from the first sample entry of the track that has this id."""
    for _, start, stop in boxes(file, 0, end, b"moov", b"trak"):
        if track not in (_track_id(file, header) for _, header, _ in boxes(file, start, stop, b"tkhd")):
            continue
        for _, first, last in boxes(file, start, stop, b"mdia", b"minf", b"stbl", b"stsd"):
            for _, entry, entry_end in boxes(file, first + 8, last):
                for _, box, box_end in boxes(file, entry + _VISUAL, entry_end, b"clap"):
                    return _edges(read_at(file, box, min(32, box_end - box)), size)
                return WHOLE
    return WHOLE


def _track_id(file: BinaryFile, header: int) -> int:
    version = read_at(file, header, 1)
    (track,) = struct.unpack(">I", read_at(file, header + (20 if version == b"\1" else 12), 4).rjust(4, b"\0"))
    return int(track)


def _edges(clap: bytes, size: tuple[int, int]) -> Edges:
    """Read the hidden edges from a `clap` box, which has width, height and offset of the middle as fractions."""
    if len(clap) < 32:
        return WHOLE
    numbers = struct.unpack(">IIIIiIiI", clap)
    if 0 in numbers[1::2] or 0 in numbers[0:4:2]:
        return WHOLE
    wide, high, across, down = (Fraction(n, d) for n, d in zip(numbers[::2], numbers[1::2], strict=True))
    left = int((size[0] - wide) / 2 + across)
    top = int((size[1] - high) / 2 + down)
    return left, top, size[0] - left - int(wide), size[1] - top - int(high)


def boxes(file: BinaryFile, start: int, end: int, *path: bytes) -> Iterator[_Part]:
    """Yield the boxes of mp4 at the end of a path of kinds; without a path, all boxes from `start` to `end`."""
    while start + 8 <= end:
        header = read_at(file, start, 16)
        if len(header) < 8:
            return
        size = int.from_bytes(header[:4])
        head = 8
        if size == 1:
            size = int.from_bytes(header[8:])
            head = 16
        stop = end if size == 0 else min(end, start + size)
        if stop < start + head:
            return
        if not path or header[4:8] == path[0]:
            if len(path) > 1:
                yield from boxes(file, start + head, stop, *path[1:])
            else:
                yield int.from_bytes(header[4:8]), start + head, stop
        start = stop


def _pixel_crop(file: BinaryFile, end: int, number: int) -> Edges:
    """Read the hidden edges from the video track of this number in a Matroska file."""
    videos = []
    for _, start, stop in _elements(file, 0, end, _SEGMENT, _TRACKS, _TRACK):
        kinds = [_integer(file, *span) for _, *span in _elements(file, start, stop, _TRACK_TYPE)]
        if kinds == [1]:
            videos.append((start, stop))
    if number >= len(videos):
        return WHOLE
    settings = {kind: _integer(file, *span) for kind, *span in _elements(file, *videos[number], _VIDEO, None)}
    left, top, right, bottom = (settings.get(kind, 0) for kind in _CROPS)
    return left, top, right, bottom


def _integer(file: BinaryFile, start: int, stop: int) -> int:
    return int.from_bytes(read_at(file, start, min(8, stop - start)))


def _elements(file: BinaryFile, start: int, end: int, *path: int | None) -> Iterator[_Part]:
    """Yield the elements of Matroska at the end of a path of kinds, up to the first cluster; None is any kind."""
    while start < end:
        kind, head = _number(read_at(file, start, 4), marked=True)
        size, more = _number(read_at(file, start + head, 8), marked=False)
        if not head or not more or kind == _CLUSTER:
            return
        content = start + head + more
        stop = end if size == (1 << 7 * more) - 1 else min(end, content + size)  # all ones: up to the end
        if path[0] in (None, kind):
            if len(path) > 1:
                yield from _elements(file, content, stop, *path[1:])
            else:
                yield kind, content, stop
        start = stop


def _number(data: bytes, *, marked: bool) -> tuple[int, int]:
    """Read a number of EBML and its length in bytes, 0 without one. An id (`marked`) keeps its length marker."""
    length = 9 - data[0].bit_length() if data else 9
    if length > len(data):
        return 0, 0
    value = int.from_bytes(data[:length])
    return (value if marked else value & ((1 << 7 * length) - 1)), length
