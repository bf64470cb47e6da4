"""Comparisons: real differences are found, noise is not, and other questions are not compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.bench.conftest import a_run, known, prediction
from videossr.bench.comparison import _holm, compare
from videossr.bench.records import Prediction, Run
from videossr.bench.viubench import CATEGORIES

GOLD, WRONG = "341562", "123456"


def coins(rng: np.random.Generator, name: str, shares: dict[str, float], each: int = 60, videos: int = 40) -> Run:
    """A run that is right by chance, with this share of each category."""
    made: list[Prediction] = []
    for category, share in shares.items():
        for _ in range(each):
            text = GOLD if rng.random() < share else WRONG
            index = len(made)
            made.append(prediction(index, category, GOLD, text, data_source="jigsaw", source=f"v{index % videos}"))
    return a_run(*made, name=name)


def test_a_real_difference_is_told_from_noise() -> None:
    rng = np.random.default_rng(0)
    first = coins(rng, "a", {"jigsaw/6": 0.5, "jigsaw/8": 0.5})
    second = coins(rng, "b", {"jigsaw/6": 0.9, "jigsaw/8": 0.5})
    found = compare(first, second)
    six, eight = found.categories
    assert (found.first, found.second, found.left_out, found.same_hash, found.videos) == ("a", "b", 0, True, 40)
    assert six.real
    assert known(six.change).low > 0
    assert known(six.change).value == pytest.approx(known(six.second) - known(six.first))
    assert not eight.real
    assert known(eight.change).low < 0 < known(eight.change).high
    assert known(found.overall.change).value == pytest.approx((known(six.change).value + known(eight.change).value) / 2)
    back = compare(second, first)
    assert back.categories[0].real
    assert known(back.overall.change).value == pytest.approx(-known(found.overall.change).value)


def test_a_run_does_not_differ_from_itself() -> None:
    one = coins(np.random.default_rng(0), "a", {"jigsaw/6": 0.5})
    found = compare(one, one)
    assert found.overall.change == replace(known(found.overall.change), value=0.0, low=0.0, high=0.0)
    assert found.overall.p == 1
    assert not found.overall.real


def test_a_few_differences_and_a_few_videos_prove_nothing() -> None:
    first = a_run(*(prediction(k, "jigsaw/6", GOLD, WRONG) for k in range(100)))
    three = a_run(*(prediction(k, "jigsaw/6", GOLD, GOLD if k < 3 else WRONG) for k in range(100)))
    assert compare(first, three).overall.p == pytest.approx(0.25, abs=0.03)
    assert not compare(first, three).overall.real
    wrong, right = (
        a_run(*(prediction(k, "jigsaw/6", GOLD, text, source=f"v{k % 4}") for k in range(100)))
        for text in (WRONG, GOLD)
    )
    found = compare(wrong, right).overall
    assert known(found.change).value == 1
    assert not found.real, "four videos could all have gone the same way"


def test_equal_models_are_called_different_as_seldom_as_claimed() -> None:
    rng = np.random.default_rng(7)
    shares = dict.fromkeys(["jigsaw/6", "jigsaw/8", "jigsaw/9"], 0.3)
    overall = any_category = 0
    for _ in range(120):
        found = compare(coins(rng, "a", shares), coins(rng, "b", shares))
        overall += found.overall.real
        any_category += any(each.real for each in found.categories)
    assert overall <= 13
    assert any_category <= 13


def test_holm_stops_at_the_first_that_could_be_noise() -> None:
    assert _holm([0.04, 0.001, 0.02]) == [True, True, True]
    assert _holm([0.03, 0.001, 0.03]) == [False, True, False]
    assert _holm([0.04]) == [True]
    assert _holm([0.05]) == [False]
    assert _holm([0.02, 0.2]) == [True, False]


def test_other_questions_are_not_compared_unless_asked_to() -> None:
    rng = np.random.default_rng(0)
    first = coins(rng, "a", {"jigsaw/6": 0.5})
    fewer = a_run(*first.predictions[:40], name="b", hash="other")
    with pytest.raises(ValueError, match="they share 40, and 20 were asked in one of them alone; --shared"):
        compare(first, fewer)
    found = compare(first, fewer, shared=True)
    assert (found.left_out, found.overall.questions, found.same_hash) == (20, 40, False)
    strangers = a_run(*(replace(each, id="x" + each.id) for each in first.predictions), hash="other")
    with pytest.raises(ValueError, match="share no question"):
        compare(first, strangers, shared=True)
    regraded = a_run(*(replace(each, answer=WRONG) for each in first.predictions))
    with pytest.raises(ValueError, match="question q0 is not the same"):
        compare(first, regraded)


def test_what_could_not_be_read_is_in_no_difference() -> None:
    unread = prediction(9, "?", "", data_source="")
    right = [prediction(at, "jigsaw/6", "341562", "341562") for at in range(4)]
    wrong = [prediction(at, "jigsaw/6", "341562", "123456") for at in range(4)]
    found = compare(a_run(*wrong, unread), a_run(*right, unread, name="other"))
    assert [each.category for each in found.categories] == ["jigsaw/6"]
    assert (found.overall.questions, known(found.overall.change).value) == (4, 1.0)


def test_what_one_run_alone_could_not_read_is_wrong_there() -> None:
    first = a_run(*(prediction(at, "jigsaw/6", GOLD, GOLD) for at in range(4)))
    unread = replace(prediction(3, "?", "", data_source=""), id="#3", error="question: gone")
    other = a_run(*first.predictions[:3], unread, name="other")
    for pair, change in (((first, other), -0.25), ((other, first), 0.25)):
        found = compare(*pair)
        assert [(each.category, each.questions) for each in found.categories] == [("jigsaw/6", 4)]
        assert known(found.overall.change).value == change


def test_a_question_behind_one_that_could_not_be_read_must_be_the_same() -> None:
    unread = prediction(0, "?", "", data_source="", error="gone")
    mine, theirs = (a_run(unread, prediction(1, "jigsaw/6", gold, GOLD)) for gold in (GOLD, WRONG))
    with pytest.raises(ValueError, match="question q1 is not the same"):
        compare(mine, theirs)


def test_categories_are_in_the_papers_order_and_their_mean_is_that_of_both_scores() -> None:
    names = [*CATEGORIES, "another/one"]
    wrong, right = (
        a_run(*(prediction(k, name, "1-2", text, data_source="grounding") for k, name in enumerate(reversed(names))))
        for text in ("7-9", "1-2")
    )
    found = compare(wrong, right)
    assert [each.category for each in found.categories] == names
    assert (found.overall.category, found.overall.first, found.overall.second) == ("", 0, 1)
    assert found.overall.real, "every category of every video rose by 1"


def test_a_category_that_one_run_did_not_answer_has_no_difference() -> None:
    six = [prediction(k, "jigsaw/6", GOLD, WRONG, source=f"v{k}") for k in range(40)]
    eight = [prediction(40 + k, "jigsaw/8", GOLD, error="gone", source=f"v{k}") for k in range(40)]
    right = [replace(each, texts=(GOLD,), error="") for each in (*six, *eight)]
    there, missing = compare(a_run(*six, *eight), a_run(*right)).categories
    assert (there.first, there.second, there.real) == (0, 1, True)
    assert known(there.p) == pytest.approx(1 / 4001)
    assert (missing.first, missing.second) == (None, 1)
    assert (missing.change, missing.p, missing.real) == (None, None, False)


def test_questions_of_one_id_are_paired_by_their_place_or_not_at_all() -> None:
    first = a_run(*(prediction(at, "jigsaw/6", GOLD, GOLD, id="x") for at in range(4)))
    assert compare(first, replace(first)).overall.questions == 4
    with pytest.raises(ValueError, match="several questions have one id"):
        compare(first, a_run(prediction(0, "jigsaw/6", GOLD, GOLD), hash="other"), shared=True)
