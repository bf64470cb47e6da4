"""Timestamps of the frames in a clip, in whole milliseconds.

All seconds in labels, prompts and reports derive from here.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Self


@dataclass(frozen=True, slots=True)
class Clock:
    """Times of the slots of one clip, in whole milliseconds from its first slot.

    >>> clock = Clock((0, 500, 1250), 2000)
    >>> clock
    Clock(3 slots of 0.5 to 0.75 s, 2 s)
    >>> clock.span(1, 2)
    (0.5, 2.0)

    Attributes:
        times_ms: (T,) starts of the slots; the first is 0, and they increase strictly.
        end_ms: when the last slot stops being shown.

    Raises:
        ValueError: the times are not of this form.
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
        steps = self._steps_ms()
        shortest, longest = min(steps), max(steps)
        uniform = longest - shortest <= 1
        length = f"{self.end_ms / len(steps) / 1000:.4g}" if uniform else f"{shortest / 1000:g} to {longest / 1000:g}"
        return f"Clock({len(steps)} slots of {length} s, {self.end_ms / 1000:g} s)"

    def _steps_ms(self) -> list[int]:
        """List how long each slot lasts, in milliseconds."""
        return [after - now for now, after in pairwise((*self.times_ms, self.end_ms))]

    def span(self, first: int, last: int) -> tuple[float, float]:
        """Return the seconds from the start of slot `first` to the end of slot `last`, both inclusive.

        Raises:
            ValueError: the clock has no such slots.
        """
        if not 0 <= first <= last < len(self):
            raise ValueError(f"no slots {first}..{last} in a clock of {len(self)} slots")
        end = self.times_ms[last + 1] if last + 1 < len(self) else self.end_ms
        return self.times_ms[first] / 1000, end / 1000

    @property
    def jitter_ms(self) -> int:
        """Difference in milliseconds between the longest and the shortest slot.

        Rounding alone makes it at most 1 for equal steps.
        """
        steps = self._steps_ms()
        return max(steps) - min(steps)

    def slot_at(self, seconds: float) -> int:
        """Return the slot on screen at a time; before the first and after the last slot, the nearest one."""
        return max(0, bisect.bisect_right(self.times_ms, round(seconds * 1000)) - 1)

    def subsample(self, slots: int) -> Self:
        """Keep every k-th slot, so that `slots` remain; each then lasts until the next that remains.

        Raises:
            ValueError: the number of slots is not a multiple of `slots`.
        """
        stride, rest = divmod(len(self), slots)
        if rest or not stride:
            raise ValueError(f"{len(self)} slots cannot be subsampled to {slots}: not a multiple")
        return type(self)(self.times_ms[::stride], self.end_ms)

    def slice(self, first: int, stop: int) -> Self:
        """Return the clock of the slots `first` <= k < `stop`, counted from 0 again."""
        origin = self.times_ms[first]
        end = self.times_ms[stop] if stop < len(self) else self.end_ms
        return type(self)(tuple(time - origin for time in self.times_ms[first:stop]), end - origin)


def uniform_clock(slots: int, duration_ms: float | Fraction) -> Clock:
    """Make a clock of equal steps.

    Args:
        slots: number of slots, 1 or more.
        duration_ms: length of the clip in milliseconds.

    Returns:
        A clock whose times are rounded to whole milliseconds.

    Raises:
        ValueError: the slots are shorter than a millisecond.
    """
    return Clock(tuple(round(k * duration_ms / slots) for k in range(slots)), round(duration_ms))
