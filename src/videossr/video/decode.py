"""Decode the planned frames of one video, exactly, or say why they cannot be trusted.

The file is decoded from its start, in one thread, up to the last frame that is wanted. Where the container promises
the frames' times (mov, mp4, mkv, webm), those are planned from, and every decoded frame is held against the promise.
Everywhere else, and wherever the promise fails or the decoder complains, a first full decode learns which frames
exist, when they are shown and which of them are sound. Exercised by `videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import av.logging
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from videossr.question import Frames
from videossr.video.plan import Choice, Plan, RejectedError, Timeline, choose, fit
from videossr.video.probe import Facts, facts_of, open_video, packets_of, promised_timeline, timeline_of

T = TypeVar("T")

_SCALER = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
"""The last three make swscale give the same bytes whatever vector instructions the processor has."""

_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""AVColorSpace -> swscale's. Everything else, an unspecified matrix included, is BT.601, as in ffmpeg."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The planned frames of one video.

    Attributes:
        facts: of the file.
        timeline: of all its frames.
        choice: which of them the slots show, and when.
        frames: (T, H, W, 3) uint8 RGB, one for each slot.
    """

    facts: Facts
    timeline: Timeline
    choice: Choice
    frames: Frames


def decode(path: Path, plan: Plan) -> Decoded:
    """Decode, resize and turn the frames that `plan` wants. Raises RejectedError."""
    shrink = _Shrink(plan.max_pixels)
    facts, timeline, choice, pictures = pick(path, plan, shrink)
    position = {frame: k for k, frame in enumerate(dict.fromkeys(choice.frames))}
    return Decoded(facts, timeline, choice, np.stack([pictures[position[frame]] for frame in choice.frames]))


def pick(path: Path, plan: Plan, use: Callable[[Facts, VideoFrame], T]) -> tuple[Facts, Timeline, Choice, list[T]]:
    """Decode the frames that `plan` wants and pass each different one, in order, to `use`.

    Only what `use` returns is kept. Raises RejectedError.
    """
    with _quiet() as log:
        with open_video(path) as (container, stream):
            timeline = promised_timeline(container, stream)
        if timeline is not None:
            choice = choose(timeline, plan)
            try:
                return _collect(path, log, timeline, choice, use, strict=True)
            except _PromiseBrokenError:
                pass
        survey = survey_of(path, log)
        choice = choose(survey.timeline, plan)
        unsound = survey.unsound(choice)
        if unsound:
            raise RejectedError(
                "damaged", f"{unsound} of {len(choice.frames)} slots fall on damage", unsound, threshold=0
            )
        try:
            return _collect(path, log, survey.timeline, choice, use, strict=False)
        except _PromiseBrokenError as error:
            raise RejectedError("damaged", "two decodes of the file do not agree", 1, threshold=0) from error


class _PromiseBrokenError(Exception):
    """A decode did not give the frames that were expected of it."""


def _collect(
    path: Path,
    log: list[tuple[int, str, str]],
    timeline: Timeline,
    choice: Choice,
    use: Callable[[Facts, VideoFrame], T],
    *,
    strict: bool,
) -> tuple[Facts, Timeline, Choice, list[T]]:
    """Decode up to the last wanted frame. When `strict`, any complaint of the decoder on the way breaks the promise."""
    wanted = set(choice.frames)
    facts: Facts | None = None
    kept: list[T] = []
    with open_video(path) as (container, stream):
        trail = _Trail()
        decoded = _on_screen(_decode(container, stream, trail, log))
        for index, (now, (_, frame)) in enumerate(zip(timeline.times, decoded, strict=False)):
            if frame.pts != now or (strict and trail.harmed):
                raise _PromiseBrokenError
            if index not in wanted:
                continue
            if facts is None:
                facts = facts_of(container, stream, frame)
            elif (frame.width, frame.height) != (facts.width, facts.height):
                raise RejectedError(
                    "unsupported",
                    f"its size changes from {facts.width}x{facts.height} to {frame.width}x{frame.height}",
                )
            kept.append(use(facts, frame))
            if len(kept) == len(wanted):
                return facts, timeline, choice, kept
    raise _PromiseBrokenError


@dataclass(slots=True)
class _Trail:
    """What a decode has met so far, by the number of the packet in decode order.

    Attributes:
        key: whether a decode can start at this packet.
        time: of the packet, in ticks; None where the container has none.
        hidden: whether an edit list hides its frame.
        harmed: numbers of packets at which the decoder complained or a corrupt flag was set, ascending.
        shown: numbers of packets whose frame came out.
    """

    key: list[bool] = field(default_factory=list)
    time: list[int | None] = field(default_factory=list)
    hidden: list[bool] = field(default_factory=list)
    harmed: list[int] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)

    def add(self, packet: Packet[VideoStream]) -> int:
        self.key.append(packet.is_keyframe)
        self.time.append(packet.dts if packet.pts is None else packet.pts)
        self.hidden.append(packet.is_discard)
        return len(self.key) - 1

    def harm(self, number: int) -> None:
        if number not in self.harmed:
            bisect.insort(self.harmed, number)

    def sound(self, number: int, *, leading: bool) -> bool:
        """Whether nothing was harmed from the key frame that this packet depends on up to it.

        A leading picture of an open group comes after its key frame in decode order but is shown before it, and
        depends on the group before as well.
        """
        start = self._key_before(number)
        if leading and start > 0:
            start = self._key_before(start - 1)
        first = bisect.bisect_left(self.harmed, start)
        return first == len(self.harmed) or self.harmed[first] > number

    def leads(self, number: int) -> bool:
        """Whether the key frame before this packet has not been shown yet, though this packet's frame is next."""
        start = self._key_before(number)
        return start != number and start not in self.shown and not self.hidden[start]

    def lost(self) -> Iterator[int]:
        """Times of the packets that gave no frame because of damage."""
        for number, (time, hidden) in enumerate(zip(self.time, self.hidden, strict=True)):
            if time is None or hidden or number in self.shown:
                continue
            start_time = self.time[self._key_before(number)]
            if not self.sound(number, leading=start_time is not None and time < start_time):
                yield time

    def _key_before(self, number: int) -> int:
        while number > 0 and not self.key[number]:
            number -= 1
        return number


@dataclass(frozen=True, slots=True)
class Survey:
    """What a full decode of a file gives.

    Attributes:
        timeline: of the frames that came out.
        sound: for each of them, whether it can be trusted.
        lost: ticks at which a frame would have been shown that damage took away, ascending.
    """

    timeline: Timeline
    sound: tuple[bool, ...]
    lost: tuple[int, ...]

    def unsound(self, choice: Choice) -> int:
        """How many slots show a harmed frame, or an old one because the frame that belongs there was lost."""
        count = 0
        for frame, offset in zip(choice.frames, choice.offsets(), strict=True):
            start = self.timeline.times[frame]
            tick = self.timeline.times[0] + offset / self.timeline.base
            next_lost = bisect.bisect_right(self.lost, start)
            gone = next_lost < len(self.lost) and self.lost[next_lost] <= tick
            count += gone or not self.sound[frame]
        return count


def survey_of(path: Path, log: list[tuple[int, str, str]]) -> Survey:
    """Decode the whole file. Raises RejectedError ``no_frames`` or ``no_times``."""
    shown: dict[int, int] = {}
    sound: list[bool] = []
    with open_video(path) as (container, stream):
        trail = _Trail()
        last: int | None = None
        for number, frame in _on_screen(_decode(container, stream, trail, log)):
            if frame.pts is None or (last is not None and frame.pts <= last):
                raise RejectedError("no_times", f"frame {len(sound)} has time {frame.pts} after {last}")
            last = frame.pts
            shown[frame.pts] = frame.duration or 0
            sound.append(trail.sound(number, leading=trail.leads(number)))
        if not shown:
            raise RejectedError("no_frames", f"none of {len(trail.key)} packets gave a frame", 0, 1)
        return Survey(timeline_of(stream, shown), tuple(sound), tuple(sorted(trail.lost())))


def _decode(
    container: InputContainer, stream: VideoStream, trail: _Trail, log: list[tuple[int, str, str]]
) -> Iterator[tuple[int, VideoFrame]]:
    """All frames in presentation order, each with the number of its packet. Errors are noted in `trail`."""

    def step(number: int, packet: Packet[VideoStream] | None) -> list[tuple[int, VideoFrame]]:
        lines = len(log)
        try:
            frames = stream.decode(packet)
        except FFmpegError:
            frames = []
            trail.harm(number)
        if len(log) > lines:
            trail.harm(number)
        numbered = [(frame.opaque if isinstance(frame.opaque, int) else number, frame) for frame in frames]
        for own, frame in numbered:
            if frame.is_corrupt:
                trail.harm(own)
            trail.key[own] = trail.key[own] and frame.key_frame
        return numbered

    for packet in packets_of(container, stream):
        number = trail.add(packet)
        packet.opaque = number
        if packet.is_corrupt:
            trail.harm(number)
        for own, frame in step(number, packet):
            yield own, frame
            trail.shown.add(own)
    if trail.key:
        for own, frame in step(len(trail.key) - 1, None):
            yield own, frame
            trail.shown.add(own)


def _on_screen(frames: Iterator[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
    """Leave out a frame that is replaced at its very own time by the next one: nobody would see it."""
    waiting: tuple[int, VideoFrame] | None = None
    for item in frames:
        if waiting is not None and waiting[1].pts != item[1].pts:
            yield waiting
        waiting = item
    if waiting is not None:
        yield waiting


@contextmanager
def _quiet() -> Iterator[list[tuple[int, str, str]]]:
    """Collect ffmpeg's error messages of this thread; nothing reaches the terminal."""
    level, skip = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as log:
            yield log
    finally:
        av.logging.set_skip_repeated(skip)
        av.logging.set_level(level)


class _Shrink:
    """Turns decoded frames into (H, W, 3) uint8 RGB pictures of one size."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._scaler = VideoReformatter()

    def __call__(self, facts: Facts, frame: VideoFrame) -> Frames:
        """Scale and convert in one step with the frame's own matrix and range, then mirror and turn what is left.

        Alpha is dropped; a transfer curve other than SDR's (HDR) is not mapped.
        """
        height, width = fit(*facts.display, self._max_pixels)
        if facts.turn % 2:
            height, width = width, height
        try:
            picture = self._scale(frame, width, height).to_ndarray()
        except FFmpegError as error:
            raise RejectedError("unsupported", f"its {frame.format.name} pixels cannot be converted") from error
        if facts.mirrored:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(np.rot90(picture, facts.turn), dtype=np.uint8)

    def _scale(self, frame: VideoFrame, width: int, height: int) -> VideoFrame:
        if frame.interlaced_frame and (width, height) != (frame.width, frame.height):
            # swscale scales the two fields of such a frame apart, so that a small picture would keep their combing.
            frame = VideoFrame.from_ndarray(self._scale(frame, frame.width, frame.height).to_ndarray(), "rgb24")
        if frame.format.is_rgb:
            return self._scaler.reformat(frame, width, height, "rgb24", interpolation=_SCALER, threads=1)
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        return self._scaler.reformat(
            frame,
            width,
            height,
            "rgb24",
            src_colorspace=_MATRICES.get(frame.colorspace, Colorspace.ITU601),
            dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=_SCALER,
            threads=1,
        )
