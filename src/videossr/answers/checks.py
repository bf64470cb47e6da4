"""Tests of answers, for `videossr validate`: do they follow their distribution, and does anything give them away?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from videossr.clock import Clock
from videossr.question import Truth

ALPHA = 1e-4
"""A test fails when chance alone would look like this less often than once in 10,000 datasets."""

LEAST = 5.0
"""Values that are expected less often than this are tested together."""

FEW = 10
"""Values below which no correlation is tested."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """A gold answer of a dataset, the clock of its clips, and what it rests on."""

    answer: str
    clock: Clock
    truth: Truth


@dataclass(frozen=True, slots=True)
class Check:
    """A test of a dataset: its name, whether it holds, what was measured, and the category that it is about.

    `holds` is None for a figure that is reported without a bound, and where there are too few answers to tell.
    `category` is empty for the whole dataset; `videossr validate` fills it in for the tests of a category's answers.
    """

    name: str
    holds: bool | None
    text: str
    category: str = ""


def chi_square(name: str, observed: Mapping[int, float], probabilities: Mapping[int, float]) -> Check:
    """Test by Pearson's chi-square whether counts follow a distribution.

    Args:
        name: of the check.
        observed: how often each value was seen.
        probabilities: of each value; neighboring rare values are pooled.
    """
    total = sum(observed.values())
    if outside := sorted(set(observed) - set(probabilities)):
        return Check(name, False, f"values of probability 0: {outside[:5]}")
    cells: list[tuple[float, float]] = []
    pool_seen = pool_expected = 0.0
    for value, probability in sorted(probabilities.items()):
        pool_seen += observed.get(value, 0)
        pool_expected += probability * total
        if pool_expected >= LEAST - _ROUNDING:
            cells.append((pool_seen, pool_expected))
            pool_seen = pool_expected = 0.0
    if cells and pool_expected:
        seen, expected = cells.pop()
        cells.append((seen + pool_seen, expected + pool_expected))
    if len(cells) < 2:
        return Check(name, None, f"{total} samples are too few to test")
    statistic = sum((seen - expected) ** 2 / expected for seen, expected in cells)
    return judge(name, statistic, len(cells) - 1)


def judge(name: str, statistic: float, freedom: int) -> Check:
    """Judge a chi-square statistic of so many degrees of freedom."""
    from scipy import stats  # takes half a second, and answer types are imported wherever a dataset is read

    p = float(stats.chi2.sf(statistic, freedom))
    return Check(name, p >= ALPHA, f"chi2 {statistic:.1f}, df {freedom}, p {p:.3g}")


def independent(name: str, causes: Sequence[float], effects: Sequence[float]) -> Check:
    """Test that effects do not follow from causes, (N,) each, by Spearman's rank correlation."""
    if len(set(causes)) < 3 or len(set(effects)) < 3 or len(causes) < FEW:
        return Check(name, None, f"{len(causes)} values are too few to test")
    from scipy import stats

    result = stats.spearmanr(causes, effects)
    text = f"Spearman {result.statistic:+.3f}, n {len(causes)}, p {result.pvalue:.3g}"
    return Check(name, bool(result.pvalue >= ALPHA), text)
