"""Windows: frames of a part of a video at a rate, for several numbers of frames at once.

Public benchmarks are shown so: 2 frames a second, at most 32, 48 or 64, from the whole video or from a part of it.
`videossr.bench.public.frames` decodes the union of what several budgets need.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar

from videossr.clock import Clock
from videossr.video.plan import FrameChoice, Plan, RejectedError, Timeline, choose_frames


@dataclass(frozen=True)
class Window:
    """A part of a video, and how many frames of it are wanted.

    Attributes:
        budgets: numbers of frames, each at most that many.
        fps: frames a second; fewer where a budget would be exceeded, from the first to the last frame of the part.
        start: seconds from the start of the video.
        end: likewise; None, or a time behind the end of the video, is the end of the video.
        last: whether the last frame of the part is shown even where `fps` would not reach it.
    """

    kind: ClassVar[str] = "window"

    budgets: tuple[int, ...]
    fps: float = 2.0
    start: float = 0.0
    end: float | None = None
    last: bool = False

    def choose(self, timeline: Timeline, costs: Sequence[int] | None = None) -> FrameChoice:
        """Choose the frames that all budgets need together, each at the time at which a budget shows it.

        Raises:
            RejectedError: ``too_short``: the video ends before the window starts.
        """
        shown: dict[int, int] = {}
        end = 0
        offset = Fraction(0)
        for budget in self.budgets:
            choice = self.choice(timeline, budget)
            shown |= dict(zip(choice.clock.times_ms, choice.frames, strict=True))
            end, offset = max(end, choice.clock.end_ms), choice.offset
        times = sorted(shown)
        return FrameChoice(Clock(tuple(times), max(end, times[-1] + 1)), tuple(shown[time] for time in times), offset)

    def choice(self, timeline: Timeline, budget: int) -> FrameChoice:
        """Choose at most `budget` slots of the part; their times count from its start.

        Raises:
            RejectedError: ``too_short``: the video ends before the window starts.
        """
        part, first = self._part(timeline)
        choice = choose_frames(part, Plan(kind="fps", frames=budget, fps=self.fps))
        times, frames = list(choice.clock.times_ms), list(choice.frames)
        last = len(part.times) - 1
        if self.last and frames[-1] != last:
            shown = math.ceil(1000 * part.start(last))
            if len(times) == budget or times[-1] >= shown:
                times.pop()
                frames.pop()
            times.append(max(shown, times[-1] + 1) if times else 0)
            frames.append(last)
        assert all(now < after for now, after in pairwise(times)), "slots follow each other"
        offset = (part.times[0] - timeline.times[0]) * timeline.base
        clock = Clock(tuple(times), max(choice.clock.end_ms, times[-1] + 1))
        return FrameChoice(clock, tuple(first + frame for frame in frames), offset)

    def _part(self, timeline: Timeline) -> tuple[Timeline, int]:
        """Return the timeline of the part and the number of its first frame, which is on screen when it starts."""
        start = Fraction(str(self.start))
        if start >= timeline.seconds:
            raise RejectedError(
                "too_short",
                f"the question is about {self.start:g} s and later; the video ends at {float(timeline.seconds):.1f} s",
                float(timeline.seconds),
                self.start,
            )
        first = timeline.at(start)
        begin = max(timeline.times[first], timeline.times[0] + math.floor(start / timeline.base))
        end = timeline.end
        if self.end is not None:
            end = min(end, timeline.times[0] + math.floor(Fraction(str(self.end)) / timeline.base))
        end = max(end, begin + 1)
        inside = [time for time in timeline.times[first + 1 :] if time < end]
        return Timeline((begin, *inside), end, timeline.base), first
