"""Worker processes that share one read-only object. With one worker everything runs in this process instead.

`videossr index` and `videossr build` (`--workers`) run on it.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import cv2

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

_shared: Any = None


class Pool(Generic[S]):
    """Calls `work(shared, item)` for many items; `shared` is sent to each worker once.

    Workers are spawned, not forked, so that no thread or decoder state of the caller reaches them, and each uses one
    thread: the work is spread over items.
    """

    def __init__(self, shared: S, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers must be 1 or more, got {workers}")
        self._shared = shared
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._workers > 1:
            context = multiprocessing.get_context("spawn")
            self._executor = ProcessPoolExecutor(self._workers, context, _start, (self._shared,))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor:
            self._executor.shutdown(cancel_futures=True)

    def map(self, work: Callable[[S, T], R], items: Iterable[T]) -> Iterator[R]:
        """Results in the order of `items`. An error in a worker is raised here.

        Only a few items a worker are on their way at any time, so memory does not grow with their number.
        """
        if self._executor is None:
            yield from (work(self._shared, item) for item in items)
            return
        running: deque[Future[R]] = deque()
        for item in items:
            running.append(self._executor.submit(_call, work, item))
            if len(running) > 4 * self._workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _start(shared: Any) -> None:
    global _shared
    _shared = shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is left to the parent
    cv2.setNumThreads(1)


def _call(work: Callable[[Any, T], R], item: T) -> R:
    return work(_shared, item)
