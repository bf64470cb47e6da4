"""Decode the planned frames of one video, exactly, or say why they cannot be trusted.

Where the container promises the frames' times (mov, mp4, mkv, webm) and the packets tell what each picture needs, only
the groups of pictures with wanted frames are decoded, without what nothing refers to and nobody wants. Where the
promise alone holds, the file is decoded from its start up to the last wanted frame. Every decoded frame is held
against the promise; wherever it fails or the decoder complains, a first full decode learns which frames exist, when
they are shown and which of them are sound. All in one thread. Exercised by `videossr index DIR --out CORPUS`.
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
from videossr.video.plan import FrameChoice, Plan, RejectedError, Timeline, choose_frames
from videossr.video.remote import Remote, Source, reachable
from videossr.video.seeking import TimelineMismatchError, frames_by_groups

T = TypeVar("T")

Picked: TypeAlias = tuple[StreamFacts, Timeline, FrameChoice, list[T]]
"""Of a file: its facts, when its frames are shown, which the slots show, and what was made of each of these."""


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
    """Decode, resize and turn the frames that `plan` wants. Raises RejectedError, or OSError for a remote file."""
    shrink = FrameConverter(plan.max_pixels, plan.hdr)
    facts, timeline, choice, pictures = pick(path, plan, shrink)
    position = {frame: k for k, frame in enumerate(dict.fromkeys(choice.frames))}
    return Decoded(facts, timeline, choice, np.stack([pictures[position[frame]] for frame in choice.frames]))


def planned(path: AnyPath, plan: Plan) -> Clock:
    """The clock that `plan` gives, as the container tells it; only where its times are not trusted it is decoded.

    What `pick` gives is this clock unless the container breaks its promise. Raises as `pick` does.
    """
    with quiet() as log, reachable(path) as source:
        with open_video(source) as (container, stream):
            promise = declared_timeline(container, stream)
        timeline = promise.timeline if promise is not None else full_scan(source, log).timeline
        return choose_frames(timeline, plan, promise.costs if promise is not None else None).clock


def pick(
    path: AnyPath,
    plan: Plan,
    use: Callable[[StreamFacts, VideoFrame], T],
    begin: Callable[[FrameChoice], None] = lambda _: None,
) -> Picked[T]:
    """Decode the frames that `plan` wants and pass each different one, in order, to `use`.

    Only what `use` returns is kept: no two frames are in memory at once but for those that the decoder itself holds.

    Args:
        path: of the video.
        plan: which frames are wanted.
        use: what is made of each frame.
        begin: called with the choice of frames before the first of them is decoded. It is called again where a decode
            turns out not to be what the container says, and begins anew: forget what `use` was given until then.

    Raises:
        RejectedError: the video cannot be used.
        OSError: a remote file cannot be reached.
    """
    with quiet() as log, reachable(path) as source:
        outline = timeline_from_index(source) if plan.kind == "snap" and isinstance(source, Remote) else None
        if outline is not None:
            choice = choose_frames(outline.timeline, plan, outline.costs)
            if outline.all_starts(choice):
                begin(choice)
                with open_video(source) as (container, stream), suppress(TimelineMismatchError):
                    return _by_groups(source, container, stream, log, outline, choice, use)
        with open_video(source) as (container, stream):
            promise = declared_timeline(container, stream)
            if promise is not None and promise.packets is not None:
                choice = choose_frames(promise.timeline, plan, promise.costs)
                begin(choice)
                with suppress(TimelineMismatchError):
                    return _by_groups(source, container, stream, log, promise, choice, use)
        if promise is not None:
            timeline = promise.timeline
            choice = choose_frames(timeline, plan)
            begin(choice)
            with suppress(TimelineMismatchError):
                return _from_start(source, log, timeline, timeline.times, choice, use, strict=True)
        scan = full_scan(source, log)
        choice = choose_frames(scan.timeline, plan)
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


class _Kept(Generic[T]):
    """What is kept of the wanted frames, and the facts that the first of them gives."""

    def __init__(
        self,
        source: Source,
        container: InputContainer,
        stream: VideoStream,
        use: Callable[[StreamFacts, VideoFrame], T],
    ) -> None:
        self._source, self._container, self._stream, self._use = source, container, stream, use
        self._facts: StreamFacts | None = None
        self.results: list[T] = []

    @property
    def facts(self) -> StreamFacts:
        assert self._facts is not None, "every plan wants at least one frame"
        return self._facts

    def add(self, frame: VideoFrame) -> None:
        """Raises RejectedError ``unsupported``."""
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
    promise: DeclaredTimeline,
    choice: FrameChoice,
    use: Callable[[StreamFacts, VideoFrame], T],
) -> Picked[T]:
    """Decode no more than the wanted frames need."""
    assert promise.packets is not None
    kept = _Kept(source, container, stream, use)
    numbers = [promise.numbers[frame] for frame in dict.fromkeys(choice.frames)]
    for frame in frames_by_groups(container, stream, promise.packets, numbers, log):
        kept.add(frame)
    return kept.facts, promise.timeline, choice, kept.results


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
    """Decode up to the last wanted frame; `marks` are the times that the decoder must give the frames.

    When `strict`, any complaint of the decoder on the way breaks the promise.
    """
    wanted = set(choice.frames)
    with open_video(source) as (container, stream):
        trail = DecodeLog()
        kept = _Kept(source, container, stream, use)
        frames = on_screen(decoded(container, stream, trail, log))
        for index, (now, (_, frame)) in enumerate(zip(marks, frames, strict=False)):
            if frame.pts != now or (strict and trail.harmed):
                raise TimelineMismatchError
            if index in wanted:
                kept.add(frame)
                if len(kept.results) == len(wanted):
                    return kept.facts, timeline, choice, kept.results
    raise TimelineMismatchError


@contextmanager
def quiet() -> Iterator[Log]:
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
