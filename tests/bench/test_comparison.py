"""Comparisons of two runs: which differences are significant, and which questions are compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.bench.conftest import a_run, not_none, prediction
from videossr.bench.comparison import _holm, compare
from videossr.bench.records import Prediction, Run
from videossr.bench.viubench import CATEGORIES

GOLD, WRONG = "341562", "123456"


def random_run(
    rng: np.random.Generator, name: str, shares: dict[str, float], per_category: int = 60, videos: int = 40
) -> Run:
    """Make a run that is right by chance, with this share of each category."""
    predictions: list[Prediction] = []
    for category, share in shares.items():
        for _ in range(per_category):
            text = GOLD if rng.random() < share else WRONG
            index = len(predictions)
            predictions.append(
                prediction(index, category, GOLD, text, data_source="jigsaw", source=f"v{index % videos}")
            )
    return a_run(*predictions, name=name)


def test_compare_tells_a_real_difference_from_noise() -> None:
    rng = np.random.default_rng(0)
    first = random_run(rng, "a", {"jigsaw/6": 0.5, "jigsaw/8": 0.5})
    second = random_run(rng, "b", {"jigsaw/6": 0.9, "jigsaw/8": 0.5})
    comparison = compare(first, second)
    six, eight = comparison.categories
    assert (comparison.first, comparison.second, comparison.left_out, comparison.same_hash, comparison.videos) == (
        "a",
        "b",
        0,
        True,
        40,
    )
    assert six.real
    assert not_none(six.change).low > 0
    assert not_none(six.change).value == pytest.approx(not_none(six.second) - not_none(six.first))
    assert not eight.real
    assert not_none(eight.change).low < 0 < not_none(eight.change).high
    assert not_none(comparison.overall.change).value == pytest.approx(
        (not_none(six.change).value + not_none(eight.change).value) / 2
    )
    reverse = compare(second, first)
    assert reverse.categories[0].real
    assert not_none(reverse.overall.change).value == pytest.approx(-not_none(comparison.overall.change).value)


def test_compare_finds_no_difference_between_a_run_and_itself() -> None:
    run = random_run(np.random.default_rng(0), "a", {"jigsaw/6": 0.5})
    comparison = compare(run, run)
    assert comparison.overall.change == replace(not_none(comparison.overall.change), value=0.0, low=0.0, high=0.0)
    assert comparison.overall.p == 1
    assert not comparison.overall.real


def test_compare_finds_nothing_real_in_few_differences_or_few_videos() -> None:
    first = a_run(*(prediction(k, "jigsaw/6", GOLD, WRONG) for k in range(100)))
    three = a_run(*(prediction(k, "jigsaw/6", GOLD, GOLD if k < 3 else WRONG) for k in range(100)))
    assert compare(first, three).overall.p == pytest.approx(0.25, abs=0.03)
    assert not compare(first, three).overall.real
    wrong, right = (
        a_run(*(prediction(k, "jigsaw/6", GOLD, text, source=f"v{k % 4}") for k in range(100)))
        for text in (WRONG, GOLD)
    )
    overall = compare(wrong, right).overall
    assert not_none(overall.change).value == 1
    assert not overall.real, "four videos could all have gone the same way"


def test_compare_calls_equal_models_different_as_seldom_as_claimed() -> None:
    rng = np.random.default_rng(7)
    shares = dict.fromkeys(["jigsaw/6", "jigsaw/8", "jigsaw/9"], 0.3)
    overall = any_category = 0
    for _ in range(120):
        comparison = compare(random_run(rng, "a", shares), random_run(rng, "b", shares))
        overall += comparison.overall.real
        any_category += any(category.real for category in comparison.categories)
    assert overall <= 13
    assert any_category <= 13


def test_holm_stops_at_the_first_that_could_be_noise() -> None:
    assert _holm([0.04, 0.001, 0.02]) == [True, True, True]
    assert _holm([0.03, 0.001, 0.03]) == [False, True, False]
    assert _holm([0.04]) == [True]
    assert _holm([0.05]) == [False]
    assert _holm([0.02, 0.2]) == [True, False]


def test_compare_refuses_other_questions_unless_shared_is_set() -> None:
    rng = np.random.default_rng(0)
    first = random_run(rng, "a", {"jigsaw/6": 0.5})
    fewer = a_run(*first.predictions[:40], name="b", hash="0f" * 32)
    with pytest.raises(ValueError, match="they share 40, and 20 were asked in one of them alone; --shared"):
        compare(first, fewer)
    comparison = compare(first, fewer, shared=True)
    assert (comparison.left_out, comparison.overall.questions, comparison.same_hash) == (20, 40, False)
    strangers = a_run(
        *(replace(prediction, id="x" + prediction.id) for prediction in first.predictions), hash="0f" * 32
    )
    with pytest.raises(ValueError, match="share no question"):
        compare(first, strangers, shared=True)
    regraded = a_run(*(replace(prediction, answer=WRONG) for prediction in first.predictions))
    with pytest.raises(ValueError, match="question q0 is not the same"):
        compare(first, regraded)


def test_compare_leaves_out_questions_that_neither_run_could_read() -> None:
    unread = prediction(9, "?", "", data_source="")
    right = [prediction(index, "jigsaw/6", "341562", "341562") for index in range(4)]
    wrong = [prediction(index, "jigsaw/6", "341562", "123456") for index in range(4)]
    comparison = compare(a_run(*wrong, unread), a_run(*right, unread, name="other"))
    assert [category.category for category in comparison.categories] == ["jigsaw/6"]
    assert (comparison.overall.questions, not_none(comparison.overall.change).value) == (4, 1.0)


def test_compare_counts_a_question_that_one_run_could_not_read_as_wrong() -> None:
    first = a_run(*(prediction(index, "jigsaw/6", GOLD, GOLD) for index in range(4)))
    unread = replace(prediction(3, "?", "", data_source=""), id="#3", error="question: gone")
    other = a_run(*first.predictions[:3], unread, name="other")
    for pair, change in (((first, other), -0.25), ((other, first), 0.25)):
        comparison = compare(*pair)
        assert [(category.category, category.questions) for category in comparison.categories] == [("jigsaw/6", 4)]
        assert not_none(comparison.overall.change).value == change


def test_compare_checks_the_questions_behind_an_unread_one() -> None:
    unread = prediction(0, "?", "", data_source="", error="gone")
    first, second = (a_run(unread, prediction(1, "jigsaw/6", gold, GOLD)) for gold in (GOLD, WRONG))
    with pytest.raises(ValueError, match="question q1 is not the same"):
        compare(first, second)


def test_compare_orders_categories_as_the_paper_and_averages_them() -> None:
    names = [*CATEGORIES, "another/one"]
    wrong, right = (
        a_run(*(prediction(k, name, "1-2", text, data_source="grounding") for k, name in enumerate(reversed(names))))
        for text in ("7-9", "1-2")
    )
    comparison = compare(wrong, right)
    assert [category.category for category in comparison.categories] == names
    assert (comparison.overall.category, comparison.overall.first, comparison.overall.second) == ("", 0, 1)
    assert comparison.overall.real, "every category of every video rose by 1"


def test_compare_gives_no_change_for_a_category_without_answers_in_one_run() -> None:
    six = [prediction(k, "jigsaw/6", GOLD, WRONG, source=f"v{k}") for k in range(40)]
    eight = [prediction(40 + k, "jigsaw/8", GOLD, error="gone", source=f"v{k}") for k in range(40)]
    right = [replace(failed, texts=(GOLD,), error="") for failed in (*six, *eight)]
    answered, missing = compare(a_run(*six, *eight), a_run(*right)).categories
    assert (answered.first, answered.second, answered.real) == (0, 1, True)
    assert not_none(answered.p) == pytest.approx(1 / 4001)
    assert (missing.first, missing.second) == (None, 1)
    assert (missing.change, missing.p, missing.real) == (None, None, False)


def test_compare_pairs_questions_of_one_id_by_index_or_refuses_them() -> None:
    first = a_run(*(prediction(index, "jigsaw/6", GOLD, GOLD, id="x") for index in range(4)))
    assert compare(first, replace(first)).overall.questions == 4
    with pytest.raises(ValueError, match="several questions have one id"):
        compare(first, a_run(prediction(0, "jigsaw/6", GOLD, GOLD), hash="0f" * 32), shared=True)
