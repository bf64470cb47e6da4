"""The checks hold for answers that follow a distribution, as often as their p-values say, and fail for others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from scipy import stats

from tests.helpers.synthetic import answered, counts, permutation, permuted, segment, segments
from videossr.answers.checks import Check, chi_square
from videossr.sample import Sample
from videossr.tasks.base import open_task
from videossr.tasks.counting import CountingConfig
from videossr.tasks.grounding import GroundingConfig
from videossr.tasks.jigsaw import JigsawConfig
from videossr.validation import distributions

DATASETS = 200
SAMPLES = 300

GROUNDING = GroundingConfig(perturbation="mirror")
EASY = CountingConfig(slots_max=3, instances_max=3)
HARD = CountingConfig(slots_max=4, instances_max=4)


def grounding(samples: Sequence[Sample]) -> Iterator[Check]:
    return distributions.distribution_checks("g", samples, open_task("grounding"), GROUNDING)


def easy(samples: Sequence[Sample]) -> Iterator[Check]:
    return distributions.distribution_checks("c", samples, open_task("counting"), EASY)


def hard(samples: Sequence[Sample]) -> Iterator[Check]:
    return distributions.distribution_checks("c", samples, open_task("counting"), HARD)


def jigsaw(samples: Sequence[Sample]) -> Iterator[Check]:
    return permutations(samples)


def released_jigsaw(samples: Sequence[Sample]) -> Iterator[Check]:
    return permutations(samples, identity=True)


def permutations(samples: Sequence[Sample], *, identity: bool = False) -> Iterator[Check]:
    config = JigsawConfig(pieces=len(samples[0].integers("order")), identity=identity)
    return distributions.distribution_checks("j", samples, open_task("jigsaw"), config)


Checker = Callable[[Sequence[Sample]], Iterator[Check]]
Draw = Callable[[np.random.Generator, int], list[Sample]]

TRUE: dict[str, tuple[Checker, Draw]] = {
    "grounding": (grounding, segments),
    "easy": (easy, lambda rng, n: [answered(c) for c in counts(rng, 3, n)]),
    "hard": (hard, lambda rng, n: [answered(c) for c in counts(rng, 4, n)]),
    "jigsaw of 3": (jigsaw, lambda rng, n: [permuted(permutation(rng, 3)) for _ in range(n)]),
    "jigsaw of 3 with the identity": (
        released_jigsaw,
        lambda rng, n: [permuted([int(piece) for piece in rng.permutation(3)]) for _ in range(n)],
    ),
    "jigsaw of 6": (jigsaw, lambda rng, n: [permuted(permutation(rng, 6)) for _ in range(n)]),
    "jigsaw of 8": (jigsaw, lambda rng, n: [permuted(permutation(rng, 8)) for _ in range(n)]),
}


def p_value(finding: Check) -> float:
    found = re.search(r"\bp ([\d.e+-]+)$", finding.text)
    assert found, finding
    return float(found[1])


@pytest.mark.parametrize("name", TRUE)
def test_p_values_are_uniform_under_the_distribution(name: str) -> None:
    distribution, draw = TRUE[name]
    found: dict[str, list[float]] = {}
    for seed in range(DATASETS):
        for finding in distribution(draw(np.random.default_rng(seed), SAMPLES)):
            found.setdefault(finding.name, []).append(p_value(finding))
            assert finding.holds, finding
    for check, values in found.items():
        assert len(values) == DATASETS
        assert stats.kstest(values, "uniform").pvalue > 0.005, (check, np.quantile(values, [0.1, 0.5, 0.9]))


@pytest.mark.parametrize("pieces", [4, 6])
def test_permutations_leave_as_many_degrees_of_freedom_as_is_said(pieces: int) -> None:
    """The covariance of a shown permutation's matrix, scaled as the test scales it, is a projection of that rank."""
    rng = np.random.default_rng(pieces)
    shown = np.zeros((20_000, pieces * pieces))
    for row in shown:
        row.reshape(pieces, pieces)[np.arange(pieces), rng.permutation(pieces)] = 1
    scaled = (pieces - 1) / pieces * np.cov(shown.T) * pieces
    values = np.sort(np.linalg.eigvalsh(scaled))
    free = (pieces - 1) ** 2
    assert np.allclose(values[:-free], 0, atol=0.02)
    assert np.allclose(values[-free:], 1, atol=0.15)


def _skewed(rng: np.random.Generator) -> Sample:
    length = min(int(rng.integers(8, 17)), int(rng.integers(8, 17)))
    first = int(rng.integers(0, 48 - length + 1))
    return segment(first, first + length - 1)


def _early(rng: np.random.Generator) -> Sample:
    length = int(rng.integers(8, 17))
    first = int(rng.integers(0, (48 - length) // 2))
    return segment(first, first + length - 1)


def _early_or_late(rng: np.random.Generator) -> Sample:
    """Places as for segments of 8 slots, pushed back where they do not fit: the end is too frequent."""
    length = int(rng.integers(8, 17))
    first = min(int(rng.integers(0, 41)), 48 - length)
    return segment(first, first + length - 1)


def _near_identity(rng: np.random.Generator) -> Sample:
    order = list(range(6))
    at = int(rng.integers(5))
    order[at], order[at + 1] = order[at + 1], order[at]
    return permuted(order)


def _favored(rng: np.random.Generator) -> Sample:
    """A piece stays in its place twice as often as it should."""
    order = permutation(rng, 6)
    return permuted(order if sum(map(int.__eq__, order, range(6))) else permutation(rng, 6))


def _one_instance(rng: np.random.Generator) -> Sample:
    return answered([int(rng.integers(1, 4)), *counts(rng, 3, 1)[0][1:]])


BENT: dict[str, tuple[Checker, Callable[[np.random.Generator], Sample], set[str]]] = {
    "lengths skewed": (grounding, _skewed, {"distribution of lengths"}),
    "positions early": (grounding, _early, {"distribution of positions"}),
    "positions pushed back": (grounding, _early_or_late, {"distribution of positions"}),
    "circles shown once a slot": (easy, _one_instance, {"distribution of counts, circle"}),
    "counts uniform": (
        easy,
        lambda rng: answered([int(count) for count in rng.integers(1, 10, 3)]),
        {"distribution of counts, circle", "distribution of counts, square", "distribution of counts, triangle"},
    ),
    "the identity missed": (
        released_jigsaw,
        lambda rng: permuted(permutation(rng, 3)),
        {"distribution of permutations"},
    ),
    "neighbors swapped": (jigsaw, _near_identity, {"distribution of permutations"}),
    "pieces stay": (jigsaw, _favored, {"distribution of permutations"}),
}


@pytest.mark.parametrize("name", BENT)
def test_skewed_distributions_are_noticed(name: str) -> None:
    distribution, draw, wrong = BENT[name]
    for seed in range(10):
        rng = np.random.default_rng(seed)
        findings = list(distribution([draw(rng) for _ in range(2000)]))
        assert {finding.name for finding in findings if not finding.holds} == wrong


def test_values_outside_a_distribution_are_named() -> None:
    rng = np.random.default_rng(0)
    findings = list(easy([answered([1, 2, 12]), *map(answered, counts(rng, 3, 300))]))
    assert [finding.holds for finding in findings] == [True, True, False]
    assert "[12]" in findings[2].text


def test_a_change_of_speed_never_ends_with_the_last_slot() -> None:
    rng = np.random.default_rng(0)
    samples = []
    for length in rng.integers(8, 17, 20_000):
        first = int(rng.integers(48 - length))
        samples.append(segment(first, first + int(length) - 1))
    checks = {
        finding.name: finding
        for finding in distributions.distribution_checks(
            "g", samples, open_task("grounding"), GroundingConfig(perturbation="slow")
        )
    }
    assert checks["distribution of positions"].holds
    checks = {finding.name: finding for finding in grounding(samples)}
    assert not checks["distribution of positions"].holds


def test_few_samples_are_not_judged() -> None:
    rng = np.random.default_rng(0)
    for distribution, draw in TRUE.values():
        assert {finding.holds for finding in distribution(draw(rng, 6))} <= {None}


def test_pearsons_statistic_is_scipys() -> None:
    observed = Counter({1: 30, 2: 50, 3: 20})
    finding = chi_square("check", observed, {1: 0.25, 2: 0.5, 3: 0.25})
    expected = stats.chisquare([30, 50, 20], [25, 50, 25])
    assert finding.text == f"chi2 {expected.statistic:.1f}, df 2, p {expected.pvalue:.3g}"
