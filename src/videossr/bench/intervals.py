"""Shares, and how sure they are, where they may be 0 or 1: Wilson's interval.

A bootstrap of questions that all failed would say 0 for sure. Exercised by
`videossr bench probe DATASET --model chance --out PROBE`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist, fmean

from videossr.bench.scoring import Estimate, t_quantile

CONFIDENCE = 0.95


def wilson_share(values: Sequence[float], sources: Sequence[str], draws: int = 1) -> Estimate:
    """Average a yes or no that was drawn `draws` times for each question; `values` are the questions' means.

    Draws for one question are alike, and so are questions on one video. They count as the number of independent draws
    whose mean would vary as much as it does from video to video (Korn and Graubard 1998, with their allowance for few
    of these); never for fewer than one draw a video would give, nor for more than were made. With one draw a question
    and a video for each, it is plainly Wilson's interval.

    Args:
        values: in [0, 1], one for each question.
        sources: the video of each question; an empty one is shared with no other question.
        draws: for each question.

    Raises ValueError where there is no question.
    """
    if not values:
        raise ValueError("a share of no questions")
    value, count = fmean(values), len(values)
    together: dict[str, list[float]] = defaultdict(list)
    for place, (found, source) in enumerate(zip(values, sources, strict=True)):
        together[source or f"\n{place}"].append(found - value)
    videos = len(together)
    least = count**2 / sum(len(members) ** 2 for members in together.values())
    spread = sum(sum(members) ** 2 for members in together.values()) / count**2
    size = least
    if 0 < value < 1 and videos > 1:
        spread *= videos / (videos - 1)
        quantile = (1 + CONFIDENCE) / 2
        allowance = (NormalDist().inv_cdf(quantile) / t_quantile(quantile, videos - 1)) ** 2
        most = float(count * draws)
        size = max(least, allowance * (min(most, value * (1 - value) / spread) if spread else most))
    return _wilson(value, size)


def _wilson(value: float, count: float) -> Estimate:
    """Compute Wilson's interval for a share `value` of `count` independent draws."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    middle = (value + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * sqrt(value * (1 - value) / count + z * z / (4 * count * count))
    return Estimate(value, min(value, max(0.0, middle - reach)), max(value, min(1.0, middle + reach)))
