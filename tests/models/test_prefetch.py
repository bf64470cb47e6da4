"""`Prefetcher`: requests are prepared ahead in order, within the memory allowed, and leave no thread behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from videossr.models.base import Request
from videossr.models.prefetch import Prefetcher
from videossr.question import Question

QUESTION = Question("id", "source", "", "When?", "1", ())


def make_requests(count: int) -> Iterator[Request]:
    for index in range(count):
        yield Request(index, QUESTION, "category", list)


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait until a condition holds that other threads bring about."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def prefetch_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_prefetcher_keeps_the_order_and_reports_errors_per_question() -> None:
    def make(request: Request) -> int:
        time.sleep(0.01 * (request.index % 3))
        if request.index == 4:
            raise KeyError("frames")
        return request.index * 2

    with Prefetcher(make_requests(11), make, threads=3, room=1000, size=lambda item: 1) as ahead:
        prepared = [*ahead.take(4), *ahead.take(4), *ahead.take(4)]
        assert ahead.take(4) == []
    assert [ready.ask.index for ready in prepared] == list(range(11))
    assert [ready.made for ready in prepared] == [None if index == 4 else 2 * index for index in range(11)]
    assert [ready.error for ready in prepared if ready.error] == ["KeyError: 'frames'"]


@pytest.mark.parametrize(("room", "most"), [(100, 8), (30, 3), (5, 2)])
def test_prefetcher_makes_no_more_than_there_is_room_for(room: int, most: int) -> None:
    """Items have 10 bytes each; those taken no longer count. Two threads begin before a size is known."""
    prepared: list[int] = []

    def make(request: Request) -> bytes:
        prepared.append(request.index)
        return bytes(10)

    with Prefetcher(make_requests(40), make, threads=2, room=room, size=len) as ahead:
        ahead.take(1)
        for taken in range(1, 20):
            time.sleep(0.01)
            assert len(prepared) - taken <= most
            ahead.take(1)
        ahead.take(4)
        further = {100: 4, 30: 3, 5: 1}[room]
        wait_until(lambda: len(prepared) >= 24 + further)
        time.sleep(0.05)
        assert len(prepared) == 24 + further


def test_prefetcher_works_ahead_and_counts_only_waiting_time() -> None:
    prepared: list[int] = []

    def make(request: Request) -> int:
        time.sleep(0.2)
        prepared.append(request.index)
        return request.index

    with Prefetcher(make_requests(8), make, threads=4, room=100, size=lambda prepared: 1) as ahead:
        ahead.take(4)
        first = ahead.waited
        wait_until(lambda: len(prepared) == 8)
        ahead.take(4)
        assert first > 0.1
        assert ahead.waited - first < first


def test_prefetcher_leaves_no_thread_after_an_interrupt() -> None:
    started: list[int] = []

    def make(request: Request) -> int:
        started.append(request.index)
        time.sleep(0.05)
        return request.index

    def take_and_interrupt() -> None:
        with Prefetcher(make_requests(100), make, threads=2, room=100, size=lambda item: 1) as ahead:
            ahead.take(10)
            assert prefetch_threads()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        take_and_interrupt()
    assert not prefetch_threads()
    assert len(started) < 20


@pytest.mark.parametrize("kind", [MemoryError, RecursionError])
def test_a_question_that_takes_all_memory_fails_alone(kind: type[Exception]) -> None:
    def make(request: Request) -> int:
        if request.index == 1:
            raise kind
        return request.index

    with Prefetcher(make_requests(3), make, threads=2, room=1000, size=lambda item: 1) as ahead:
        taken = ahead.take(3)
    assert [ready.made for ready in taken] == [0, None, 2]
    assert taken[1].error == f"{kind.__name__}: "
