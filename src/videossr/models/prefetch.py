"""Questions made ready in threads, ahead of the model that is to answer or to learn them.

Exercised by `videossr bench run BENCH --model hf:CHECKPOINT --out RUN`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Generic, TypeVar

from videossr.runners.threads import CORES

A = TypeVar("A")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Prepared(Generic[A, T]):
    """A question with what was made of it, or with why nothing could be."""

    ask: A
    made: T | None
    error: str = ""


class Prefetcher(Generic[A, T]):
    """Makes things of questions in threads, in order. A context manager: its end lets the threads end.

    Args:
        asks: the questions, or what names them; taken from in the caller's thread, as far ahead as there is room.
        make: what is made of one; whatever it raises becomes the question's error.
        threads: how many are made at once, at most one a processor.
        room: bytes that all that is made and not yet taken may have. One is always made, however large it is.
        size: bytes of what was made.

    Attributes:
        waited: seconds for which a caller had to wait.
    """

    def __init__(
        self, asks: Iterable[A], make: Callable[[A], T], *, threads: int, room: int, size: Callable[[T], int]
    ) -> None:
        self._asks = iter(asks)
        self._make, self._size, self._room = make, size, room
        self._largest = 0
        self._waiting: deque[Future[Prepared[A, T]]] = deque()
        self._threads = min(threads, CORES)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="ahead")
        self.waited = 0.0

    def take(self, count: int) -> list[Prepared[A, T]]:
        """The next `count`, or what is left of them. As many more, at least one a thread, are begun behind them."""
        taken: list[Prepared[A, T]] = []
        while len(taken) < count:
            self._begin(max(self._threads, 2 * count - len(taken)))
            if not self._waiting:
                break
            begun = time.perf_counter()
            ready = self._waiting.popleft().result()
            self.waited += time.perf_counter() - begun
            if ready.made is not None:
                self._largest = max(self._largest, self._size(ready.made))
            taken.append(ready)
        self._begin(max(self._threads, count))
        return taken

    def _begin(self, most: int) -> None:
        """Begins as many as there is room for. Until the first is made, its size is unknown: one a thread."""
        fit = self._room // self._largest if self._largest else self._threads
        for ask in islice(self._asks, max(0, max(1, min(most, fit)) - len(self._waiting))):
            self._waiting.append(self._pool.submit(self._ready, ask))

    def _ready(self, ask: A) -> Prepared[A, T]:
        try:
            return Prepared(ask, self._make(ask))
        except Exception as error:  # of any kind: it is told with the question, and the others go on
            return Prepared(ask, None, f"{type(error).__name__}: {error}")

    def __enter__(self) -> Prefetcher[A, T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
