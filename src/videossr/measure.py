"""Measurements of a video by the gates of a task, and the decision whether they admit it.

`videossr build` stores the measures in `gates.parquet`; `videossr dataset info DATASET --gates` prints them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from itertools import groupby

from videossr.sample import Rejection

DIGITS = 6
"""Significant digits of a value. It is rounded to its bad side, so no rounding lets a video pass."""

_ROUNDING = {True: Context(prec=DIGITS, rounding=ROUND_FLOOR), False: Context(prec=DIGITS, rounding=ROUND_CEILING)}


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that a gate looks at.

    A gate passes when all its measures pass. A video is admitted when all gates pass; of gates with the same `either`,
    one is enough. Measures of one gate follow each other, and so do gates with the same `either`.

    Attributes:
        gate: what is wrong where it fails, as in `Rejection.reason`: ``hidden_motion``.
        value: what was measured, rounded to `DIGITS`; may be infinite. Raises ValueError when it is not a number.
        threshold: what it is compared with.
        least: whether `threshold` is the least value that passes, or else the largest.
        setting: name of the threshold under the config of a category: ``limits.motion``. Empty where there is none,
            or where it also decides what other measures find. The value must not depend on it.
        either: what gates of which one is enough have in common.
    """

    gate: str
    value: float
    threshold: float
    least: bool = True
    setting: str = ""
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
        return margin(self.value, self.threshold, least=self.least)


def margin(value: float, threshold: float, *, least: bool) -> float:
    """Divide a value, 0 or more, by its threshold, or the threshold by the value where it is not `least`."""
    good, bad = (value, threshold) if least else (threshold, value)
    if good == bad:
        return 1.0
    return good / bad if bad > 0 else math.inf


def rejected(measures: Iterable[Measure]) -> Rejection | None:
    """Return None when a video with these measures is admitted, else its first failure.

    Nothing after it is asked for. Where one of several gates would have been enough, the failure is the one that comes
    nearest to passing.
    """
    failed = next((measure for measure in _deciding(measures) if not measure.passed), None)
    return Rejection(failed.gate, failed.value, failed.threshold) if failed else None


def weakest(measures: Iterable[Measure]) -> Measure | None:
    """Return the measure by which an admitted video came nearest to being rejected; None where nothing was asked."""
    return min(_deciding(measures), key=_order, default=None)


def _deciding(measures: Iterable[Measure]) -> Iterator[Measure]:
    """Yield measures; of several gates of which one is enough, only the weakest measure of the best one."""
    for either, members in groupby(measures, key=lambda measure: measure.either):
        if either:
            gates = groupby(members, key=lambda measure: measure.gate)
            yield max((min(own, key=_order) for _, own in gates), key=_order)
        else:
            yield from members


def _order(measure: Measure) -> tuple[bool, float]:
    return measure.passed, measure.margin


def measured(measures: Iterable[Measure]) -> list[Measure]:
    """List measures up to the first failure that no setting can mend; what follows may not be measurable."""
    found = []
    for measure in measures:
        found.append(measure)
        if not (measure.passed or measure.setting or measure.either):
            break
    return found
