"""Questions made ready ahead: in order, within the room there is, and without a thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from videossr.models.base import Request
from videossr.models.prefetch import Prefetcher
from videossr.question import Question

QUESTION = Question("id", "source", "", "When?", "1", ())


def asks(count: int) -> Iterator[Request]:
    for index in range(count):
        yield Request(index, QUESTION, "category", list)


def until(holds: Callable[[], bool]) -> None:
    """Waits for what other threads are to bring about, however busy the machine."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_all_come_in_order_and_an_error_stays_with_its_question() -> None:
    def make(ask: Request) -> int:
        time.sleep(0.01 * (ask.index % 3))
        if ask.index == 4:
            raise KeyError("frames")
        return ask.index * 2

    with Prefetcher(asks(11), make, threads=3, room=1000, size=lambda made: 1) as ahead:
        taken = [*ahead.take(4), *ahead.take(4), *ahead.take(4)]
        assert ahead.take(4) == []
    assert [ready.ask.index for ready in taken] == list(range(11))
    assert [ready.made for ready in taken] == [None if k == 4 else 2 * k for k in range(11)]
    assert [ready.error for ready in taken if ready.error] == ["KeyError: 'frames'"]


@pytest.mark.parametrize(("room", "most"), [(100, 8), (30, 3), (5, 2)])
def test_no_more_is_made_than_there_is_room_for(room: int, most: int) -> None:
    """Things of 10 bytes each; what the model has taken is its own. Two threads begin before a size is known."""
    made: list[int] = []

    def make(ask: Request) -> bytes:
        made.append(ask.index)
        return bytes(10)

    with Prefetcher(asks(40), make, threads=2, room=room, size=len) as ahead:
        ahead.take(1)
        for taken in range(1, 20):
            time.sleep(0.01)
            assert len(made) - taken <= most
            ahead.take(1)
        ahead.take(4)
        further = {100: 4, 30: 3, 5: 1}[room]
        until(lambda: len(made) >= 24 + further)
        time.sleep(0.05)
        assert len(made) == 24 + further


def test_it_runs_ahead_while_the_caller_is_busy_and_counts_only_what_is_waited_for() -> None:
    made: list[int] = []

    def make(ask: Request) -> int:
        time.sleep(0.2)
        made.append(ask.index)
        return ask.index

    with Prefetcher(asks(8), make, threads=4, room=100, size=lambda made: 1) as ahead:
        ahead.take(4)
        first = ahead.waited
        until(lambda: len(made) == 8)
        ahead.take(4)
        assert first > 0.1
        assert ahead.waited - first < first


def test_the_end_leaves_no_thread_and_begins_nothing_more() -> None:
    begun: list[int] = []

    def make(ask: Request) -> int:
        begun.append(ask.index)
        time.sleep(0.05)
        return ask.index

    def interrupted() -> None:
        with Prefetcher(asks(100), make, threads=2, room=100, size=lambda made: 1) as ahead:
            ahead.take(10)
            assert threads()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not threads()
    assert len(begun) < 20


@pytest.mark.parametrize("kind", [MemoryError, RecursionError])
def test_a_question_that_takes_all_memory_fails_alone(kind: type[Exception]) -> None:
    def make(ask: Request) -> int:
        if ask.index == 1:
            raise kind
        return ask.index

    with Prefetcher(asks(3), make, threads=2, room=1000, size=lambda made: 1) as ahead:
        taken = ahead.take(3)
    assert [ready.made for ready in taken] == [0, None, 2]
    assert taken[1].error == f"{kind.__name__}: "
