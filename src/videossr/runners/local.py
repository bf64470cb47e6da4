"""Runners on this machine: this very process, or worker processes (`--workers`).

Workers are spawned, not forked, so that no thread or decoder state of the caller reaches them; each uses one thread,
leaves Ctrl-C to the parent, and ends when the parent is gone, even if it was killed. They write no files: the parent
stores what they return. So nothing is lost with a worker, and it can be stopped at any moment.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from videossr.errors import WorkerError
from videossr.runners.base import AHEAD, DIED, ParallelRunner, WorkerCrash, call_outcome
from videossr.storage.paths import AnyPath

S = TypeVar("S")
T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Payload:
    """A part of a result, which a worker sends before the rest of it is made."""

    part: Any


class SerialRunner(Generic[S]):
    """A runner that makes all calls in this process. An item that kills its process kills this one."""

    def __init__(self, shared: S) -> None:
        self._shared = shared

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def run(self, work: Callable[[S, T], R], items: Iterable[T]) -> Iterator[tuple[T, R | WorkerCrash]]:
        """Implement `Runner.run`, one item after the other."""
        for item in items:
            yield item, work(self._shared, item)

    def stream(
        self, work: Callable[[S, T, Callable[[P], None]], R], items: Iterable[T]
    ) -> Iterator[tuple[T, P | R | WorkerCrash]]:
        """Implement `Runner.stream`. The parts of an item are held until it is done."""
        for item in items:
            parts: list[P] = []
            result = work(self._shared, item, parts.append)
            for part in parts:
                yield item, part
            yield item, result

    def check(self, files: Sequence[AnyPath]) -> None:
        """Implement `Runner.check`: this process reads files as itself."""


@dataclass(slots=True)
class _Worker:
    """A process, the connection to it, and its items, of which it works on the first."""

    process: SpawnProcess
    line: Connection
    items: deque[Any] = field(default_factory=deque)


class Pool(ParallelRunner[S]):
    """Worker processes of this machine. Leaving the context ends them at once, even in the middle of an item.

    A worker waits while the parts that it has sent are not taken.
    """

    def __init__(self, shared: S, workers: int) -> None:
        self._shared = shared
        self._count = workers
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        try:
            self._workers = self._begin(self._count)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.line.close()
        self._workers = []

    def check(self, files: Sequence[AnyPath]) -> None:
        """Implement `Runner.check`: the workers are processes of this machine."""

    def _run_all(self, work: Callable[..., object], items: Iterator[T], *, parts: bool) -> Iterator[tuple[T, Any]]:
        return self._distribute(work, items, AHEAD, parts=parts)

    def _run_alone(self, work: Callable[..., object], item: T, *, parts: bool) -> Iterator[tuple[T, Any]]:
        return self._distribute(work, iter([item]), 1, parts=parts)

    def _distribute(
        self, work: Callable[..., object], items: Iterator[T], ahead: int, *, parts: bool
    ) -> Iterator[tuple[T, Any]]:
        """Keep each worker supplied with `ahead` items, and yield what they send and return as it arrives."""
        returned: deque[T] = deque()
        while True:
            for worker in self._workers:
                while len(worker.items) < ahead and (given := self._next(items, returned)):
                    worker.items.append(given[0])
                    with contextlib.suppress(OSError):  # that the worker is gone is seen below
                        worker.line.send((work, given[0], parts))
            busy = {worker.line: worker for worker in self._workers if worker.items}
            if not busy:
                return
            for line in wait_for(list(busy)):
                assert isinstance(line, Connection)
                worker = busy[line]
                try:
                    message = worker.line.recv()
                except (EOFError, OSError):
                    yield worker.items.popleft(), DIED
                    returned.extend(worker.items)
                    self._replace(worker)
                    continue
                if isinstance(message, Payload):
                    yield worker.items[0], message.part
                    continue
                result, error = message
                if error is not None:
                    raise error
                yield worker.items.popleft(), result

    @staticmethod
    def _next(items: Iterator[T], returned: deque[T]) -> tuple[T] | None:
        """Take the next item, first of those that a dead worker had not begun, as a tuple; None when all are taken."""
        if returned:
            return (returned.popleft(),)
        return next(((item,) for item in items), None)

    def _replace(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.join()
        worker.line.close()
        self._workers.remove(worker)
        self._workers += self._begin(1)

    def _begin(self, count: int) -> list[_Worker]:
        """Start workers and wait until all of them have reported. Raises WorkerError when one dies before."""
        context = multiprocessing.get_context("spawn")
        begun = []
        with _without_interrupts():
            for _ in range(count):
                parent_end, worker_end = context.Pipe()
                process = context.Process(target=_serve, args=(worker_end, self._shared), daemon=True)
                process.start()
                worker_end.close()
                begun.append(_Worker(process, parent_end))
        for worker in begun:
            try:
                worker.line.recv()
            except EOFError as error:
                for other in begun:
                    other.process.kill()
                hint = "a script that starts them needs `if __name__ == '__main__':` around its own calls"
                raise WorkerError(f"worker processes die as soon as they start: {hint}") from error
        return begun


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C here, and for good in the processes that are started here: the parent ends them."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(line: Connection, shared: Any) -> None:
    """Run a worker process: make a call for each message, and send its result or error back."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        line.send("ready")
        while True:
            outcome = call_outcome(line.recv_bytes(), shared, lambda part: line.send(Payload(part)))
            line.send_bytes(pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL))


def _exit_after(parent: int) -> None:
    """End this process when its parent has ended."""
    wait_for([parent])
    os._exit(1)
