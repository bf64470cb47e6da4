"""Decode only the groups of pictures that hold wanted frames, and verify every packet and frame on the way.

Every packet that is read is recognized by its time, position and size, so a seek is never trusted. A packet or frame
that differs from the declared timeline ends the decode with a `TimelineMismatchError`; `videossr.video.decoding` then
decodes in another way.
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
"""Up to so many packets are read and left out rather than skipped by a seek."""

_TRIES = 5
"""Seeks to one start, each aimed at an earlier one, before the file counts as not seekable."""


class TimelineMismatchError(Exception):
    """A decode did not give the frames that were expected of it."""


def frames_by_groups(
    container: InputContainer, stream: VideoStream, packets: Packets, wanted: Sequence[int], log: Log
) -> Iterator[VideoFrame]:
    """Decode the frames of some packets by seeking to their groups of pictures.

    Every start is confirmed by its bytes once more, because a timeline that was read from an index alone does not know
    it.

    Args:
        container: the open file.
        stream: its video stream.
        packets: all packets of the stream.
        wanted: numbers of packets in decode order, sorted by the times of their frames.
        log: receives ffmpeg's error messages, as `videossr.video.decoding.quiet` collects them.

    Yields:
        The frame of each wanted packet, in the order of `wanted`.

    Raises:
        TimelineMismatchError: the decoder reports an error, or returns another frame or time than expected.
    """
    missing = list(reversed(wanted))
    wanted_numbers = set(wanted)
    cursor = _Cursor(container, stream, packets)
    parse = packet_parser(stream)
    for group in _primed(packets, packets.groups(wanted)):
        before: int | None = None
        for number, frame in _decoded(cursor, stream, group, parse, log):
            now = packets.rows[number].time
            if frame.pts != now or (before is not None and now <= before):
                raise TimelineMismatchError
            if number == group.start and not frame.key_frame:
                raise TimelineMismatchError
            before = now
            if number not in wanted_numbers:
                continue
            if number != missing.pop():
                raise TimelineMismatchError
            yield frame
            if not missing:
                return
    raise TimelineMismatchError


def _primed(packets: Packets, groups: list[Group]) -> list[Group]:
    """Put the very first packet in front of the groups.

    An encoder writes its name and version there, by which ffmpeg works around known faults of old encoders.
    """
    first = Group(0, 0, frozenset())
    return [first, *groups] if groups[0].start and packets.needs[0] == 0 else groups


def _decoded(
    cursor: _Cursor, stream: VideoStream, group: Group, parse: PacketParser, log: Log
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield every frame of a group with the number of its packet. The decoder is reset before and after."""

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
            info = parse(packet)
            if info is None or not info.start:
                raise TimelineMismatchError
        packet.opaque = PacketTag(number)
        yield from step(packet)
    yield from step(None)
    stream.codec_context.flush_buffers()


class _Cursor:
    """The position of the demuxer in the file, as the number of the packet that comes next."""

    def __init__(self, container: InputContainer, stream: VideoStream, packets: Packets) -> None:
        self._container = container
        self._stream = stream
        self._rows = packets.rows
        self._starts = sorted({start for start in packets.needs if start >= 0})
        self._numbers = {(row.time, row.position, row.size): number for number, row in enumerate(packets.rows)}
        self._packets: Iterator[Packet[VideoStream]] = iter(())
        self._next: int | None = None

    def walk(self, first: int, last: int) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """Yield the packets `first` to `last`, both inclusive, with their numbers."""
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
        """Seek to the packet `first` or one before it; return the packet that was read to verify that."""
        index = bisect.bisect_left(self._starts, first)
        targets = [self._starts[k] for k in range(index, max(-1, index - _TRIES + 1), -1)]
        for target in [*targets, 0]:
            try:
                self._container.seek(self._rows[target].time, stream=self._stream)
            except FFmpegError:
                continue
            self._packets = packets_of(self._container, self._stream)
            packet = next(self._packets, None)
            self._next = None if packet is None else self._number(packet)
            if packet is not None and self._next is not None and self._next <= first:
                return packet
        raise TimelineMismatchError

    def _number(self, packet: Packet[VideoStream]) -> int | None:
        """Return the number of a packet; None for one that the timeline does not have."""
        if packet.pts is None or packet.pos is None:
            return None
        return self._numbers.get((packet.pts, packet.pos, packet.size))
