"""Prefetching: prepare questions in background threads while the model answers or learns earlier ones.

`videossr.models.transformers_model`, `videossr.models.vllm_model` and the training use it.
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
    """A question and its prepared form, or the error of preparing it.

    Attributes:
        ask: the question.
        made: what `make` returned for it; None where it failed.
        error: kind and text of the error; empty where there is none.
    """

    ask: A
    made: T | None
    error: str = ""


class Prefetcher(Generic[A, T]):
    """Prepares questions in threads, in order. Leaving the context waits until the threads have ended.

    Args:
        asks: the questions, or what names them; taken in the caller's thread, as far ahead as there is room.
        make: prepares one question; whatever it raises becomes the question's error.
        threads: number of questions that are prepared at once, at most one a processor.
        room: bytes of all questions that are prepared and not yet taken, at most. One is always prepared, however large
            it is.
        size: returns the bytes of a prepared question.

    Attributes:
        waited: seconds for which callers had to wait.
    """

    def __init__(
        self, asks: Iterable[A], make: Callable[[A], T], *, threads: int, room: int, size: Callable[[T], int]
    ) -> None:
        self._asks = iter(asks)
        self._make = make
        self._size = size
        self._room = room
        self._largest = 0
        self._waiting: deque[Future[Prepared[A, T]]] = deque()
        self._threads = min(threads, CORES)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="ahead")
        self.waited = 0.0

    def take(self, count: int) -> list[Prepared[A, T]]:
        """Take the next `count` questions, or fewer at the end, and begin as many more, at least one a thread."""
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
        """Begin as many as there is room for; one a thread until the size of the first is known."""
        fit = self._room // self._largest if self._largest else self._threads
        for ask in islice(self._asks, max(0, max(1, min(most, fit)) - len(self._waiting))):
            self._waiting.append(self._pool.submit(self._ready, ask))

    def _ready(self, ask: A) -> Prepared[A, T]:
        try:
            return Prepared(ask, self._make(ask))
        except Exception as error:  # any error fails this question alone
            return Prepared(ask, None, f"{type(error).__name__}: {error}")

    def __enter__(self) -> Prefetcher[A, T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
