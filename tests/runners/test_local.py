"""Runners of one or several processes: results, errors, and workers that die."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from videossr.errors import WorkerError
from videossr.runners import start
from videossr.runners.base import DIED, WorkerCrash
from videossr.runners.local import Pool, SerialRunner


def half_or_die(share: float, number: int) -> float:
    if number == 7:
        os._exit(3)
    return number * share


def test_pool_marks_only_the_item_that_kills_its_worker_as_died() -> None:
    with start(0.5, 2) as pool:
        results = dict(pool.run(half_or_die, range(12)))
    assert results == {number: DIED if number == 7 else number / 2 for number in range(12)}


def die_once(folder: Path, number: int) -> int:
    try:
        (folder / str(number)).touch(exist_ok=False)
    except FileExistsError:
        return number
    os._exit(3)


@pytest.mark.slow
def test_pool_repeats_an_item_whose_worker_died_once(tmp_path: Path) -> None:
    with start(tmp_path, 2) as pool:
        assert sorted(pool.run(die_once, range(3))) == [(number, number) for number in range(3)]


def half(share: float, number: int) -> float:
    return number * share


@pytest.mark.parametrize("runner", [SerialRunner(0.5), Pool(0.5, 1), Pool(0.5, 2)])
def test_run_does_every_item_once_and_raises_errors(runner: SerialRunner[float] | Pool[float]) -> None:
    with runner as pool:
        assert sorted(pool.run(half, range(40))) == [(number, number / 2) for number in range(40)]
        with pytest.raises(TypeError):
            list(pool.run(half, [2, cast(int, "x")]))


def fail(share: float, number: int) -> float:
    raise RuntimeError(threading.Lock())


def test_run_reports_an_error_that_cannot_be_pickled() -> None:
    with start(0.5, 2) as pool, pytest.raises(WorkerError, match=r"unlocked _thread\.lock"):
        list(pool.run(fail, [1]))


def test_run_takes_items_lazily() -> None:
    taken = itertools.count()
    with start(0.5, 2) as pool:
        results = pool.run(half, (number for number in taken))
        assert len([next(results) for _ in range(10)]) == 10
    assert next(taken) < 20


def sleep(share: float, seconds: float) -> None:
    time.sleep(seconds)


def test_leaving_a_pool_ends_its_workers_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupt_a_run()
    assert not multiprocessing.active_children()


def interrupt_a_run() -> None:
    with start(0.5, 2) as pool:
        for _ in pool.run(sleep, [0, 600, 600]):
            raise KeyboardInterrupt


def test_start_refuses_zero_workers() -> None:
    with pytest.raises(ValueError, match="workers must be 1 or more, got 0"):
        start(0.5, 0)


def process_id(share: float, number: int) -> int:
    return os.getpid()


@pytest.mark.parametrize(("isolated", "same_process"), [(False, True), (True, False)])
def test_start_uses_this_process_for_one_worker_unless_isolated(isolated: bool, same_process: bool) -> None:
    with start(0.5, 1, isolated=isolated) as runner:
        ((_, process),) = runner.run(process_id, [0])
    assert (process == os.getpid()) == same_process


def count_to(share: float, number: int, send: Callable[[int], None]) -> str:
    for part in range(number):
        send(part)
    return f"{number} at {share}"


@pytest.mark.parametrize("runner", [SerialRunner(0.5), Pool(0.5, 1), Pool(0.5, 2)])
def test_stream_gives_sent_parts_in_order_before_the_result(runner: SerialRunner[float] | Pool[float]) -> None:
    received: dict[int, list[int | str | WorkerCrash]] = {}
    with runner as pool:
        for item, part in pool.stream(count_to, range(5)):
            received.setdefault(item, []).append(part)
    assert received == {number: [*range(number), f"{number} at 0.5"] for number in range(5)}


def send_and_die(folder: Path, number: int, send: Callable[[int], None]) -> int:
    send(number)
    return die_once(folder, number)


def test_stream_of_a_repeated_item_sends_its_parts_again(tmp_path: Path) -> None:
    with start(tmp_path, 1, isolated=True) as pool:
        assert list(pool.stream(send_and_die, [4])) == [(4, 4), (4, 4), (4, 4)]
