"""A full decode of a video, which finds its frames, their times and those that damage spoils.

`videossr.video.decoding` needs it wherever the container does not declare the frames, or the decoder contradicts it.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from videossr.storage import limits
from videossr.video.container import PacketTag, open_video, packets_of, timeline_of, too_many_frames
from videossr.video.plan import FrameChoice, RejectedError, Timeline
from videossr.video.remote import Source

Log: TypeAlias = list[tuple[int, str, str]]
"""ffmpeg's error messages: (level, name of the part of ffmpeg, text) of each."""


@dataclass(slots=True)
class DecodeLog:
    """The events of a decode so far, by the number of the packet in decode order.

    Attributes:
        keys: numbers of packets at which a decode can start, ascending.
        time: of the packet, in ticks; None where the container has none.
        dts: when the packet is decoded, in ticks; None where the container does not say.
        hidden: whether an edit list hides its frame.
        harmed: numbers of packets at which the decoder reported an error or a corrupt flag was set, ascending.
        shown: numbers of packets whose frame came out.
    """

    keys: list[int] = field(default_factory=list)
    time: list[int | None] = field(default_factory=list)
    dts: list[int | None] = field(default_factory=list)
    hidden: list[bool] = field(default_factory=list)
    harmed: list[int] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)

    def add(self, packet: Packet[VideoStream]) -> int:
        """Note the next packet and return its number."""
        number = len(self.time)
        if packet.is_keyframe:
            self.keys.append(number)
        self.time.append(packet.dts if packet.pts is None else packet.pts)
        self.dts.append(packet.dts)
        self.hidden.append(packet.is_discard)
        return number

    def harm(self, number: int) -> None:
        """Note damage at a packet."""
        index = bisect.bisect_left(self.harmed, number)
        if index == len(self.harmed) or self.harmed[index] != number:
            self.harmed.insert(index, number)

    def no_key(self, number: int) -> None:
        """Note that a packet is no key frame to the decoder, though it may be one to the container."""
        index = bisect.bisect_left(self.keys, number)
        if index < len(self.keys) and self.keys[index] == number:
            del self.keys[index]

    def decode_times(self) -> list[int] | None:
        """Return when each packet is decoded, in ticks, if the container stores these times alone; else None.

        They ascend in decode order then. ffmpeg guesses the time of an AVI's picture from them, so the packets' own
        times come first.
        """
        times = [time for time in self.time if time is not None]
        if len(times) < len(self.time) or any(after <= now for now, after in pairwise(times)):
            return None
        dts = [time for time in self.dts if time is not None]
        return dts if len(dts) == len(times) and all(now < after for now, after in pairwise(dts)) else times

    def sound(self, number: int, *, leading: bool) -> bool:
        """Return whether nothing was harmed from the key frame that this packet depends on up to it.

        A leading picture of an open group comes after its key frame in decode order but is shown before it, and
        depends on the group before as well.
        """
        start = self._key_before(number)
        if leading and start > 0:
            start = self._key_before(start - 1)
        first = bisect.bisect_left(self.harmed, start)
        return first == len(self.harmed) or self.harmed[first] > number

    def leads(self, number: int) -> bool:
        """Return whether the frame of this packet, which is next, is shown before the key frame that it follows."""
        start = self._key_before(number)
        return start != number and start not in self.shown and not self.hidden[start]

    def lost(self, times: Sequence[int | None]) -> Iterator[int]:
        """Yield those of the packets' `times` at which damage left no frame.

        Where they ascend in decode order, any picture may be a leading one.
        """
        unordered = times is not self.time
        for number, (time, hidden) in enumerate(zip(times, self.hidden, strict=True)):
            if time is None or hidden or number in self.shown:
                continue
            start_time = times[self._key_before(number)]
            if not self.sound(number, leading=unordered or (start_time is not None and time < start_time)):
                yield time

    def _key_before(self, number: int) -> int:
        index = bisect.bisect_right(self.keys, number)
        return self.keys[index - 1] if index else 0


@dataclass(frozen=True, slots=True)
class FullScan:
    """The result of a full decode of a file.

    Attributes:
        timeline: of the frames that came out.
        marks: for each of them, the time that the decoder gives it.
        sound: for each of them, whether it can be trusted.
        lost: ticks at which a frame would have been shown that damage took away, ascending.
    """

    timeline: Timeline
    marks: tuple[int, ...]
    sound: tuple[bool, ...]
    lost: tuple[int, ...]

    def unsound(self, choice: FrameChoice) -> int:
        """Count the slots that show a harmed frame, or an old one because the frame that belongs there was lost."""
        count = 0
        for frame, offset in zip(choice.frames, choice.offsets(), strict=True):
            start = self.timeline.times[frame]
            tick = self.timeline.times[0] + offset / self.timeline.base
            next_lost = bisect.bisect_right(self.lost, start)
            frame_lost = next_lost < len(self.lost) and self.lost[next_lost] <= tick
            count += frame_lost or not self.sound[frame]
        return count


def full_scan(source: Source, log: Log) -> FullScan:
    """Decode the whole file.

    Some containers, AVI above all, store when a picture is decoded and not when it is shown. With B-frames the two are
    in different orders: frames then come out with times that run backwards, while those of the packets never do. The
    k-th frame that is shown takes the k-th of these times.

    Args:
        source: the video.
        log: receives ffmpeg's error messages, as `videossr.video.decoding.quiet` collects them.

    Returns:
        Times and soundness of all frames; their pixels are not kept.

    Raises:
        RejectedError: ``no_frames`` or ``no_times``.
    """
    marks: list[int] = []
    numbers: list[int] = []
    durations: list[int] = []
    sound: list[bool] = []
    backwards: int | None = None
    with open_video(source) as (container, stream):
        events = DecodeLog()
        for number, frame in on_screen(decoded(container, stream, events, log)):
            if frame.pts is None:
                raise _no_times(marks, None)
            if backwards is None and marks and frame.pts <= marks[-1]:
                backwards = len(marks)
                if events.decode_times() is None:
                    raise _no_times(marks, frame.pts)
            if len(marks) == limits.VIDEO_FRAMES:
                raise too_many_frames()
            marks.append(frame.pts)
            numbers.append(number)
            durations.append(frame.duration or 0)
            sound.append(events.sound(number, leading=events.leads(number)))
        if not marks:
            raise RejectedError("no_frames", f"none of {len(events.time)} packets gave a frame", 0, 1)
        times = marks
        packet_times = events.time
        if backwards is not None:
            dts = events.decode_times()
            if dts is None or len(set(numbers)) < len(numbers):
                raise _no_times(marks[:backwards], marks[backwards])
            times = sorted(dts[number] for number in numbers)
            packet_times = list(dts)
        timeline = timeline_of(stream, dict(zip(times, durations, strict=True)))
        return FullScan(timeline, tuple(marks), tuple(sound), tuple(sorted(events.lost(packet_times))))


def _no_times(before: Sequence[int], time: int | None) -> RejectedError:
    last = before[-1] if before else None
    return RejectedError("no_times", f"frame {len(before)} has time {time} after {last}")


def decoded(
    container: InputContainer, stream: VideoStream, events: DecodeLog, log: Log
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield all frames in presentation order, each with the number of its packet in decode order.

    Args:
        container: the open file.
        stream: its video stream.
        events: receives packets, shown frames and errors.
        log: receives ffmpeg's error messages.
    """

    def step(number: int, packet: Packet[VideoStream] | None) -> list[tuple[int, VideoFrame]]:
        lines = len(log)
        try:
            frames = stream.decode(packet)
        except FFmpegError:
            frames = []
            events.harm(number)
        if len(log) > lines:
            events.harm(number)
        numbered = [(frame.opaque.number if isinstance(frame.opaque, PacketTag) else number, frame) for frame in frames]
        for frame_number, frame in numbered:
            if frame.is_corrupt:
                events.harm(frame_number)
            if not frame.key_frame:
                events.no_key(frame_number)
        return numbered

    for packet in packets_of(container, stream):
        number = events.add(packet)
        packet.opaque = PacketTag(number)
        if packet.is_corrupt:
            events.harm(number)
        for frame_number, frame in step(number, packet):
            yield frame_number, frame
            events.shown.add(frame_number)
    if events.time:
        for frame_number, frame in step(len(events.time) - 1, None):
            yield frame_number, frame
            events.shown.add(frame_number)


def on_screen(frames: Iterator[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
    """Leave out a frame that is replaced at its very own time by the next one: nobody would see it."""
    waiting: tuple[int, VideoFrame] | None = None
    for item in frames:
        if waiting is not None and waiting[1].pts != item[1].pts:
            yield waiting
        waiting = item
    if waiting is not None:
        yield waiting
