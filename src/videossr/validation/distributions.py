"""Do the answers of a dataset follow the law that they were drawn from? Chi-square tests, one finding each.

Exercised by `videossr validate DATASET`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import factorial
from typing import Any

import numpy as np
from scipy import stats

from videossr.perturb import open_perturbation
from videossr.sample import Sample
from videossr.tasks.counting import CountingConfig, count_distribution
from videossr.tasks.grounding import GroundingConfig
from videossr.tasks.jigsaw import JigsawConfig
from videossr.validation.finding import CheckResult

ALPHA = 1e-4
"""A law is doubted when chance alone would look like this less often than once in 10,000 datasets."""

LEAST = 5.0
"""Values that are expected less often than this are tested together."""


def allowed(total: int, share: float) -> int:
    """Return how many of `total` cases may come of a probability of at most `share`, by a binomial test."""
    return int(stats.binom.isf(ALPHA, total, share))


def at_most(count: float, total: int, share: float) -> bool | None:
    """Tell whether `count` is `allowed`; None where there are so few cases that all of them would be."""
    most = allowed(total, share)
    return count <= most if most < total else None


def grounding(category: str, samples: Sequence[Sample], config: GroundingConfig) -> Iterator[CheckResult]:
    """Lengths are uniform; so are the places of a segment, given its length."""
    low, high = config.length
    perturbation = open_perturbation(config.perturbation)
    firsts = [sample.integer("first") for sample in samples]
    lengths = [sample.integer("last") - first + 1 for sample, first in zip(samples, firsts, strict=True)]
    span = range(low, high + 1)
    yield chi_square("law of lengths", category, Counter(lengths), dict.fromkeys(span, 1 / len(span)))
    places: Counter[int] = Counter()
    for length, count in Counter(lengths).items():
        starts = perturbation.starts(length, config)
        for start in starts:
            places[start] += count / len(starts)  # type: ignore[assignment]
    law = {start: expected / len(samples) for start, expected in places.items()}
    yield chi_square("law of positions", category, Counter(firsts), law)


def counting(category: str, samples: Sequence[Sample], config: CountingConfig) -> Iterator[CheckResult]:
    """The count of each shape follows the sum over its slots of its instances."""
    law = count_distribution(config.slots_max, config.instances_max)
    for place, shape in enumerate(config.shapes):
        counts = Counter(int(sample.answer.split(",")[place]) for sample in samples)
        yield chi_square(f"law of counts, {shape}", category, counts, law)


def jigsaw(category: str, samples: Sequence[Sample], config: JigsawConfig) -> Iterator[CheckResult]:
    """Test that every piece is shown at every position equally often, with or without the order 1 2 3 (`identity`)."""
    n = config.pieces
    shown = np.zeros((n, n))
    for sample in samples:
        shown[np.arange(n), sample.integers("order")] += 1
    stays = 1 / n if config.identity else (factorial(n - 1) - 1) / (factorial(n) - 1)
    expected = np.where(np.eye(n, dtype=bool), stays, (1 - stays) / (n - 1)) * len(samples)
    if len(samples) < LEAST * n:
        yield CheckResult("law of permutations", category, None, f"{len(samples)} samples are too few to test")
        return
    # Rows and columns of a sum of permutation matrices are bound, which leaves (n - 1)^2 degrees of freedom.
    statistic = float((n - 1) / n * ((shown - expected) ** 2 / expected).sum())
    p = float(stats.chi2.sf(statistic, (n - 1) ** 2))
    yield CheckResult(
        "law of permutations", category, p >= ALPHA, f"chi2 {statistic:.1f}, df {(n - 1) ** 2}, p {p:.3g}"
    )


LAWS: Mapping[str, Callable[[str, Sequence[Sample], Any], Iterator[CheckResult]]] = {
    "grounding": grounding,
    "counting": counting,
    "jigsaw": jigsaw,
}
"""For each task of this package, the laws that its answers must follow."""


def chi_square(check: str, category: str, observed: Mapping[int, int], law: Mapping[int, float]) -> CheckResult:
    """Pearson's chi-square test of `observed` counts against the probabilities `law`, rare values pooled."""
    total = sum(observed.values())
    if outside := sorted(set(observed) - set(law)):
        return CheckResult(check, category, False, f"values that the law does not give: {outside[:5]}")
    cells: list[tuple[float, float]] = []
    pool_seen = pool_expected = 0.0
    for value, probability in sorted(law.items()):
        pool_seen += observed.get(value, 0)
        pool_expected += probability * total
        if pool_expected >= LEAST:
            cells.append((pool_seen, pool_expected))
            pool_seen = pool_expected = 0.0
    if cells and pool_expected:
        seen, expected = cells.pop()
        cells.append((seen + pool_seen, expected + pool_expected))
    if len(cells) < 2:
        return CheckResult(check, category, None, f"{total} samples are too few to test")
    statistic = sum((seen - expected) ** 2 / expected for seen, expected in cells)
    p = float(stats.chi2.sf(statistic, len(cells) - 1))
    return CheckResult(check, category, p >= ALPHA, f"chi2 {statistic:.1f}, df {len(cells) - 1}, p {p:.3g}")
