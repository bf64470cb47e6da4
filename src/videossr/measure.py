"""What a gate measures of a video, and what follows from it: whether the video is admitted, also at other thresholds.

`videossr build` stores the measures in `gates.parquet`; `videossr dataset info DATASET --gates` prints them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from itertools import groupby

from videossr.sample import Reject

DIGITS = 6
"""Significant digits of a value. It is rounded to its bad side, so no rounding lets a video pass."""

_ROUNDING = {True: Context(prec=DIGITS, rounding=ROUND_FLOOR), False: Context(prec=DIGITS, rounding=ROUND_CEILING)}


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that a gate looks at.

    A gate passes when all its measures pass. A video is admitted when all gates pass; of gates with the same `either`,
    one is enough. Measures of one gate follow each other, and so do gates with the same `either`.

    Attributes:
        gate: what is wrong where it fails, as in `Reject.reason`: ``hidden_motion``.
        value: what was measured, rounded to `DIGITS`; may be infinite. Raises ValueError when it is not a number.
        threshold: what it is compared with.
        least: whether `threshold` is the least value that passes, or else the largest.
        knob: the setting that holds the threshold, as it is named under the knobs of a column: ``limits.motion``. Empty
            where there is none, or where it also decides what other measures find. The value must not depend on it.
        either: what gates of which one is enough have in common.
    """

    gate: str
    value: float
    threshold: float
    least: bool = True
    knob: str = ""
    either: str = ""

    def __post_init__(self) -> None:
        if math.isnan(self.value) or math.isnan(self.threshold):
            raise ValueError(f"gate {self.gate}: measured {self.value}, threshold {self.threshold}: not numbers")
        rounded = _ROUNDING[self.least].create_decimal(repr(float(self.value)))
        object.__setattr__(self, "value", float(rounded))
        object.__setattr__(self, "threshold", float(self.threshold))

    @property
    def passed(self) -> bool:
        return self.value >= self.threshold if self.least else self.value <= self.threshold

    @property
    def margin(self) -> float:
        """By what factor the value, 0 or more, lies on the good side of the threshold; below 1 it fails."""
        good, bad = (self.value, self.threshold) if self.least else (self.threshold, self.value)
        if good == bad:
            return 1.0
        return good / bad if bad > 0 else math.inf


def _conditions(measures: Iterable[Measure]) -> Iterator[Iterator[tuple[str, list[Measure]]]]:
    """Group measures: all conditions must be met, each by one of its gates."""
    for _, members in groupby(measures, key=lambda measure: measure.either or measure.gate):
        yield ((gate, list(own)) for gate, own in groupby(members, key=lambda measure: measure.gate))


def rejected(measures: Iterable[Measure]) -> Reject | None:
    """Return None when a video with these measures is admitted, else its first failure.

    Nothing after the first failure is asked for. Where one of several gates would have been enough, the failure is the
    one that comes nearest to passing.
    """
    for condition in _conditions(measures):
        weakest = []
        for _, own in condition:
            failed = [measure for measure in own if not measure.passed]
            if not failed:
                break
            weakest.append(min(failed, key=lambda measure: measure.margin))
        else:
            nearest = max(weakest, key=lambda measure: measure.margin)
            return Reject(nearest.gate, nearest.value, nearest.threshold)
        for _ in condition:  # what is left of it, before the next one is asked for
            pass
    return None


def measured(measures: Iterable[Measure]) -> list[Measure]:
    """List measures up to the first failure that no setting can mend; what follows may not be measurable."""
    found = []
    for measure in measures:
        found.append(measure)
        if not (measure.passed or measure.knob or measure.either):
            break
    return found


def weakest(measures: Iterable[Measure]) -> Measure | None:
    """Return the measure by which an admitted video came nearest to being rejected; None where nothing was asked."""
    deciding = []
    for condition in _conditions(measures):
        ways = [min(own, key=lambda measure: measure.margin) for _, own in condition]
        deciding.append(max(ways, key=lambda measure: measure.margin))
    return min(deciding, key=lambda measure: measure.margin, default=None)
