"""Scores: the paper's counting on answers made by hand, both denominators, and intervals that hold what they claim."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from tests.bench.conftest import CONSTANT, Drawn, a_run, known, prediction
from videossr.bench.evaluation import evaluate
from videossr.bench.outcomes import outcomes
from videossr.bench.records import UNREAD, Prediction
from videossr.bench.scoring import RESAMPLES, Estimate, Resampler, metric_of, score, widen
from videossr.bench.viubench import CATEGORIES, ability, published

TRIALS = 1500
GOLD = "341562"


def test_each_task_is_scored_by_its_own_metric() -> None:
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
    found = {each.category: each for each in board.categories}
    assert [(name, each.metric) for name, each in found.items()] == [
        ("counting/easy", "per_shape"),
        ("grounding/mirror", "miou"),
        ("jigsaw/6", "exact"),
    ]
    assert [known(each.score).value for each in found.values()] == pytest.approx([(1 + 1 / 3) / 2, 0.75, 0.5])
    assert known(found["counting/easy"].strict).value == 0.5
    assert known(found["counting/easy"].smooth).value == pytest.approx((1 + (1 + 0 + 0.75) / 3) / 2)
    assert known(found["jigsaw/6"].smooth).value > 0.9
    assert known(board.overall).value == pytest.approx(fmean([2 / 3, 0.75, 0.5]))
    assert board.tasks == {each.task: each.score for each in found.values()}
    assert {name: known(each).value for name, each in board.abilities.items()} == pytest.approx(
        {"fine-grained": 2 / 3, "spatial": 0.75, "temporal": 0.5}
    )


def test_what_fails_or_does_not_parse_is_wrong_unless_it_is_left_out() -> None:
    made = a_run(
        prediction(0, "jigsaw/6", "341562", "341562"),
        prediction(1, "jigsaw/6", "341562", "I cannot tell"),
        prediction(2, "jigsaw/6", "341562", error="no frames"),
        prediction(3, "jigsaw/6", "341562", "123456"),
        prediction(4, "counting/easy", "1,1,1", error="no frames"),
        size=10,
    )
    board = score(made)
    jigsaw, counting = board.categories[1], board.categories[0]
    assert (jigsaw.asked, jigsaw.answered, jigsaw.parsed) == (4, 3, 2)
    assert known(jigsaw.score).value == 0.25
    assert jigsaw.answered_score is not None
    assert jigsaw.answered_score.value == 0.5
    assert counting.score is None, "nothing of it was answered"
    assert counting.answered_score is None
    assert board.coverage == 0.3
    assert board.unparsed == pytest.approx(1 / 3)
    assert known(board.overall).value == 0.125
    released = score(made, "answered")
    assert known(released.overall).value == 0.25
    assert released.categories == board.categories


def test_several_answers_to_a_question_count_as_their_mean() -> None:
    made = a_run(
        prediction(0, "jigsaw/6", "341562", "341562", "123456", "?", "?"), prediction(1, "jigsaw/6", "341562", "?", "?")
    )
    (category,) = score(made).categories
    assert known(category.score).value == pytest.approx(0.125)
    assert category.parsed == 1
    assert category.answered_score is not None
    assert category.answered_score.value == pytest.approx(0.5)
    assert score(made).unparsed == pytest.approx(0.75)


def test_a_question_that_could_not_be_read_counts_in_its_category() -> None:
    blank = Prediction("#1", 1, "jigsaw/6", "", "", {}, (), 0, error="question: ValueError: altered")
    (category,) = score(a_run(prediction(0, "jigsaw/6", "341562", "341562"), blank)).categories
    assert (category.task, category.asked, category.answered, known(category.score).value) == ("jigsaw", 2, 1, 0.5)


@pytest.mark.parametrize("videos", [6, 14, 30])
@pytest.mark.parametrize("mean", [0.2, 0.5])
def test_a_widened_interval_holds_the_mean_nearly_as_often_as_it_says(videos: int, mean: float) -> None:
    """From a known distribution, 90% to 95% of the intervals hold its mean, more than of the bootstrap's own."""
    rng = np.random.default_rng(0)
    held = {"bootstrap": 0, "widened": 0}
    for _ in range(TRIALS):
        scores = rng.beta(4 * mean, 4 * (1 - mean), videos)
        low, high = np.quantile(rng.choice(scores, (400, videos)).mean(axis=1), [0.025, 0.975])
        found = Estimate(float(scores.mean()), float(low), float(high))
        wide = widen(found, videos)
        held["bootstrap"] += found.low <= mean <= found.high
        held["widened"] += wide.low <= mean <= wide.high
    assert held["widened"] / TRIALS > 0.89
    assert held["bootstrap"] < held["widened"]


def test_nothing_follows_from_fewer_than_six_videos() -> None:
    for low, high in ((0.3, 0.5), (0.4, 0.4)):
        assert widen(Estimate(0.4, low, high), 5) == Estimate(0.4, 0.0, 1.0)
        assert widen(Estimate(0.4, low, high), 6).high < 0.7


def test_a_widened_interval_has_the_ends_that_its_formulas_give() -> None:
    alike = widen(Estimate(0.4, 0.4, 0.4), 10)
    least = 0.025**0.1
    assert (alike.value, alike.low, alike.high) == pytest.approx((0.4, 0.4 * least, 1 - 0.6 * least))
    factor = 2.570582 / 1.959964 * 1.2**0.5  # t of five degrees of freedom, and the normal distribution's
    found = widen(Estimate(0.5, 0.4, 0.55), 6)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - 0.1 * factor, 0.5 + 0.05 * factor))
    assert widen(Estimate(0.9, 0.7, 0.99), 6).high == 1
    assert widen(Estimate(0.1, 0.01, 0.3), 6).low == 0


def test_a_scoreboard_says_what_it_is_about() -> None:
    made = a_run(prediction(0, "jigsaw/6", "341562", "341562"), name="mine", hash="f00")
    board = score(made)
    assert (board.run, board.hash, board.denominator) == ("mine", "f00", "asked")
    assert board.outcomes == outcomes(made)
    assert score(made, "answered").denominator == "answered"
    assert metric_of("riddle") == "exact"


def test_questions_that_could_not_be_read_count_only_where_there_are_no_others() -> None:
    unread = prediction(1, UNREAD, "", data_source="", error="gone")
    alone = score(a_run(unread))
    assert (alone.overall, alone.unparsed) == (None, None)
    assert [(each.task, each.score, each.smooth, each.strict) for each in alone.categories] == [("?", None, None, None)]
    garbled = prediction(2, UNREAD, "1-2", "1-2", data_source="grounding")
    assert known(score(a_run(garbled)).overall).value == 1
    board = score(a_run(prediction(0, "jigsaw/6", "341562", "123456"), garbled))
    assert len(board.categories) == 2
    assert known(board.overall).value == 0


def test_a_mean_of_resamples_weighs_every_question_alike() -> None:
    one, two, three = (prediction(k, "jigsaw/6", GOLD, GOLD, source=video) for k, video in enumerate(["a", "a", "b"]))
    (found,) = Resampler([one, two, three]).means({0: 0.0, 1: 1.0, 2: 1.0})
    assert found.value == pytest.approx(2 / 3)
    assert np.unique(found.drawn) == pytest.approx([1 / 2, 2 / 3, 1])


def test_a_resample_without_a_question_of_a_category_leaves_its_mean() -> None:
    made = [prediction(k, "jigsaw/6", GOLD, GOLD, source=f"v{k}") for k in range(3)]
    alone, pair = Resampler(made).means({0: 1.0}, {0: 0.0, 1: 1.0})
    assert set(alone.drawn) == {1.0}
    # Of 27 equally likely draws of three videos, one has neither of both, and six have each once.
    assert float((pair.drawn == 0.5).mean()) == pytest.approx(7 / 27, abs=0.03)


def test_resamples_of_many_videos_are_drawn_in_rounds() -> None:
    made = [prediction(k, "jigsaw/6", GOLD, GOLD, source=f"v{k}") for k in range(1500)]
    (found,) = Resampler(made).means(dict.fromkeys(range(1500), 0.5))
    assert found.drawn.shape == (RESAMPLES,)


def test_released_rows_are_scored_under_their_own_names() -> None:
    one = prediction(0, "jigsaw_6", "341562", "341562", data_source="shuffled")
    two = prediction(1, "g", "1-2", "1-2", data_source="grounding", difficulty={"perturbation": "zoom_out"})
    board = score(a_run(one, two))
    assert {each.category: (each.task, each.metric) for each in board.categories} == {
        "g": ("grounding", "miou"),
        "jigsaw_6": ("jigsaw", "exact"),
    }
    assert board.abilities.keys() == {"spatial", "temporal"}


def test_a_damaged_gold_answer_is_named() -> None:
    with pytest.raises(ValueError, match="question q7: gold answer 'x'"):
        score(a_run(prediction(7, "jigsaw/6", "x", "123456")))
    with pytest.raises(ValueError, match="no predictions yet"):
        score(a_run())


def test_categories_are_in_the_papers_order() -> None:
    names = [*CATEGORIES, "another/one"]
    made = [prediction(k, name, "1-2", "1-2", data_source="grounding") for k, name in enumerate(reversed(names))]
    board = score(a_run(*made))
    assert [each.category for each in board.categories] == names


def test_the_papers_abilities() -> None:
    found = [ability(category, category.partition("/")[0]) for category in CATEGORIES]
    assert found == ["fine-grained"] * 3 + ["spatial"] * 3 + ["temporal"] * 3
    assert ability("grounding/swap", "grounding") is None


def test_published_rows_are_whole_and_consistent() -> None:
    rows = {row.model: row for row in published()}
    assert len(rows) == 14
    assert rows["VideoSSR-8B"].categories["grounding/zoom_out"] == 94.4
    assert rows["GPT-5"].overall == 58.7
    for row in rows.values():
        assert tuple(row.categories) == CATEGORIES
        assert row.overall == pytest.approx(fmean(row.categories.values()), abs=0.11)


def coin(rng: np.random.Generator, count: int, videos: int, share: float) -> list[Prediction]:
    """Right answers by chance; all answers about one video are alike."""
    right = rng.random(videos) < share
    return [
        prediction(k, "jigsaw/6", "341562", "341562" if right[k % videos] else "123456", source=f"v{k % videos}")
        for k in range(count)
    ]


def test_an_interval_is_that_of_the_binomial_distribution_where_every_question_has_its_video() -> None:
    made = coin(np.random.default_rng(3), 400, 400, 0.3)
    found = known(score(a_run(*made)).categories[0].score)
    error = (found.value * (1 - found.value) / 400) ** 0.5
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.15 * error)


def test_questions_about_one_video_are_not_more_than_one_witness() -> None:
    made = coin(np.random.default_rng(3), 400, 40, 0.3)
    board = score(a_run(*made))
    alone = score(a_run(*(replace(each, source="") for each in made)))
    assert board.videos == 40
    assert alone.videos == 400
    wide, narrow = (known(each.overall).high - known(each.overall).low for each in (board, alone))
    assert wide == pytest.approx(narrow * 10**0.5, rel=0.1)
    assert board.overall == score(a_run(*made)).overall, "the same run has the same interval each time"


def test_19_of_20_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(150):
        found = known(score(a_run(*coin(rng, 120, 60, 0.4))).overall)
        held += found.low <= 0.4 <= found.high
    assert 0.88 <= held / 150 <= 0.99


def test_2700_questions_asked_of_a_constant_score_what_it_is_worth(viubench: Drawn, tmp_path: Path) -> None:
    done = evaluate(viubench, CONSTANT, tmp_path / "run")
    assert done.manifest is not None
    board = score(done)
    assert board.coverage == 1
    assert known(board.overall).value == pytest.approx(0.206, abs=0.015)
    for each in board.categories:
        worth = done.manifest["chance"][each.category]["constant"]["score"]
        assert known(each.score).value == pytest.approx(worth, abs=0.05)
