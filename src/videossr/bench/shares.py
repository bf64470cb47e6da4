"""Shares, and how sure they are, where they may be 0 or 1: Wilson's interval.

A bootstrap of questions that all failed would say 0 for sure. Exercised by
`videossr bench probe DATASET --model chance --out PROBE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, variance

from scipy import stats

from videossr.bench.score import Estimate

CONFIDENCE = 0.95


def share(flags: Sequence[bool]) -> Estimate:
    """How many of some questions have a property, as a share. Raises ValueError where there is no question."""
    return _wilson(fmean(flags), len(flags))


def rate(means: Sequence[float], draws: int) -> Estimate:
    """The mean of a yes or no that was drawn `draws` times for each question, of which `means` are the means.

    Draws for one question are alike, so they do not count in full: they count as the number of independent draws whose
    mean would vary as much, which is never fewer than one for each question (Korn and Graubard, 1998, whose allowance
    for few questions is made too).

    Raises ValueError where there is no question.
    """
    value, count = fmean(means), len(means)
    spread = variance(means) / count if count > 1 else 0.0
    worth = float(count)
    if spread and count > 1:
        quantile = (1 + CONFIDENCE) / 2
        allowance = float(stats.norm.ppf(quantile) / stats.t.ppf(quantile, count - 1)) ** 2
        worth = min(max(value * (1 - value) / spread * allowance, count), count * draws)
    return _wilson(value, worth)


def _wilson(value: float, count: float) -> Estimate:
    """The interval for a share `value` of `count` independent draws."""
    if not count:
        raise ValueError("a share of no questions")
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    middle = (value + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * sqrt(value * (1 - value) / count + z * z / (4 * count * count))
    return Estimate(value, min(value, max(0.0, middle - reach)), max(value, min(1.0, middle + reach)))
