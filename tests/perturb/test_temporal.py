"""Orders and strides of temporal perturbations: their ends, their distribution, and the strides of a speed."""

from __future__ import annotations

from collections import Counter
from itertools import groupby, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from videossr.perturb.speed import least_density, strides
from videossr.perturb.strengths import Strengths
from videossr.perturb.temporal import shuffle, stutter


@given(st.integers(8, 40), st.integers(0, 2**32 - 1))
def test_shuffle_moves_both_ends(length: int, seed: int) -> None:
    order = shuffle(length, Strengths(), np.random.default_rng(seed))
    assert sorted(order) == list(range(length))
    assert order[0] >= 3
    assert order[-1] <= length - 4


def test_shuffle_takes_its_ends_from_firsts_and_lasts() -> None:
    rng = np.random.default_rng(0)
    orders = [shuffle(8, Strengths(), rng, firsts=[4, 7], lasts=[0, 4]) for _ in range(400)]
    assert {(order[0], order[-1]) for order in orders} == {(4, 0), (7, 0), (7, 4)}
    assert all(sorted(order) == list(range(8)) for order in orders)


def test_shuffle_draws_allowed_orders_uniformly() -> None:
    strengths = Strengths(shift=2)
    allowed = [order for order in permutations(range(5)) if order[0] >= 2 and order[-1] <= 2]
    rng = np.random.default_rng(1)
    counts = Counter(tuple(shuffle(5, strengths, rng)) for _ in range(6000))
    assert set(counts) == set(allowed)
    assert stats.chisquare([counts[order] for order in allowed]).pvalue > 1e-4


def test_shuffle_without_a_shift_draws_every_order_uniformly() -> None:
    rng = np.random.default_rng(1)
    counts = Counter(tuple(shuffle(4, Strengths(shift=0), rng)) for _ in range(6000))
    assert set(counts) == set(permutations(range(4)))
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


@given(st.integers(4, 40), st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 6), st.integers(0, 6)))
def test_stutter_holds_frames_within_their_own_runs(length: int, seed: int, holds: tuple[int, int]) -> None:
    least, most = holds[0], holds[0] + holds[1]
    order = stutter(length, Strengths(holds=(least, most)), np.random.default_rng(seed))
    assert len(order) == length
    assert order[0] != 0
    assert order[-1] != length - 1
    runs = [(frame, len(list(run))) for frame, run in groupby(order)]
    assert min(least, length // 2) <= len(runs) <= most
    assert all(count >= 2 for _, count in runs)
    start = 0
    for frame, count in runs:
        assert start <= frame < start + count
        start += count


def test_stutter_holds_two_to_five_frames_equally_often() -> None:
    rng = np.random.default_rng(2)
    counts = Counter(len(set(stutter(16, Strengths(), rng))) for _ in range(4000))
    assert sorted(counts) == [2, 3, 4, 5]
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


@pytest.mark.parametrize(
    ("speed", "density", "expected"),
    [(0.5, 2, (2, 1)), (0.5, 3, (2, 1)), (2.0, 2, (1, 2)), (2.0, 3, (2, 4)), (1 / 3, 3, (3, 1)), (1.5, 3, (2, 3))],
)
def test_strides_begins_with_the_whole_strides_that_cover_most(
    speed: float, density: int, expected: tuple[int, int]
) -> None:
    outside, inside = strides(speed, density, 48, 16)[0]
    assert (outside, inside) == expected
    assert outside * 32 + inside * 16 <= 48 * density


def test_strides_may_use_the_whole_video() -> None:
    assert strides(3.0, 2, 10, 5) == [(1, 3)]  # 5 + 15 of 20 frames


def test_strides_refuses_a_speed_that_needs_a_denser_pack() -> None:
    with pytest.raises(ValueError, match=r"a speed of 2\.0 cannot be shown from 1 frames a slot"):
        strides(2.0, 1, 48, 16)
    assert least_density(0.5, 48, 16) == 2
    assert least_density(2.0, 48, 16) == 2
    assert least_density(0.25, 48, 16) == 4
