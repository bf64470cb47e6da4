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
    ("distribution", "uniform", "drawn", "constant"),
    [
        (EASY, 11.1, 13.9, 19.8),
        (HARD, 6.3, 8.5, 12.2),
        (SPANS, 20.8, 21.6, 30.6),
        (SIX, 0.1, 0.1, 0.1),
        (EIGHT, 0.0, 0.0, 0.0),
    ],
)
def test_the_benchmarks_chance_follows_from_the_distributions(
    distribution: AnswerDistribution, uniform: float, drawn: float, constant: float
) -> None:
    assert [percent(distribution.expected_score(guess).score) for guess in GUESSES[:3]] == [uniform, drawn, constant]


def test_smooth_rewards_have_high_floors() -> None:
    assert SIX.expected_score("uniform").smooth == pytest.approx(0.352, abs=5e-4)
    assert EIGHT.expected_score("uniform").smooth == pytest.approx(0.344, abs=5e-4)
    assert EASY.expected_score("smooth").smooth == pytest.approx(0.58, abs=5e-3)
    assert HARD.expected_score("smooth").smooth == pytest.approx(0.55, abs=5e-3)


def test_the_whole_clip_and_the_best_segment_that_could_be_gold() -> None:
    """Figures of the paper's distribution that one may compare with: 12 of 48 slots on average, 8 to 16."""
    expected = dict(zip(map(tuple, SPANS._every.tolist()), SPANS._expected, strict=True))
    assert expected[0, 47] == pytest.approx(0.25)
    assert max(expected[span] for span in SPANS.spans) == pytest.approx(0.279, abs=5e-4)
    assert SPANS.text("constant", np.random.default_rng(0), uniform_clock(48, 48000)) == "10.000-38.000"


@pytest.mark.parametrize("pieces", [3, 4])
def test_orders_against_every_pair_of_permutations(pieces: int) -> None:
    score = scorer("videossr/jigsaw")
    every = ["".join(map(str, order)) for order in permutations(range(1, pieces + 1))]
    gold = every[1:]  # the first is the identity
    best = OrderDistribution(pieces).text("constant", np.random.default_rng(0), uniform_clock(2, 2000))
    for guess, guesses in (("uniform", every), ("prior", gold), ("constant", [best])):
        found = [score(mine, true) for mine in guesses for true in gold]
        expected_score = OrderDistribution(pieces).expected_score(guess)  # type: ignore[arg-type]
        assert expected_score.score == pytest.approx(fmean(each.strict for each in found))
        assert expected_score.smooth == pytest.approx(fmean(each.smooth for each in found))
    means = {mine: fmean(score(mine, true).smooth for true in gold) for mine in every}
    assert means[best] == pytest.approx(max(means.values()))


def test_no_other_constant_is_better() -> None:
    """On draws from the distribution itself, scored by the reward: every count, and every pair of slots."""
    rng, clock = np.random.default_rng(1), uniform_clock(48, 48000)
    score = scorer("videossr/counting")
    gold = [HARD.text("prior", rng, clock) for _ in range(1000)]
    means = {n: fmean(fmean(score(f"{n},{n},{n}", true).parts) for true in gold) for n in range(1, 17)}
    assert f"{max(means, key=lambda n: means[n])}" == HARD.text("constant", rng, clock).split(",")[0]
    smooth = {n: fmean(score(f"{n},{n},{n}", true).smooth for true in gold) for n in range(1, 17)}
    assert f"{max(smooth, key=lambda n: smooth[n])}" == HARD.text("smooth", rng, clock).split(",")[0]
    score = scorer("videossr/grounding")
    gold = [SPANS.text("prior", rng, clock) for _ in range(300)]
    best = fmean(score(SPANS.text("constant", rng, clock), true).smooth for true in gold)
    others = [f"{a}-{b}" for a in range(0, 48, 4) for b in range(a + 4, 49, 4)]
    assert best > max(fmean(score(other, true).smooth for true in gold) for other in others) - 0.01


def test_derived_and_tried_agree_on_2700_questions(viubench: Drawn) -> None:
    found = blind_scores(viubench)
    assert len(viubench) == 2700
    assert len(found) == 9 * len(GUESSES)
    for each in found:
        # A score of none of 300 says no more than that it is below 3 of 300.
        assert each.simulated.score == pytest.approx(each.derived.score, abs=max(4 * each.error, 0.01)), each
        assert each.simulated.smooth == pytest.approx(each.derived.smooth, abs=0.05), each


def test_a_distribution_read_off_the_answers_is_near_the_true_one(viubench: Drawn) -> None:
    known = answer_distributions(viubench)
    asked: dict[str, list[Question]] = {}
    for index in range(len(viubench)):
        asked.setdefault(viubench.category(index), []).append(viubench.question(index))
    for category, distribution in known.items():
        for guess in GUESSES:
            read = distribution_of(asked[category]).expected_score(guess)
            assert read.score == pytest.approx(distribution.expected_score(guess).score, abs=0.025), (category, guess)
            assert read.smooth == pytest.approx(distribution.expected_score(guess).smooth, abs=0.05), (category, guess)


def test_models_answer_in_form_and_the_same_in_any_order(viubench: Drawn) -> None:
    asks = [
        Request(index, viubench.question(index), viubench.category(index), lambda: [])
        for index in range(0, len(viubench), 90)
    ]
    for spec in (CHANCE, CONSTANT):
        model = spec.load(viubench)
        one = {reply.index: reply.texts for reply in model.answer(asks, Decoding(n=2, seed=1))}
        other = {reply.index: reply.texts for reply in model.answer(asks[::-1], Decoding(n=2, seed=1))}
        assert one == other
        for ask in asks:
            scores = [scorer(ask.question.data_source)(text, ask.question.answer) for text in one[ask.index]]
            assert len(scores) == 2
            assert all(each.parsed for each in scores)
    seeds = [[reply.texts for reply in CHANCE.load(viubench).answer(asks, Decoding(seed=seed))] for seed in (1, 2)]
    assert seeds[0] != seeds[1]


def test_an_unknown_guess_is_refused(viubench: Drawn) -> None:
    with pytest.raises(ValueError, match="no guess 'lwa'"):
        type(CHANCE)(CHANCE.text, CHANCE.kind, "lwa", CHANCE.settings).load(viubench)


def test_a_task_of_which_nothing_is_known_is_guessed_from_its_answers() -> None:
    distribution = EmpiricalDistribution(ORDER, ("213", "213", "321", "231"))
    assert distribution.expected_score("uniform").score == pytest.approx(1 / 3)
    assert distribution.expected_score("prior").score == pytest.approx((4 + 1 + 1) / 16)
    assert distribution.expected_score("constant").score == pytest.approx(0.5)
    assert distribution.text("constant", np.random.default_rng(0), uniform_clock(2, 100)) == "213"
