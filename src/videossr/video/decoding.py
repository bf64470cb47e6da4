"""Decode the planned frames of one video exactly, or reject the video with a reason.

Where the container declares the frames' times (mov, mp4, mkv, webm) and the packets show what each picture needs, only
the groups of pictures with wanted frames are decoded, without unwanted pictures that nothing refers to. Where only the
times are declared, the file is decoded from its start up to the last wanted frame. Every decoded frame is compared
with the declared timeline; where they differ or the decoder reports an error, a full decode finds which frames exist,
when they are shown and which of them are sound. All of it happens in one thread.

The workers of `videossr index` and readers of published question sets call `pick`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import av.logging
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from videossr.clock import Clock
from videossr.question import Frames
from videossr.storage.paths import AnyPath
from videossr.video.container import (
    DeclaredTimeline,
    StreamFacts,
    declared_timeline,
    facts_of,
    open_video,
    timeline_from_index,
)
from videossr.video.conversion import FrameConverter
from videossr.video.crop import crop_of
from videossr.video.full_scan import DecodeLog, Log, decoded, full_scan, on_screen
from videossr.video.plan import Chooser, FrameChoice, Plan, RejectedError, Timeline, choose_frames
from videossr.video.remote import Remote, Source, reachable
from videossr.video.seeking import TimelineMismatchError, frames_by_groups

T = TypeVar("T")

Picked: TypeAlias = tuple[StreamFacts, Timeline, FrameChoice, list[T]]
"""Of a file: its facts, its timeline, the choice of frames, and what `use` returned for each different frame."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The planned frames of one video.

    Attributes:
        facts: of the file.
        timeline: of all its frames.
        choice: which of them the slots show, and when.
        frames: (T, H, W, 3) uint8 RGB, one for each slot.
    """

    facts: StreamFacts
    timeline: Timeline
    choice: FrameChoice
    frames: Frames


def decode(path: AnyPath, plan: Plan) -> Decoded:
    """Decode the frames that `plan` wants, upright and at the size of the plan.

    Args:
        path: of the video, local or remote.
        plan: which frames are wanted.

    Raises:
        RejectedError: the video cannot be used.
        OSError: a remote file cannot be reached.
    """
    facts, timeline, choice, pictures = pick(path, plan, FrameConverter(plan.max_pixels, plan.hdr))
    position = {frame: k for k, frame in enumerate(dict.fromkeys(choice.frames))}
    return Decoded(facts, timeline, choice, np.stack([pictures[position[frame]] for frame in choice.frames]))


def planned(path: AnyPath, plan: Plan) -> Clock:
    """Return the clock of the slots that `plan` takes from a video, without a decode where the container declares it.

    `pick` gives the same clock unless a decode contradicts the container.

    Args:
        path: of the video, local or remote.
        plan: which frames are wanted.

    Raises:
        RejectedError: the video cannot be used.
        OSError: a remote file cannot be reached.
    """
    with quiet() as log, reachable(path) as source:
        timeline, costs = _timeline(source, log)
        return choose_frames(timeline, plan, costs).clock


def timeline_of(path: AnyPath) -> Timeline:
    """Return the times of all frames of a video, without a decode where the container declares them.

    Raises as `planned`.
    """
    with quiet() as log, reachable(path) as source:
        return _timeline(source, log)[0]


def _timeline(source: Source, log: Log) -> tuple[Timeline, Sequence[int] | None]:
    """Return the times of all frames, and what each costs to decode where the container tells it."""
    with open_video(source) as (container, stream):
        declared = declared_timeline(container, stream)
    if declared is None:
        return full_scan(source, log).timeline, None
    return declared.timeline, declared.costs


def pick(
    path: AnyPath,
    plan: Chooser,
    use: Callable[[StreamFacts, VideoFrame], T],
    begin: Callable[[FrameChoice], None] = lambda _: None,
) -> Picked[T]:
    """Decode the frames that `plan` wants and pass each different one, in order, to `use`.

    Only the results of `use` are kept: one frame is in memory at a time, besides those of the decoder.

    Args:
        path: of the video, local or remote.
        plan: which frames are wanted.
        use: called with the facts of the file and each frame.
        begin: called with the choice of frames before the first of them is decoded. It is called again where a decode
            contradicts the container and starts anew: the caller must forget the frames that `use` was given before.

    Returns:
        Facts, timeline, choice of frames, and the results of `use`, one for each different frame of the choice.

    Raises:
        RejectedError: the video cannot be used.
        OSError: a remote file cannot be reached.
    """
    with quiet() as log, reachable(path) as source:
        indexed = timeline_from_index(source) if plan.kind == "snap" and isinstance(source, Remote) else None
        if indexed is not None:
            choice = plan.choose(indexed.timeline, indexed.costs)
            if indexed.all_starts(choice):
                begin(choice)
                with open_video(source) as (container, stream), suppress(TimelineMismatchError):
                    return _by_groups(source, container, stream, log, indexed, choice, use)
        with open_video(source) as (container, stream):
            declared = declared_timeline(container, stream)
            if declared is not None and declared.packets is not None:
                choice = plan.choose(declared.timeline, declared.costs)
                begin(choice)
                with suppress(TimelineMismatchError):
                    return _by_groups(source, container, stream, log, declared, choice, use)
        if declared is not None:
            timeline = declared.timeline
            choice = plan.choose(timeline)
            begin(choice)
            with suppress(TimelineMismatchError):
                return _from_start(source, log, timeline, timeline.times, choice, use, strict=True)
        scan = full_scan(source, log)
        choice = plan.choose(scan.timeline)
        unsound = scan.unsound(choice)
        if unsound:
            raise RejectedError(
                "damaged", f"{unsound} of {len(choice.frames)} slots fall on damage", unsound, threshold=0
            )
        begin(choice)
        try:
            return _from_start(source, log, scan.timeline, scan.marks, choice, use, strict=False)
        except TimelineMismatchError as error:
            raise RejectedError("damaged", "two decodes of the file do not agree", 1, threshold=0) from error


class _Results(Generic[T]):
    """The results of `use` for the wanted frames, and the facts that the first frame gives."""

    def __init__(
        self,
        source: Source,
        container: InputContainer,
        stream: VideoStream,
        use: Callable[[StreamFacts, VideoFrame], T],
    ) -> None:
        self._source = source
        self._container = container
        self._stream = stream
        self._use = use
        self._facts: StreamFacts | None = None
        self.results: list[T] = []

    @property
    def facts(self) -> StreamFacts:
        """Facts about the file, once a frame was added."""
        assert self._facts is not None, "every plan wants at least one frame"
        return self._facts

    def add(self, frame: VideoFrame) -> None:
        """Pass a frame to `use`. Raises RejectedError ``unsupported`` when its size is not that of the first."""
        if self._facts is None:
            crop = crop_of(self._source, self._container, self._stream, (frame.width, frame.height))
            self._facts = facts_of(self._container, self._stream, frame, crop)
        facts = self._facts
        if (frame.width, frame.height) != (facts.width, facts.height):
            raise RejectedError(
                "unsupported",
                f"its size changes from {facts.width}x{facts.height} to {frame.width}x{frame.height}",
            )
        self.results.append(self._use(facts, frame))


def _by_groups(
    source: Source,
    container: InputContainer,
    stream: VideoStream,
    log: Log,
    declared: DeclaredTimeline,
    choice: FrameChoice,
    use: Callable[[StreamFacts, VideoFrame], T],
) -> Picked[T]:
    """Decode no more than the wanted frames need. Raises TimelineMismatchError."""
    assert declared.packets is not None
    picked = _Results(source, container, stream, use)
    numbers = [declared.numbers[frame] for frame in dict.fromkeys(choice.frames)]
    for frame in frames_by_groups(container, stream, declared.packets, numbers, log):
        picked.add(frame)
    return picked.facts, declared.timeline, choice, picked.results


def _from_start(
    source: Source,
    log: Log,
    timeline: Timeline,
    marks: Sequence[int],
    choice: FrameChoice,
    use: Callable[[StreamFacts, VideoFrame], T],
    *,
    strict: bool,
) -> Picked[T]:
    """Decode from the start up to the last wanted frame. Raises TimelineMismatchError.

    `marks` are the times that the decoder must give the frames. When `strict`, it must not report any error either.
    """
    wanted = set(choice.frames)
    with open_video(source) as (container, stream):
        events = DecodeLog()
        picked = _Results(source, container, stream, use)
        frames = on_screen(decoded(container, stream, events, log))
        for index, (now, (_, frame)) in enumerate(zip(marks, frames, strict=False)):
            if frame.pts != now or (strict and events.harmed):
                raise TimelineMismatchError
            if index in wanted:
                picked.add(frame)
                if len(picked.results) == len(wanted):
                    return picked.facts, timeline, choice, picked.results
    raise TimelineMismatchError


@contextmanager
def quiet() -> Iterator[Log]:
    """Collect ffmpeg's error messages of this thread; nothing reaches the terminal."""
    level = av.logging.get_level()
    skip = av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as log:
            yield log
    finally:
        av.logging.set_skip_repeated(skip)
        av.logging.set_level(level)
