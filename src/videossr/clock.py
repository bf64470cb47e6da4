"""The one clock: when each slot of a clip is shown. Every second that the package prints or checks comes from here.

Exercised by `videossr validate DATASET --model-type qwen3_vl`.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Self


@dataclass(frozen=True, slots=True)
class Clock:
    """Slot times of one clip, in whole milliseconds from its first slot.

    `times_ms` (T,) starts at 0 and increases strictly; `end_ms` is when the last slot stops being shown.

    >>> clock = Clock((0, 500, 1250), 2000)
    >>> clock
    Clock(3 slots of 0.5 to 0.75 s, 2 s)
    >>> clock.span(1, 2)
    (0.5, 2.0)

    Raises ValueError when the times are not of this form.
    """

    times_ms: tuple[int, ...]
    end_ms: int

    def __post_init__(self) -> None:
        times = (*self.times_ms, self.end_ms)
        if len(times) < 2 or times[0] != 0:
            raise ValueError(f"a clock starts with a slot at 0 ms, got {times[:3]}")
        for slot, (now, after) in enumerate(pairwise(times)):
            if after <= now:
                raise ValueError(f"slot {slot} at {now} ms is followed by {after} ms: times must increase strictly")

    def __len__(self) -> int:
        return len(self.times_ms)

    def __repr__(self) -> str:
        steps = [after - now for now, after in pairwise((*self.times_ms, self.end_ms))]
        even = max(steps) - min(steps) <= 1
        length = f"{self.end_ms / len(steps) / 1000:.4g}" if even else f"{min(steps) / 1000:g} to {max(steps) / 1000:g}"
        return f"Clock({len(steps)} slots of {length} s, {self.end_ms / 1000:g} s)"

    def span(self, first: int, last: int) -> tuple[float, float]:
        """Seconds from the start of slot `first` to the end of slot `last` (both inclusive)."""
        if not 0 <= first <= last < len(self):
            raise ValueError(f"no slots {first}..{last} in a clock of {len(self)} slots")
        end = self.times_ms[last + 1] if last + 1 < len(self) else self.end_ms
        return self.times_ms[first] / 1000, end / 1000

    @property
    def unevenness(self) -> int:
        """Milliseconds between the longest and the shortest slot; at most 1 for equal steps, which are rounded."""
        times = (*self.times_ms, self.end_ms)
        steps = [after - now for now, after in pairwise(times)]
        return max(steps) - min(steps)

    def slot_at(self, seconds: float) -> int:
        """The slot on screen at a time; before the first and after the last slot, the nearest one."""
        return max(0, bisect.bisect_right(self.times_ms, round(seconds * 1000)) - 1)

    def thin(self, slots: int) -> Self:
        """Every k-th slot, so that `slots` remain; each then lasts until the next that remains.

        Raises ValueError unless the number of slots is a multiple of `slots`.
        """
        stride, rest = divmod(len(self), slots)
        if rest or not stride:
            raise ValueError(f"{len(self)} slots cannot be thinned to {slots}: not a multiple")
        return type(self)(self.times_ms[::stride], self.end_ms)

    def cut(self, first: int, stop: int) -> Self:
        """The clock of slots `first` <= k < `stop` alone, again from 0."""
        origin = self.times_ms[first]
        end = self.times_ms[stop] if stop < len(self) else self.end_ms
        return type(self)(tuple(t - origin for t in self.times_ms[first:stop]), end - origin)


def uniform_clock(slots: int, duration_ms: float | Fraction) -> Clock:
    """A clock of `slots` equal steps over `duration_ms`, each time rounded to a whole millisecond."""
    return Clock(tuple(round(k * duration_ms / slots) for k in range(slots)), round(duration_ms))
