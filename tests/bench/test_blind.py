"""Expected scores of guesses against enumeration, against 2700 drawn questions, and against other constants."""

from __future__ import annotations

from itertools import permutations
from statistics import fmean

import numpy as np
import pytest

from tests.bench.conftest import CHANCE, CONSTANT, Drawn
from videossr.answers.base import GUESSES, AnswerDistribution, EmpiricalDistribution
from videossr.answers.counts import CountDistribution, count_distribution
from videossr.answers.interval import SpanDistribution
from videossr.answers.order import ORDER, OrderDistribution
from videossr.bench.blind import blind_scores
from videossr.clock import uniform_clock
from videossr.models.answer_distribution import answer_distributions, distribution_of
from videossr.models.base import Decoding, Request
from videossr.question import Question
from videossr.rewards import scorer
from videossr.tasks.grounding import GroundingConfig, span_distribution

EASY, HARD = CountDistribution(3, count_distribution(3, 3)), CountDistribution(3, count_distribution(4, 4))
SPANS = SpanDistribution(48, span_distribution(GroundingConfig(perturbation="mirror")))
SIX, EIGHT = OrderDistribution(6), OrderDistribution(8)


def percent(share: float) -> float:
    return round(100 * share + 1e-9, 1)


@pytest.mark.parametrize(
    ("distribution", "uniform", "prior", "constant"),
    [
        (EASY, 11.1, 13.9, 19.8),
        (HARD, 6.3, 8.5, 12.2),
        (SPANS, 20.8, 21.6, 30.6),
        (SIX, 0.1, 0.1, 0.1),
        (EIGHT, 0.0, 0.0, 0.0),
    ],
)
def test_expected_score_of_the_benchmarks_distributions(
    distribution: AnswerDistribution, uniform: float, prior: float, constant: float
) -> None:
    assert [percent(distribution.expected_score(guess).score) for guess in GUESSES[:3]] == [uniform, prior, constant]


def test_expected_score_smooth_of_the_benchmarks_distributions() -> None:
    assert SIX.expected_score("uniform").smooth == pytest.approx(0.352, abs=5e-4)
    assert EIGHT.expected_score("uniform").smooth == pytest.approx(0.344, abs=5e-4)
    assert EASY.expected_score("smooth").smooth == pytest.approx(0.58, abs=5e-3)
    assert HARD.expected_score("smooth").smooth == pytest.approx(0.55, abs=5e-3)


def test_span_distribution_expected_scores_of_the_whole_clip_and_the_best_segment() -> None:
    """A segment of the paper's distribution has 12 of the 48 slots on average, at least 8 and at most 16."""
    scores = dict(zip(map(tuple, SPANS._every.tolist()), SPANS._expected, strict=True))
    assert scores[0, 47] == pytest.approx(0.25)
    assert max(scores[span] for span in SPANS.spans) == pytest.approx(0.279, abs=5e-4)
    assert SPANS.text("constant", np.random.default_rng(0), uniform_clock(48, 48000)) == "10.000-38.000"


@pytest.mark.parametrize("pieces", [3, 4])
def test_order_distribution_agrees_with_enumeration(pieces: int) -> None:
    score = scorer("videossr/jigsaw")
    orders = ["".join(map(str, order)) for order in permutations(range(1, pieces + 1))]
    gold = orders[1:]  # the first is the identity
    best = OrderDistribution(pieces).text("constant", np.random.default_rng(0), uniform_clock(2, 2000))
    for guess, guesses in (("uniform", orders), ("prior", gold), ("constant", [best])):
        scores = [score(guessed, answer) for guessed in guesses for answer in gold]
        expected_score = OrderDistribution(pieces).expected_score(guess)  # type: ignore[arg-type]
        assert expected_score.score == pytest.approx(fmean(reward.strict for reward in scores))
        assert expected_score.smooth == pytest.approx(fmean(reward.smooth for reward in scores))
    means = {guessed: fmean(score(guessed, answer).smooth for answer in gold) for guessed in orders}
    assert means[best] == pytest.approx(max(means.values()))


def test_constant_guess_is_the_best_constant() -> None:
    """Compare the constant with every count, and with every pair of slots, on draws from the distribution."""
    rng, clock = np.random.default_rng(1), uniform_clock(48, 48000)
    score = scorer("videossr/counting")
    gold = [HARD.text("prior", rng, clock) for _ in range(1000)]
    means = {n: fmean(fmean(score(f"{n},{n},{n}", answer).parts) for answer in gold) for n in range(1, 17)}
    assert f"{max(means, key=lambda n: means[n])}" == HARD.text("constant", rng, clock).split(",")[0]
    smooth = {n: fmean(score(f"{n},{n},{n}", answer).smooth for answer in gold) for n in range(1, 17)}
    assert f"{max(smooth, key=lambda n: smooth[n])}" == HARD.text("smooth", rng, clock).split(",")[0]
    score = scorer("videossr/grounding")
    gold = [SPANS.text("prior", rng, clock) for _ in range(300)]
    best = fmean(score(SPANS.text("constant", rng, clock), answer).smooth for answer in gold)
    others = [f"{a}-{b}" for a in range(0, 48, 4) for b in range(a + 4, 49, 4)]
    assert best > max(fmean(score(other, answer).smooth for answer in gold) for other in others) - 0.01


def test_blind_scores_derived_and_simulated_agree(viubench: Drawn) -> None:
    scores = blind_scores(viubench)
    assert len(viubench) == 2700
    assert len(scores) == 9 * len(GUESSES)
    for blind in scores:
        # A score of none of 300 says no more than that it is below 3 of 300.
        assert blind.simulated.score == pytest.approx(blind.derived.score, abs=max(4 * blind.error, 0.01)), blind
        assert blind.simulated.smooth == pytest.approx(blind.derived.smooth, abs=0.05), blind


def test_distribution_of_answers_is_near_the_true_distribution(viubench: Drawn) -> None:
    distributions = answer_distributions(viubench)
    questions: dict[str, list[Question]] = {}
    for index in range(len(viubench)):
        questions.setdefault(viubench.category(index), []).append(viubench.question(index))
    for category, distribution in distributions.items():
        for guess in GUESSES:
            estimated = distribution_of(questions[category]).expected_score(guess)
            assert estimated.score == pytest.approx(distribution.expected_score(guess).score, abs=0.025), (
                category,
                guess,
            )
            assert estimated.smooth == pytest.approx(distribution.expected_score(guess).smooth, abs=0.05), (
                category,
                guess,
            )


def test_chance_and_constant_answer_in_form_and_alike_in_any_order(viubench: Drawn) -> None:
    requests = [
        Request(index, viubench.question(index), viubench.category(index), lambda: [])
        for index in range(0, len(viubench), 90)
    ]
    for spec in (CHANCE, CONSTANT):
        model = spec.load(viubench)
        forwards = {response.index: response.texts for response in model.answer(requests, Decoding(n=2, seed=1))}
        backwards = {response.index: response.texts for response in model.answer(requests[::-1], Decoding(n=2, seed=1))}
        assert forwards == backwards
        for request in requests:
            scores = [
                scorer(request.question.data_source)(text, request.question.answer) for text in forwards[request.index]
            ]
            assert len(scores) == 2
            assert all(reward.parsed for reward in scores)
    seeds = [
        [response.texts for response in CHANCE.load(viubench).answer(requests, Decoding(seed=seed))] for seed in (1, 2)
    ]
    assert seeds[0] != seeds[1]


def test_chance_refuses_an_unknown_guess(viubench: Drawn) -> None:
    with pytest.raises(ValueError, match="no guess 'lwa'"):
        type(CHANCE)(CHANCE.text, CHANCE.kind, "lwa", CHANCE.settings).load(viubench)


def test_empirical_distribution_guesses_from_the_answers() -> None:
    distribution = EmpiricalDistribution(ORDER, ("213", "213", "321", "231"))
    assert distribution.expected_score("uniform").score == pytest.approx(1 / 3)
    assert distribution.expected_score("prior").score == pytest.approx((4 + 1 + 1) / 16)
    assert distribution.expected_score("constant").score == pytest.approx(0.5)
    assert distribution.text("constant", np.random.default_rng(0), uniform_clock(2, 100)) == "213"
