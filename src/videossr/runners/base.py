"""The protocol of runners, which call functions elsewhere, and what the runners of several processes share.

`videossr.runners.start` chooses among the runners of `local` and `cluster`.
"""

from __future__ import annotations

import pickle
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from videossr.errors import WorkerError
from videossr.storage.paths import AnyPath

S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)
T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")

AHEAD = 2
"""Items that a worker has at once, so that it need not wait for the parent between two."""


@dataclass(frozen=True, slots=True)
class WorkerCrash:
    """Stands for the result of an item that killed its process twice."""


DIED: Final = WorkerCrash()


class Runner(Protocol[S_co]):
    """Calls functions in this process, in worker processes of this machine, or in those of a cluster."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def run(self, work: Callable[[S_co, T], R], items: Iterable[T]) -> Iterator[tuple[T, R | WorkerCrash]]:
        """Call `work(shared, item)` for each item. An item whose process dies is tried once more, alone, at the end.

        Args:
            work: a function that can be pickled.
            items: taken as they are needed, so that only a few a worker are on their way at any time.

        Yields:
            Each item and its result, in the order in which they are done; `DIED` for an item that killed its process
            again.

        Raises:
            Exception: whatever `work` raises.
            WorkerError: the processes cannot be started or reached, or an error of `work` cannot be pickled.
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

        Args:
            files: files that the machines must reach.

        Raises:
            WorkerError: a machine lacks something; the message names it for each machine.
        """


class ParallelRunner(ABC, Generic[S]):
    """The part of a runner of several processes that tries again what killed its process."""

    def run(self, work: Callable[[S, T], R], items: Iterable[T]) -> Iterator[tuple[T, R | WorkerCrash]]:
        """Implement `Runner.run`."""
        return self._run(work, items, parts=False)

    def stream(
        self, work: Callable[[S, T, Callable[[P], None]], R], items: Iterable[T]
    ) -> Iterator[tuple[T, P | R | WorkerCrash]]:
        """Implement `Runner.stream`."""
        return self._run(work, items, parts=True)

    def _run(self, work: Callable[..., object], items: Iterable[T], *, parts: bool) -> Iterator[tuple[T, Any]]:
        suspects: list[T] = []
        for item, result in self._run_all(work, iter(items), parts=parts):
            if isinstance(result, WorkerCrash):
                suspects.append(item)
            else:
                yield item, result
        for item in suspects:
            yield from self._run_alone(work, item, parts=parts)

    @abstractmethod
    def _run_all(self, work: Callable[..., object], items: Iterator[T], *, parts: bool) -> Iterator[tuple[T, Any]]:
        """Do all items side by side; yield `DIED` for one that may have killed its process."""

    @abstractmethod
    def _run_alone(self, work: Callable[..., object], item: T, *, parts: bool) -> Iterator[tuple[T, Any]]:
        """Do one item while nothing else is at work; yield `DIED` when it kills its process."""


def call_outcome(call: bytes, shared: Any, send: Callable[[Any], None]) -> tuple[Any, Exception | None]:
    """Make a pickled call in a worker process.

    Args:
        call: the pickled tuple (work, item, parts). Where `parts` is true, `work` is given `send` as well, see
            `Runner.stream`.
        shared: first argument of `work`.
        send: takes one part of the result.

    Returns:
        The result and the error of the call, of which one is None. The error can be pickled.
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
