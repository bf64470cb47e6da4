"""Scores: the paper's metrics on given answers, both denominators, and the coverage of the intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from tests.bench.conftest import CONSTANT, Drawn, a_run, not_none, prediction
from videossr.bench.evaluation import evaluate
from videossr.bench.outcomes import outcomes
from videossr.bench.records import UNREAD, Prediction
from videossr.bench.scoring import RESAMPLES, Estimate, Resampler, metric_of, score, widen
from videossr.bench.viubench import CATEGORIES, ability, published

TRIALS = 1500
GOLD = "341562"


def test_score_uses_the_metric_of_each_task() -> None:
    board = score(
        a_run(
            prediction(0, "counting/easy", "3,1,4", "3,1,4"),
            prediction(1, "counting/easy", "3,1,4", "3,2,5"),  # one of three shapes
            prediction(2, "grounding/mirror", "10-20", "15-20"),
            prediction(3, "grounding/mirror", "10-20", "10-20"),
            prediction(4, "jigsaw/6", "341562", "341562"),
            prediction(5, "jigsaw/6", "341562", "341526"),  # nearly right is wrong
        )
    )
    categories = {category.category: category for category in board.categories}
    assert [(name, category.metric) for name, category in categories.items()] == [
        ("counting/easy", "per_shape"),
        ("grounding/mirror", "miou"),
        ("jigsaw/6", "exact"),
    ]
    assert [not_none(category.score).value for category in categories.values()] == pytest.approx(
        [(1 + 1 / 3) / 2, 0.75, 0.5]
    )
    assert not_none(categories["counting/easy"].strict).value == 0.5
    assert not_none(categories["counting/easy"].smooth).value == pytest.approx((1 + (1 + 0 + 0.75) / 3) / 2)
    assert not_none(categories["jigsaw/6"].smooth).value > 0.9
    assert not_none(board.overall).value == pytest.approx(fmean([2 / 3, 0.75, 0.5]))
    assert board.tasks == {category.task: category.score for category in categories.values()}
    assert {name: not_none(category).value for name, category in board.abilities.items()} == pytest.approx(
        {"fine-grained": 2 / 3, "spatial": 0.75, "temporal": 0.5}
    )


def test_score_counts_failed_and_unparsed_answers_as_wrong_unless_left_out() -> None:
    run = a_run(
        prediction(0, "jigsaw/6", "341562", "341562"),
        prediction(1, "jigsaw/6", "341562", "I cannot tell"),
        prediction(2, "jigsaw/6", "341562", error="no frames"),
        prediction(3, "jigsaw/6", "341562", "123456"),
        prediction(4, "counting/easy", "1,1,1", error="no frames"),
        size=10,
    )
    board = score(run)
    jigsaw, counting = board.categories[1], board.categories[0]
    assert (jigsaw.asked, jigsaw.answered, jigsaw.parsed) == (4, 3, 2)
    assert not_none(jigsaw.score).value == 0.25
    assert jigsaw.answered_score is not None
    assert jigsaw.answered_score.value == 0.5
    assert counting.score is None, "nothing of it was answered"
    assert counting.answered_score is None
    assert board.coverage == 0.3
    assert board.unparsed == pytest.approx(1 / 3)
    assert not_none(board.overall).value == 0.125
    released = score(run, "answered")
    assert not_none(released.overall).value == 0.25
    assert released.categories == board.categories


def test_score_averages_several_answers_to_a_question() -> None:
    run = a_run(
        prediction(0, "jigsaw/6", "341562", "341562", "123456", "?", "?"), prediction(1, "jigsaw/6", "341562", "?", "?")
    )
    (category,) = score(run).categories
    assert not_none(category.score).value == pytest.approx(0.125)
    assert category.parsed == 1
    assert category.answered_score is not None
    assert category.answered_score.value == pytest.approx(0.5)
    assert score(run).unparsed == pytest.approx(0.75)


def test_score_counts_an_unread_question_in_its_category() -> None:
    blank = Prediction("#1", 1, "jigsaw/6", "", "", {}, (), 0, error="question: ValueError: altered")
    (category,) = score(a_run(prediction(0, "jigsaw/6", "341562", "341562"), blank)).categories
    assert (category.task, category.asked, category.answered, not_none(category.score).value) == ("jigsaw", 2, 1, 0.5)


@pytest.mark.parametrize("videos", [6, 14, 30])
@pytest.mark.parametrize("mean", [0.2, 0.5])
def test_widen_covers_the_mean_nearly_as_often_as_claimed(videos: int, mean: float) -> None:
    """Of intervals for a known distribution 90% to 95% cover its mean, more than of the plain bootstrap's."""
    rng = np.random.default_rng(0)
    covered = {"bootstrap": 0, "widened": 0}
    for _ in range(TRIALS):
        scores = rng.beta(4 * mean, 4 * (1 - mean), videos)
        low, high = np.quantile(rng.choice(scores, (400, videos)).mean(axis=1), [0.025, 0.975])
        estimate = Estimate(float(scores.mean()), float(low), float(high))
        widened = widen(estimate, videos)
        covered["bootstrap"] += estimate.low <= mean <= estimate.high
        covered["widened"] += widened.low <= mean <= widened.high
    assert covered["widened"] / TRIALS > 0.89
    assert covered["bootstrap"] < covered["widened"]


def test_widen_gives_the_whole_range_for_fewer_than_six_videos() -> None:
    for low, high in ((0.3, 0.5), (0.4, 0.4)):
        assert widen(Estimate(0.4, low, high), 5) == Estimate(0.4, 0.0, 1.0)
        assert widen(Estimate(0.4, low, high), 6).high < 0.7


def test_widen_follows_its_formulas() -> None:
    constant = widen(Estimate(0.4, 0.4, 0.4), 10)
    least = 0.025**0.1
    assert (constant.value, constant.low, constant.high) == pytest.approx((0.4, 0.4 * least, 1 - 0.6 * least))
    factor = 2.570582 / 1.959964 * 1.2**0.5  # t of five degrees of freedom, and the normal distribution's
    widened = widen(Estimate(0.5, 0.4, 0.55), 6)
    assert (widened.value, widened.low, widened.high) == pytest.approx((0.5, 0.5 - 0.1 * factor, 0.5 + 0.05 * factor))
    assert widen(Estimate(0.9, 0.7, 0.99), 6).high == 1
    assert widen(Estimate(0.1, 0.01, 0.3), 6).low == 0


def test_scoreboard_names_its_run_hash_and_denominator() -> None:
    run = a_run(prediction(0, "jigsaw/6", "341562", "341562"), name="mine", hash="0f" * 32)
    board = score(run)
    assert (board.run, board.hash, board.denominator) == ("mine", "0f" * 32, "asked")
    assert board.outcomes == outcomes(run)
    assert score(run, "answered").denominator == "answered"
    assert metric_of("riddle") == "exact"


def test_score_leaves_out_the_unread_category_where_there_are_others() -> None:
    unread = prediction(1, UNREAD, "", data_source="", error="gone")
    alone = score(a_run(unread))
    assert (alone.overall, alone.unparsed) == (None, None)
    assert [(category.task, category.score, category.smooth, category.strict) for category in alone.categories] == [
        ("?", None, None, None)
    ]
    garbled = prediction(2, UNREAD, "1-2", "1-2", data_source="grounding")
    assert not_none(score(a_run(garbled)).overall).value == 1
    board = score(a_run(prediction(0, "jigsaw/6", "341562", "123456"), garbled))
    assert len(board.categories) == 2
    assert not_none(board.overall).value == 0


def test_resampler_weighs_every_question_alike() -> None:
    one, two, three = (
        prediction(index, "jigsaw/6", GOLD, GOLD, source=video) for index, video in enumerate(["a", "a", "b"])
    )
    (mean,) = Resampler([one, two, three]).means({0: 0.0, 1: 1.0, 2: 1.0})
    assert mean.value == pytest.approx(2 / 3)
    assert np.unique(mean.drawn) == pytest.approx([1 / 2, 2 / 3, 1])


def test_resampler_keeps_the_mean_where_a_resample_has_no_question() -> None:
    predictions = [prediction(index, "jigsaw/6", GOLD, GOLD, source=f"v{index}") for index in range(3)]
    alone, pair = Resampler(predictions).means({0: 1.0}, {0: 0.0, 1: 1.0})
    assert set(alone.drawn) == {1.0}
    # Of 27 equally likely draws of three videos, one has neither of both, and six have each once.
    assert float((pair.drawn == 0.5).mean()) == pytest.approx(7 / 27, abs=0.03)


def test_resampler_draws_all_resamples_for_many_videos() -> None:
    predictions = [prediction(index, "jigsaw/6", GOLD, GOLD, source=f"v{index}") for index in range(1500)]
    (mean,) = Resampler(predictions).means(dict.fromkeys(range(1500), 0.5))
    assert mean.drawn.shape == (RESAMPLES,)


def test_score_keeps_the_category_names_of_released_rows() -> None:
    jigsaw = prediction(0, "jigsaw_6", "341562", "341562", data_source="shuffled")
    grounding = prediction(1, "g", "1-2", "1-2", data_source="grounding", difficulty={"perturbation": "zoom_out"})
    board = score(a_run(jigsaw, grounding))
    assert {category.category: (category.task, category.metric) for category in board.categories} == {
        "g": ("grounding", "miou"),
        "jigsaw_6": ("jigsaw", "exact"),
    }
    assert board.abilities.keys() == {"spatial", "temporal"}


def test_score_names_a_damaged_gold_answer() -> None:
    with pytest.raises(ValueError, match="question q7: gold answer 'x'"):
        score(a_run(prediction(7, "jigsaw/6", "x", "123456")))
    with pytest.raises(ValueError, match="no predictions yet"):
        score(a_run())


def test_score_orders_categories_as_the_paper() -> None:
    names = [*CATEGORIES, "another/one"]
    predictions = [
        prediction(index, name, "1-2", "1-2", data_source="grounding") for index, name in enumerate(reversed(names))
    ]
    board = score(a_run(*predictions))
    assert [category.category for category in board.categories] == names


def test_ability_of_the_papers_categories() -> None:
    abilities = [ability(category, category.partition("/")[0]) for category in CATEGORIES]
    assert abilities == ["fine-grained"] * 3 + ["spatial"] * 3 + ["temporal"] * 3
    assert ability("grounding/swap", "grounding") is None


def test_published_rows_are_complete_and_consistent() -> None:
    rows = {row.model: row for row in published()}
    assert len(rows) == 14
    assert rows["VideoSSR-8B"].categories["grounding/zoom_out"] == 94.4
    assert rows["GPT-5"].overall == 58.7
    for row in rows.values():
        assert tuple(row.categories) == CATEGORIES
        assert row.overall == pytest.approx(fmean(row.categories.values()), abs=0.11)


def random_predictions(rng: np.random.Generator, count: int, videos: int, share: float) -> list[Prediction]:
    """Answers that are right by chance; all answers about one video are alike."""
    correct = rng.random(videos) < share
    return [
        prediction(
            index, "jigsaw/6", "341562", "341562" if correct[index % videos] else "123456", source=f"v{index % videos}"
        )
        for index in range(count)
    ]


def test_score_interval_is_binomial_where_every_question_has_its_own_video() -> None:
    predictions = random_predictions(np.random.default_rng(3), 400, 400, 0.3)
    estimate = not_none(score(a_run(*predictions)).categories[0].score)
    error = (estimate.value * (1 - estimate.value) / 400) ** 0.5
    assert estimate.low == pytest.approx(estimate.value - 1.96 * error, abs=0.15 * error)
    assert estimate.high == pytest.approx(estimate.value + 1.96 * error, abs=0.15 * error)


def test_score_interval_is_wider_where_questions_share_videos() -> None:
    predictions = random_predictions(np.random.default_rng(3), 400, 40, 0.3)
    board = score(a_run(*predictions))
    alone = score(a_run(*(replace(prediction, source="") for prediction in predictions)))
    assert board.videos == 40
    assert alone.videos == 400
    wide, narrow = (not_none(scores.overall).high - not_none(scores.overall).low for scores in (board, alone))
    assert wide == pytest.approx(narrow * 10**0.5, rel=0.1)
    assert board.overall == score(a_run(*predictions)).overall, "the same run has the same interval each time"


def test_score_intervals_cover_the_true_share() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(150):
        estimate = not_none(score(a_run(*random_predictions(rng, 120, 60, 0.4))).overall)
        covered += estimate.low <= 0.4 <= estimate.high
    assert 0.88 <= covered / 150 <= 0.99


def test_score_of_a_constant_on_2700_questions_is_its_expected_score(viubench: Drawn, tmp_path: Path) -> None:
    run = evaluate(viubench, CONSTANT, tmp_path / "run")
    assert run.manifest is not None
    board = score(run)
    assert board.coverage == 1
    assert not_none(board.overall).value == pytest.approx(0.206, abs=0.015)
    for category in board.categories:
        worth = run.manifest["chance"][category.category]["constant"]["score"]
        assert not_none(category.score).value == pytest.approx(worth, abs=0.05)
