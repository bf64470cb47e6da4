"""Do a job a file in worker processes, and survive the file that kills its worker. Used by `videossr index`."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for
from typing import Any, TypeVar

T = TypeVar("T")

DIED = object()
"""Stands for the result of a job that took its process with it."""


def spread(
    work: Callable[..., T], jobs: Mapping[str, tuple[Any, ...]], workers: int
) -> Iterator[tuple[str, T | object]]:
    """Call `work` with the arguments of each job; yield its name and result, or `DIED`, as they are finished.

    A dead process breaks the whole pool, so what was under way is done again afterwards, each in a pool of its own.
    Jobs are begun in the order of `jobs`.
    """
    waiting = deque(jobs)
    suspects: list[str] = []
    while waiting:
        running: dict[Future[T], str] = {}
        with _pool(min(workers, len(waiting))) as pool, contextlib.suppress(BrokenProcessPool):
            _check(pool)
            while waiting or running:
                try:
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
        outcome: T | object = DIED
        with _pool(1) as pool, contextlib.suppress(BrokenProcessPool):
            _check(pool)
            outcome = pool.submit(work, *jobs[name]).result()
        yield name, outcome


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin)


def _check(pool: ProcessPoolExecutor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool as error:
        hint = "a script that starts them needs `if __name__ == '__main__':` around its own calls"
        raise RuntimeError(f"worker processes die as soon as they start: {hint}") from error


def _begin() -> None:
    """In a new worker: end without a word on Ctrl-C, and when the parent is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(parent: int) -> None:
    wait_for([parent])
    os._exit(1)
