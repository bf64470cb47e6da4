"""Measurements of a video by the gates of a task, and the decision whether the video is admitted.

Tasks yield measures; `videossr build` stores them in `gates.parquet`, and `videossr dataset info DATASET --gates`
prints them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from itertools import groupby

from videossr.sample import Rejection

DIGITS = 6
"""Significant digits of a value. It is rounded towards failing, so that rounding never admits a video."""

_ROUNDING = {True: Context(prec=DIGITS, rounding=ROUND_FLOOR), False: Context(prec=DIGITS, rounding=ROUND_CEILING)}


@dataclass(frozen=True, slots=True)
class Measure:
    """One number that a gate compares with a threshold.

    A gate passes when all its measures pass. A video is admitted when all gates pass; of gates with the same `either`,
    one is enough. Measures of one gate follow each other, and so do gates with the same `either`.

    Attributes:
        gate: name of the gate, which becomes `Rejection.reason` where it fails: ``hidden_motion``.
        value: the measured value, rounded to `DIGITS`; may be infinite.
        threshold: the number that the value is compared with.
        least: whether `threshold` is the least value that passes, or else the largest.
        setting: name of the threshold under the config of a category: ``limits.motion``. Empty where there is none,
            or where it also decides what other measures find. The value must not depend on it.
        either: name that the gates of a group share of which one is enough; empty for a gate that must pass.

    Raises:
        ValueError: `value` or `threshold` is not a number.
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
        """Return whether the value is on the good side of the threshold."""
        return self.value >= self.threshold if self.least else self.value <= self.threshold

    @property
    def margin(self) -> float:
        """Factor by which the value, 0 or more, is better than the threshold; below 1 the measure fails."""
        return margin(self.value, self.threshold, least=self.least)


def margin(value: float, threshold: float, *, least: bool) -> float:
    """Divide a value, 0 or more, by its threshold, or the threshold by the value where it is not `least`."""
    good, bad = (value, threshold) if least else (threshold, value)
    if good == bad:
        return 1.0
    return good / bad if bad > 0 else math.inf


def rejected(measures: Iterable[Measure]) -> Rejection | None:
    """Decide whether a video is admitted. Measures are taken from the iterable only up to the first failure.

    Args:
        measures: measures of one video by the gates of one task, in the order in which they are made.

    Returns:
        None when the video is admitted, else its first failure. Where one of several gates would have been enough,
        the failure is the one that comes nearest to passing.
    """
    failed = next((measure for measure in _deciding(measures) if not measure.passed), None)
    return Rejection(failed.gate, failed.value, failed.threshold) if failed else None


def weakest(measures: Iterable[Measure]) -> Measure | None:
    """Return the measure by which an admitted video came nearest to being rejected; None without measures."""
    return min(_deciding(measures), key=_order, default=None)


def _deciding(measures: Iterable[Measure]) -> Iterator[Measure]:
    """Yield the measures that decide; of gates of which one is enough, only the weakest measure of the best gate."""
    for either, members in groupby(measures, key=lambda measure: measure.either):
        if either:
            gates = groupby(members, key=lambda measure: measure.gate)
            yield max((min(of_gate, key=_order) for _, of_gate in gates), key=_order)
        else:
            yield from members


def _order(measure: Measure) -> tuple[bool, float]:
    return measure.passed, measure.margin


def measured(measures: Iterable[Measure]) -> list[Measure]:
    """List measures up to the first failure that no setting can mend; later ones may not be measurable."""
    listed = []
    for measure in measures:
        listed.append(measure)
        if not (measure.passed or measure.setting or measure.either):
            break
    return listed
