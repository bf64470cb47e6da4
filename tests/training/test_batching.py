"""Batches: every question once per epoch, reproducible by the seed, mixed as configured."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossr.training.batching import Mix, batch_for_step, choose_questions, steps_in

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
