"""Jobs in worker processes, one of which dies."""

from __future__ import annotations

import os

import pytest

from videossr.workers import DIED, Pool, WorkerError, spread


def half_or_die(number: int) -> float:
    if number == 7:
        os._exit(3)
    return number / 2


def test_a_job_that_kills_its_worker_costs_nobody_else() -> None:
    results = dict(spread(half_or_die, {str(number): (number,) for number in range(12)}, 2))
    assert results == {str(number): DIED if number == 7 else number / 2 for number in range(12)}


def half(share: float, number: int) -> float:
    return number * share


def die(share: float, number: int) -> float:
    os._exit(3)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_pool_keeps_the_order_and_the_shared_object(workers: int) -> None:
    with Pool(0.5, workers) as pool:
        assert list(pool.map(half, range(40))) == [number / 2 for number in range(40)]
        with pytest.raises(TypeError):
            list(pool.map(half, [2, "x"]))  # type: ignore[arg-type]


def test_a_pool_says_that_a_worker_died() -> None:
    with Pool(0.5, 2) as pool, pytest.raises(WorkerError, match="fewer --workers"):
        list(pool.map(die, range(4)))
    with pytest.raises(ValueError, match="workers must be 1 or more, got 0"):
        Pool(0.5, 0)
