"""Batches: every question once per epoch, reproducible by the seed, mixed as configured."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossr.errors import ConfigError
from videossr.training.batching import Mix, SetShares, batch_for_step, choose_questions, set_sizes, steps_in

CATEGORIES = ["grounding/mirror"] * 40 + ["counting/easy"] * 20 + ["jigsaw/6"] * 7
MIXES = st.sampled_from(["shuffled", "even", "single"])


@given(st.integers(1, 80), MIXES, st.integers(0, 5), st.integers(0, 3))
def test_batch_for_step_shows_each_question_once_per_epoch(batch: int, mix: Mix, seed: int, epoch: int) -> None:
    chosen = choose_questions(CATEGORIES, (), (0.0, 1.0), 0)
    steps_per_epoch = steps_in(len(chosen), batch, 1)
    batches = [
        batch_for_step(epoch * steps_per_epoch + k, chosen, CATEGORIES, batch, mix, seed)
        for k in range(1, steps_per_epoch + 1)
    ]
    assert sorted(index for batch_indices in batches for index in batch_indices) == chosen
    assert all(len(batch_indices) == batch for batch_indices in batches[:-1])
    assert batches[0] == batch_for_step(epoch * steps_per_epoch + 1, chosen, CATEGORIES, batch, mix, seed)


def test_batch_for_step_differs_between_epochs_and_seeds() -> None:
    chosen = choose_questions(CATEGORIES, (), (0.0, 1.0), 0)
    first = batch_for_step(1, chosen, CATEGORIES, 67, "shuffled", 0)
    assert first != batch_for_step(2, chosen, CATEGORIES, 67, "shuffled", 0)
    assert first != batch_for_step(1, chosen, CATEGORIES, 67, "shuffled", 1)


def test_batch_for_step_with_an_even_mix_has_every_category_by_its_share() -> None:
    chosen = choose_questions(CATEGORIES, (), (0.0, 1.0), 0)
    for step in range(1, 5):
        counts = Counter(CATEGORIES[index] for index in batch_for_step(step, chosen, CATEGORIES, 16, "even", 3))
        assert abs(counts["grounding/mirror"] - 16 * 40 / 67) <= 2
        assert abs(counts["counting/easy"] - 16 * 20 / 67) <= 2
        assert 1 <= counts["jigsaw/6"] <= 3


def test_batch_for_step_with_a_single_mix_fills_batches_with_one_category() -> None:
    chosen = choose_questions(CATEGORIES, (), (0.0, 1.0), 0)
    kinds = [
        {CATEGORIES[index] for index in batch_for_step(step, chosen, CATEGORIES, 10, "single", 0)}
        for step in range(1, 7)
    ]
    assert all(len(kind) == 1 for kind in kinds)
    assert len(set.union(*kinds)) == 2


def test_choose_questions_splits_every_category_into_disjoint_shares() -> None:
    first, second = (choose_questions(CATEGORIES, (), share, 7) for share in ((0.0, 0.25), (0.25, 1.0)))
    assert sorted(first + second) == list(range(67))
    counts = Counter(CATEGORIES[index] for index in first)
    assert counts == {"grounding/mirror": 10, "counting/easy": 5, "jigsaw/6": 2}
    assert choose_questions(CATEGORIES, ("jigsaw/6",), (0.0, 0.25), 7) == [index for index in first if index >= 60]
    assert choose_questions(CATEGORIES, (), (0.0, 0.25), 8) != first


@pytest.mark.parametrize(
    ("categories", "share", "message"),
    [
        (("jigsaw/8",), (0.0, 1.0), "no 'jigsaw/8'. Known: counting/easy, grounding/mirror, jigsaw/6"),
        ((), (0.5, 0.5), "expected 0 <= from < to <= 1, got 0.5, 0.5"),
        ((), (0.0, 1.5), "expected 0 <= from"),
        ((), (0.0, 0.001), "nothing is left of 67 questions"),
    ],
)
def test_choose_questions_refuses_unknown_categories_and_empty_shares(
    categories: tuple[str, ...], share: tuple[float, float], message: str
) -> None:
    with pytest.raises(ValueError, match="data") as raised:
        choose_questions(CATEGORIES, categories, share, 0)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("questions", "batch", "epochs", "steps"),
    [(64, 64, 1, 1), (65, 64, 1, 2), (100, 10, 2.5, 25), (30000, 64, 1, 469), (9, 3, 1e-9, 1)],
)
def test_steps_in_rounds_up_and_is_at_least_one(questions: int, batch: int, epochs: float, steps: int) -> None:
    assert steps_in(questions, batch, epochs) == steps


NAMES = ["ours"] * 67 + ["mine"] * 5 + ["theirs"] * 30
MIXED = [*CATEGORIES, *["choice"] * 5, *["span/a"] * 20, *["span/b"] * 10]


def a_pass(number: int, batch: int, mix: Mix, seed: int, shares: SetShares) -> list[list[int]]:
    """Return the batches of one pass, from 0."""
    size = steps_in(len(NAMES), batch, 1)
    numbers = range(number * size + 1, (number + 1) * size + 1)
    return [batch_for_step(one, range(len(NAMES)), MIXED, batch, mix, seed, shares) for one in numbers]


@given(
    st.integers(1, 40),
    st.sampled_from(["shuffled", "even"]),
    st.integers(0, 5),
    st.tuples(*[st.sampled_from([0.1, 0.5, 1, 2, 3.7])] * 3),
)
def test_a_pass_has_the_share_of_each_set_exactly_and_its_batches_nearly(
    batch: int, mix: Mix, seed: int, weights: tuple[float, float, float]
) -> None:
    shares = SetShares(NAMES, dict(zip(("ours", "mine", "theirs"), weights, strict=True)))
    sizes = set_sizes(range(len(NAMES)), shares)
    assert sum(sizes.values()) == len(NAMES)
    for number in range(2):
        batches = a_pass(number, batch, mix, seed, shares)
        assert Counter(NAMES[index] for one in batches for index in one) == sizes
        assert all(len(one) == batch for one in batches[:-1])
        for one in batches:
            counts = Counter(NAMES[index] for index in one)
            for name, weight in shares.weights.items():
                assert abs(sizes[name] - len(NAMES) * weight / sum(weights)) < 1
                assert abs(counts[name] - len(one) * sizes[name] / len(NAMES)) < 2


def test_every_question_of_a_set_is_asked_before_any_is_asked_again() -> None:
    shares = SetShares(NAMES, {"ours": 1, "mine": 1, "theirs": 1})
    assert set_sizes(range(102), shares) == {"mine": 34, "ours": 34, "theirs": 34}
    asked = [index for number in range(4) for one in a_pass(number, 10, "shuffled", 3, shares) for index in one]
    for name, members in (("ours", range(67)), ("mine", range(67, 72)), ("theirs", range(72, 102))):
        own = [index for index in asked if NAMES[index] == name]
        assert len(own) == 4 * 34
        rounds = [own[first : first + len(members)] for first in range(0, len(own), len(members))]
        assert all(sorted(one) == list(members) for one in rounds if len(one) == len(members))
        assert len(rounds) == 1 or rounds[0] != rounds[1]


def test_mixed_batches_are_a_function_of_the_seed() -> None:
    shares = SetShares(NAMES, {"ours": 2, "mine": 1, "theirs": 1})
    assert a_pass(1, 7, "even", 4, shares) == a_pass(1, 7, "even", 4, SetShares(NAMES, shares.weights))
    assert a_pass(1, 7, "even", 4, shares) != a_pass(1, 7, "even", 5, shares)
    assert a_pass(0, 7, "even", 4, shares) != a_pass(1, 7, "even", 4, shares)


def test_an_even_mix_spreads_the_categories_within_each_set() -> None:
    shares = SetShares(NAMES, {"ours": 1, "mine": 1, "theirs": 2})
    for one in a_pass(0, 20, "even", 1, shares)[:-1]:
        counts = Counter(MIXED[index] for index in one)
        assert abs(counts["span/a"] - 20 / 3) < 2.5
        assert abs(counts["span/b"] - 10 / 3) < 2.5


@pytest.mark.parametrize(
    ("chosen", "weights", "message"),
    [
        (range(67), {"ours": 1, "mine": 1}, "data.sets.mine: data.categories and data.share leave nothing of it"),
        (range(102), {"ours": 1, "mine": 1e-4, "theirs": 1}, "data.sets.mine.weight is 0.0001, too small for one"),
    ],
)
def test_set_sizes_refuses_sets_without_a_question(chosen: range, weights: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        set_sizes(chosen, SetShares(NAMES, weights))


@pytest.mark.parametrize("weight", [5e-324, 1.0, 1e308])
def test_set_sizes_depend_on_the_ratio_of_weights_alone(weight: float) -> None:
    sizes = set_sizes(range(len(NAMES)), SetShares(NAMES, dict.fromkeys(set(NAMES), weight)))
    assert sum(sizes.values()) == len(NAMES)
    assert max(sizes.values()) - min(sizes.values()) <= 1
