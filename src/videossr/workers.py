"""Worker processes, for `videossr index` and `videossr build` (`--workers`).

They are spawned, not forked, so that no thread or decoder state of the caller reaches them; each uses one thread,
leaves Ctrl-C to the parent, and ends when the parent is gone, even if it was killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Processors that this process may use."""

DIED = object()
"""Stands for the result of a job that took its process with it."""

_shared: Any = None


class WorkerError(RuntimeError):
    """A worker process died, or none could be started."""


class Pool(Generic[S]):
    """Calls `work(shared, item)` for many items; `shared` is sent to each worker once. One worker is this process.

    Raises WorkerError when a worker dies, which a lack of memory can cause.
    """

    def __init__(self, shared: S, workers: int) -> None:
        if workers < 1:
            raise ValueError(f"workers must be 1 or more, got {workers}")
        self._shared = shared
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._workers > 1:
            self._executor = _start(self._workers, self._shared)
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
        try:
            for item in items:
                running.append(self._executor.submit(_call, work, item))
                if len(running) > 4 * self._workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        except BrokenProcessPool as error:
            raise WorkerError("a worker process died; if memory ran out, give fewer --workers") from error


def spread(
    work: Callable[..., R], jobs: Mapping[str, tuple[Any, ...]], workers: int
) -> Iterator[tuple[str, R | object]]:
    """Call `work` with the arguments of each job; yield its name and result, or `DIED`, as they are finished.

    A dead process breaks its whole pool, so what was under way is done again afterwards, each in a pool of its own.
    Jobs are begun in the order of `jobs`. Raises WorkerError when no worker can be started.
    """
    waiting = deque(jobs)
    suspects: list[str] = []
    while waiting:
        running: dict[Future[R], str] = {}
        with _start(min(workers, len(waiting))) as pool, contextlib.suppress(BrokenProcessPool):
            try:
                while waiting or running:
                    while waiting and len(running) < 2 * workers:
                        running[pool.submit(work, *jobs[waiting[0]])] = waiting[0]
                        waiting.popleft()
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        result = future.result()
                        yield running.pop(future), result
            except BrokenProcessPool:
                suspects += running.values()
                raise
    for name in suspects:
        outcome: R | object = DIED
        with _start(1) as pool, contextlib.suppress(BrokenProcessPool):
            outcome = pool.submit(work, *jobs[name]).result()
        yield name, outcome


def _start(workers: int, shared: Any = None) -> ProcessPoolExecutor:
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (shared,))
    with _without_interrupts():
        started = [pool.submit(os.getpid) for _ in range(workers)]
    try:
        for process in started:
            process.result()
    except BrokenProcessPool as error:
        hint = "a script that starts them needs `if __name__ == '__main__':` around its own calls"
        raise WorkerError(f"worker processes die as soon as they start: {hint}") from error
    return pool


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C is ignored here, and for good by the processes that are started here: the parent ends them."""
    if threading.current_thread() is not threading.main_thread():  # only this one may choose
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _begin(shared: Any) -> None:
    """In a new worker."""
    import cv2

    global _shared
    _shared = shared
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(parent: int) -> None:
    wait_for([parent])
    os._exit(1)


def _call(work: Callable[[Any, T], R], item: T) -> R:
    return work(_shared, item)
