"""Worker processes, for `videossr index` and `videossr build` (`--workers`, `--ray`).

They are spawned, not forked, so that no thread or decoder state of the caller reaches them; each uses one thread,
leaves Ctrl-C to the parent, and ends when the parent is gone, even if it was killed. They write no files: what they
return, the parent keeps. So nothing is lost with a worker, and it can be stopped at any moment.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from videossr.errors import ConfigError, WorkerError
from videossr.runners.threads import available_cores
from videossr.storage.paths import AnyPath

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")

CORES = available_cores()
"""Processors that this process may use."""

AHEAD = 2
"""Items that a worker has at once, so that it need not wait for the parent between two."""


@dataclass(frozen=True, slots=True)
class WorkerCrash:
    """Stands for the result of an item that took its process with it, twice."""


DIED: Final = WorkerCrash()


@dataclass(frozen=True, slots=True)
class Payload:
    """A part of a result, on its way from a worker before the rest of it is made."""

    part: Any


class Runner(Protocol[S_co]):
    """Something that calls functions elsewhere: worker processes of this machine, or those of a cluster."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, work: Callable[[S_co, T], R], items: Iterable[T]) -> Iterator[tuple[T, R | WorkerCrash]]:
        """Call `work(shared, item)` for each item; yield the item and the result, in the order of being done.

        `items` are taken as they are needed, so that only a few a worker are on their way at any time. An error that
        `work` raises is raised here. An item whose process dies is tried once more; the others are not harmed.
        """

    def stream(
        self, work: Callable[[S_co, T, Callable[[P], None]], R], items: Iterable[T]
    ) -> Iterator[tuple[T, P | R | WorkerCrash]]:
        """Call `work(shared, item, send)` for each item, as `run` does, and yield what it sends as it comes.

        So a result that is too large to be held at once arrives in parts; what `work` returns is yielded after them.
        The parts of several items arrive mixed. An item that is tried once more sends all of its parts anew.
        """

    def check(self, files: Sequence[AnyPath]) -> None:
        """Make sure that every machine can do the work of this one, and reads these files as this one does.

        Raises WorkerError, which names what each machine lacks.
        """


def start(shared: S, workers: int, ray: str | None = None) -> Runner[S]:
    """The runner that these options ask for; `shared` is sent to each process once.

    Args:
        shared: first argument of every call.
        workers: processes of this machine.
        ray: address of a Ray cluster, or "local" for one on this machine with `workers` processors.

    Raises:
        ValueError: `workers` is below 1.
        WorkerError: Ray is not installed.
    """
    if workers < 1:
        raise ConfigError(f"workers must be 1 or more, got {workers}")
    if ray is None:
        return Pool(shared, workers)
    from videossr.runners.cluster import RayPool

    return RayPool(shared, ray, workers)


class SerialRunner(Generic[S]):
    """A runner that is this very process. An item that kills its process kills this one."""

    def __init__(self, shared: S) -> None:
        self._shared = shared

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def run(self, work: Callable[[S, T], R], items: Iterable[T]) -> Iterator[tuple[T, R | WorkerCrash]]:
        for item in items:
            yield item, work(self._shared, item)

    def stream(
        self, work: Callable[[S, T, Callable[[P], None]], R], items: Iterable[T]
    ) -> Iterator[tuple[T, P | R | WorkerCrash]]:
        """See `Runner.stream`. The parts of an item are held until it is done."""
        for item in items:
            parts: list[P] = []
            result = work(self._shared, item, parts.append)
            for part in parts:
                yield item, part
            yield item, result

    def check(self, files: Sequence[AnyPath]) -> None:
        return


@dataclass(slots=True)
class _Worker:
    """A process, the line to it, and the items that it has, the one that it is at first."""

    process: SpawnProcess
    line: Connection
    items: deque[Any] = field(default_factory=deque)


class Pool(Generic[S]):
    """Worker processes of this machine. Leaving the context ends them at once, whatever they are at."""

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

    def run(self, work: Callable[[S, T], R], items: Iterable[T]) -> Iterator[tuple[T, R | WorkerCrash]]:
        """See `Runner.run`. What killed a worker is tried again after all the rest, alone."""
        return self._twice(work, items, parts=False)

    def stream(
        self, work: Callable[[S, T, Callable[[P], None]], R], items: Iterable[T]
    ) -> Iterator[tuple[T, P | R | WorkerCrash]]:
        """See `Runner.stream`. A worker waits while the parts that it has sent are not taken."""
        return self._twice(work, items, parts=True)

    def _twice(self, work: Callable[..., Any], items: Iterable[T], *, parts: bool) -> Iterator[tuple[T, Any]]:
        suspects: list[T] = []
        for item, result in self._pass(work, iter(items), AHEAD, parts=parts):
            if isinstance(result, WorkerCrash):
                suspects.append(item)
            else:
                yield item, result
        for item in suspects:
            yield from self._pass(work, iter([item]), 1, parts=parts)

    def check(self, files: Sequence[AnyPath]) -> None:
        return

    def _pass(
        self, work: Callable[..., Any], items: Iterator[T], ahead: int, *, parts: bool
    ) -> Iterator[tuple[T, Any]]:
        left: deque[T] = deque()
        while True:
            for worker in self._workers:
                while len(worker.items) < ahead and (given := self._next(items, left)):
                    worker.items.append(given[0])
                    with contextlib.suppress(OSError):  # that it is gone is seen below
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
                    left.extend(worker.items)
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
    def _next(items: Iterator[T], left: deque[T]) -> tuple[T] | None:
        if left:
            return (left.popleft(),)
        return next(((item,) for item in items), None)

    def _replace(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.join()
        worker.line.close()
        self._workers.remove(worker)
        self._workers += self._begin(1)

    def _begin(self, count: int) -> list[_Worker]:
        """New workers, all of which have said that they are there. Raises WorkerError."""
        context = multiprocessing.get_context("spawn")
        begun = []
        with _without_interrupts():
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs, self._shared), daemon=True)
                process.start()
                theirs.close()
                begun.append(_Worker(process, ours))
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
    """Ctrl-C is ignored here, and for good by the processes that are started here: the parent ends them."""
    if threading.current_thread() is not threading.main_thread():  # only this one may choose
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(line: Connection, shared: Any) -> None:
    """The life of a worker: a call for each message, and its result or error in return."""
    import cv2

    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        line.send("ready")
        while True:
            outcome = outcome_of(line.recv_bytes(), shared, lambda part: line.send(Payload(part)))
            line.send_bytes(pickle.dumps(outcome, pickle.HIGHEST_PROTOCOL))


def outcome_of(call: bytes, shared: Any, send: Callable[[Any], None]) -> tuple[Any, Exception | None]:
    """Make a pickled call `(work, item, parts)`: its result and its error, of which one is None.

    Where `parts` is true, `work` is given `send` as well, see `Runner.stream`.
    """
    try:
        work, item, parts = pickle.loads(call)
        return work(shared, item, send) if parts else work(shared, item), None
    except Exception as error:
        error.add_note("in a worker process:\n" + traceback.format_exc())
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return None, WorkerError(f"{type(error).__name__}: {error}")
        return None, error


def _end_with(parent: int) -> None:
    wait_for([parent])
    os._exit(1)
