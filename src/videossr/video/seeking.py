"""Decode only the groups of pictures that hold wanted frames, and make sure that each wanted frame was had.

Every packet that is read is recognized by its time, place and size, so that a seek is never trusted. Whatever is not
as the first pass found it breaks the promise. Exercised by `videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from videossr.video.container import PacketParser, PacketTag, packet_parser, packets_of
from videossr.video.full_scan import Log
from videossr.video.gop import Group, Packets

_NEAR = 8
"""Packets that are read and left rather than sought past."""

_TRIES = 5
"""Seeks to one start, each aimed at an earlier one, before the file counts as one that cannot be sought in."""


class TimelineMismatchError(Exception):
    """A decode did not give the frames that were expected of it."""


def frames_by_groups(
    container: InputContainer, stream: VideoStream, packets: Packets, wanted: Sequence[int], log: Log
) -> Iterator[VideoFrame]:
    """The frames of the packets `wanted`, which are in the order of their times.

    That every start is one is confirmed by its bytes once more: an outline does not know it.

    Raises PromiseBrokenError where the decoder complains, or gives another frame or another time than expected.
    """
    missing = list(reversed(wanted))
    open_ones = set(wanted)
    cursor = _Cursor(container, stream, packets)
    look_at = packet_parser(stream)
    for group in _primed(packets, packets.groups(wanted)):
        before: int | None = None
        for number, frame in _decoded(cursor, stream, group, look_at, log):
            now = packets.rows[number].time
            if frame.pts != now or (before is not None and now <= before):
                raise TimelineMismatchError
            if number == group.start and not frame.key_frame:
                raise TimelineMismatchError
            before = now
            if number not in open_ones:
                continue
            if number != missing.pop():
                raise TimelineMismatchError
            yield frame
            if not missing:
                return
    raise TimelineMismatchError


def _primed(packets: Packets, groups: list[Group]) -> list[Group]:
    """With the very first packet in front, where the encoder may have put what ffmpeg heeds to the end.

    Such are its name and version, by which known faults of old encoders are worked around.
    """
    first = Group(0, 0, frozenset())
    return [first, *groups] if groups[0].start and packets.needs[0] == 0 else groups


def _decoded(
    cursor: _Cursor, stream: VideoStream, group: Group, look_at: PacketParser, log: Log
) -> Iterator[tuple[int, VideoFrame]]:
    """Every frame of a group with the number of its packet. The decoder is fresh before and after."""

    def step(packet: Packet[VideoStream] | None) -> Iterator[tuple[int, VideoFrame]]:
        lines = len(log)
        try:
            frames = stream.decode(packet)
        except FFmpegError as error:
            raise TimelineMismatchError from error
        if len(log) > lines:
            raise TimelineMismatchError
        for frame in frames:
            if frame.is_corrupt or not isinstance(frame.opaque, PacketTag):
                raise TimelineMismatchError
            yield frame.opaque.number, frame

    for number, packet in cursor.walk(group.start, group.last):
        if number in group.skipped:
            continue
        if number == group.start:
            look = look_at(packet)
            if look is None or not look.start:
                raise TimelineMismatchError
        packet.opaque = PacketTag(number)
        yield from step(packet)
    yield from step(None)
    stream.codec_context.flush_buffers()


class _Cursor:
    """Where in the file the demuxer stands, by the number of the packet that comes next."""

    def __init__(self, container: InputContainer, stream: VideoStream, packets: Packets) -> None:
        self._container, self._stream, self._rows = container, stream, packets.rows
        self._starts = sorted({start for start in packets.needs if start >= 0})
        self._numbers = {(row.time, row.place, row.size): number for number, row in enumerate(packets.rows)}
        self._packets: Iterator[Packet[VideoStream]] = iter(())
        self._next: int | None = None

    def walk(self, first: int, last: int) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """The packets `first` to `last`, both inclusive."""
        pending = None
        if self._next is None or not 0 <= first - self._next <= _NEAR:
            pending = self._seek(first)
        while self._next is not None and self._next <= last:
            packet = pending or next(self._packets, None)
            pending = None
            if packet is None or packet.is_corrupt or self._number(packet) != self._next:
                raise TimelineMismatchError
            self._next += 1
            if self._next > first:
                yield self._next - 1, packet

    def _seek(self, first: int) -> Packet[VideoStream]:
        """Stand at `first` or before it; returns the packet that was read to learn that."""
        place = bisect.bisect_left(self._starts, first)
        aims = [self._starts[k] for k in range(place, max(-1, place - _TRIES + 1), -1)]
        for aim in [*aims, 0]:
            try:
                self._container.seek(self._rows[aim].time, stream=self._stream)
            except FFmpegError:
                continue
            self._packets = packets_of(self._container, self._stream)
            packet = next(self._packets, None)
            self._next = None if packet is None else self._number(packet)
            if packet is not None and self._next is not None and self._next <= first:
                return packet
        raise TimelineMismatchError

    def _number(self, packet: Packet[VideoStream]) -> int | None:
        if packet.pts is None or packet.pos is None:
            return None
        return self._numbers.get((packet.pts, packet.pos, packet.size))
