"""`distribution_checks`: uniform p-values for answers that follow the distribution, and failures for others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from scipy import stats

from tests.helpers.synthetic_samples import (
    answer_only_counting_sample,
    draw_counts,
    draw_grounding_samples,
    draw_order,
    grounding_sample,
    jigsaw_sample,
)
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


def check_grounding(samples: Sequence[Sample]) -> Iterator[Check]:
    return distributions.distribution_checks("g", samples, open_task("grounding"), GROUNDING)


def check_easy_counting(samples: Sequence[Sample]) -> Iterator[Check]:
    return distributions.distribution_checks("c", samples, open_task("counting"), EASY)


def check_hard_counting(samples: Sequence[Sample]) -> Iterator[Check]:
    return distributions.distribution_checks("c", samples, open_task("counting"), HARD)


def check_jigsaw(samples: Sequence[Sample]) -> Iterator[Check]:
    return check_permutations(samples)


def check_released_jigsaw(samples: Sequence[Sample]) -> Iterator[Check]:
    return check_permutations(samples, identity=True)


def check_permutations(samples: Sequence[Sample], *, identity: bool = False) -> Iterator[Check]:
    config = JigsawConfig(pieces=len(samples[0].integers("order")), identity=identity)
    return distributions.distribution_checks("j", samples, open_task("jigsaw"), config)


Checker = Callable[[Sequence[Sample]], Iterator[Check]]
Draw = Callable[[np.random.Generator, int], list[Sample]]

TRUE_DISTRIBUTIONS: dict[str, tuple[Checker, Draw]] = {
    "grounding": (check_grounding, draw_grounding_samples),
    "easy": (check_easy_counting, lambda rng, n: [answer_only_counting_sample(c) for c in draw_counts(rng, 3, n)]),
    "hard": (check_hard_counting, lambda rng, n: [answer_only_counting_sample(c) for c in draw_counts(rng, 4, n)]),
    "jigsaw of 3": (check_jigsaw, lambda rng, n: [jigsaw_sample(draw_order(rng, 3)) for _ in range(n)]),
    "jigsaw of 3 with the identity": (
        check_released_jigsaw,
        lambda rng, n: [jigsaw_sample([int(piece) for piece in rng.permutation(3)]) for _ in range(n)],
    ),
    "jigsaw of 6": (check_jigsaw, lambda rng, n: [jigsaw_sample(draw_order(rng, 6)) for _ in range(n)]),
    "jigsaw of 8": (check_jigsaw, lambda rng, n: [jigsaw_sample(draw_order(rng, 8)) for _ in range(n)]),
}


def p_value(finding: Check) -> float:
    match = re.search(r"\bp ([\d.e+-]+)$", finding.text)
    assert match, finding
    return float(match[1])


@pytest.mark.parametrize("name", TRUE_DISTRIBUTIONS)
def test_distribution_checks_have_uniform_p_values_under_the_distribution(name: str) -> None:
    distribution, draw = TRUE_DISTRIBUTIONS[name]
    p_values: dict[str, list[float]] = {}
    for seed in range(DATASETS):
        for finding in distribution(draw(np.random.default_rng(seed), SAMPLES)):
            p_values.setdefault(finding.name, []).append(p_value(finding))
            assert finding.holds, finding
    for check, values in p_values.items():
        assert len(values) == DATASETS
        assert stats.kstest(values, "uniform").pvalue > 0.005, (check, np.quantile(values, [0.1, 0.5, 0.9]))


@pytest.mark.parametrize("pieces", [4, 6])
def test_covariance_of_permutation_matrices_has_the_rank_of_the_chi_square_test(pieces: int) -> None:
    """The covariance of permutation matrices, scaled as in the test, is a projection of rank (pieces - 1)^2."""
    rng = np.random.default_rng(pieces)
    shown = np.zeros((20_000, pieces * pieces))
    for row in shown:
        row.reshape(pieces, pieces)[np.arange(pieces), rng.permutation(pieces)] = 1
    scaled = (pieces - 1) / pieces * np.cov(shown.T) * pieces
    values = np.sort(np.linalg.eigvalsh(scaled))
    rank = (pieces - 1) ** 2
    assert np.allclose(values[:-rank], 0, atol=0.02)
    assert np.allclose(values[-rank:], 1, atol=0.15)


def _draw_skewed_length(rng: np.random.Generator) -> Sample:
    length = min(int(rng.integers(8, 17)), int(rng.integers(8, 17)))
    first = int(rng.integers(0, 48 - length + 1))
    return grounding_sample(first, first + length - 1)


def _draw_early(rng: np.random.Generator) -> Sample:
    length = int(rng.integers(8, 17))
    first = int(rng.integers(0, (48 - length) // 2))
    return grounding_sample(first, first + length - 1)


def _draw_pushed_back(rng: np.random.Generator) -> Sample:
    """Draw places as for segments of 8 slots and push them back where they do not fit: late places are too frequent."""
    length = int(rng.integers(8, 17))
    first = min(int(rng.integers(0, 41)), 48 - length)
    return grounding_sample(first, first + length - 1)


def _draw_near_identity(rng: np.random.Generator) -> Sample:
    order = list(range(6))
    place = int(rng.integers(5))
    order[place], order[place + 1] = order[place + 1], order[place]
    return jigsaw_sample(order)


def _draw_favoring_fixed_pieces(rng: np.random.Generator) -> Sample:
    """Draw an order in which some piece stays in its place more often than it should."""
    order = draw_order(rng, 6)
    return jigsaw_sample(order if sum(map(int.__eq__, order, range(6))) else draw_order(rng, 6))


def _draw_one_circle_per_slot(rng: np.random.Generator) -> Sample:
    return answer_only_counting_sample([int(rng.integers(1, 4)), *draw_counts(rng, 3, 1)[0][1:]])


SKEWED_DISTRIBUTIONS: dict[str, tuple[Checker, Callable[[np.random.Generator], Sample], set[str]]] = {
    "lengths skewed": (check_grounding, _draw_skewed_length, {"distribution of lengths"}),
    "positions early": (check_grounding, _draw_early, {"distribution of positions"}),
    "positions pushed back": (check_grounding, _draw_pushed_back, {"distribution of positions"}),
    "circles shown once a slot": (check_easy_counting, _draw_one_circle_per_slot, {"distribution of counts, circle"}),
    "counts uniform": (
        check_easy_counting,
        lambda rng: answer_only_counting_sample([int(count) for count in rng.integers(1, 10, 3)]),
        {"distribution of counts, circle", "distribution of counts, square", "distribution of counts, triangle"},
    ),
    "the identity missed": (
        check_released_jigsaw,
        lambda rng: jigsaw_sample(draw_order(rng, 3)),
        {"distribution of permutations"},
    ),
    "neighbors swapped": (check_jigsaw, _draw_near_identity, {"distribution of permutations"}),
    "pieces stay": (check_jigsaw, _draw_favoring_fixed_pieces, {"distribution of permutations"}),
}


@pytest.mark.parametrize("name", SKEWED_DISTRIBUTIONS)
def test_distribution_checks_notice_skewed_distributions(name: str) -> None:
    distribution, draw, wrong = SKEWED_DISTRIBUTIONS[name]
    for seed in range(10):
        rng = np.random.default_rng(seed)
        findings = list(distribution([draw(rng) for _ in range(2000)]))
        assert {finding.name for finding in findings if not finding.holds} == wrong


def test_distribution_checks_name_values_outside_the_distribution() -> None:
    rng = np.random.default_rng(0)
    findings = list(
        check_easy_counting(
            [answer_only_counting_sample([1, 2, 12]), *map(answer_only_counting_sample, draw_counts(rng, 3, 300))]
        )
    )
    assert [finding.holds for finding in findings] == [True, True, False]
    assert "[12]" in findings[2].text


def test_distribution_checks_know_that_speeds_never_end_with_the_last_slot() -> None:
    rng = np.random.default_rng(0)
    samples = []
    for length in rng.integers(8, 17, 20_000):
        first = int(rng.integers(48 - length))
        samples.append(grounding_sample(first, first + int(length) - 1))
    checks = {
        finding.name: finding
        for finding in distributions.distribution_checks(
            "g", samples, open_task("grounding"), GroundingConfig(perturbation="slow")
        )
    }
    assert checks["distribution of positions"].holds
    checks = {finding.name: finding for finding in check_grounding(samples)}
    assert not checks["distribution of positions"].holds


def test_distribution_checks_of_few_samples_give_no_verdict() -> None:
    rng = np.random.default_rng(0)
    for distribution, draw in TRUE_DISTRIBUTIONS.values():
        assert {finding.holds for finding in distribution(draw(rng, 6))} <= {None}


def test_chi_square_equals_that_of_scipy() -> None:
    observed = Counter({1: 30, 2: 50, 3: 20})
    finding = chi_square("check", observed, {1: 0.25, 2: 0.5, 3: 0.25})
    expected = stats.chisquare([30, 50, 20], [25, 50, 25])
    assert finding.text == f"chi2 {expected.statistic:.1f}, df 2, p {expected.pvalue:.3g}"
