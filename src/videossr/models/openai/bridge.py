"""A bridge from concurrent work to an ordinary iterator over its results, for `videossr.models.openai.model`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


def run_in_background(work: Callable[[Callable[[T], None]], Awaitable[None]]) -> Iterator[T]:
    """Run `work` in the background and yield its results.

    It runs in a thread and an event loop of its own, so it goes on while its results are used, and may be called where
    an event loop is already running. It begins when the first result is asked for; closing the iterator cancels it and
    waits until it has ended.

    Args:
        work: is called with a function that takes a result.

    Yields:
        The results in the order in which they are put.

    Raises:
        BaseException: the error of `work`, after its last result.
    """
    out: SimpleQueue[T | _End] = SimpleQueue()
    loop = asyncio.new_event_loop()
    task: asyncio.Task[None] = loop.create_task(_run(work, out.put))

    def run() -> None:
        error: BaseException | None = None
        try:
            loop.run_until_complete(task)
        except BaseException as caught:
            error = caught
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
            out.put(_End(error))

    thread = threading.Thread(target=run, name="requests", daemon=True)
    thread.start()
    try:
        while not isinstance(item := out.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        with contextlib.suppress(RuntimeError):  # the work has ended, and its loop is closed
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


async def _run(work: Callable[[Callable[[T], None]], Awaitable[None]], put: Callable[[T], None]) -> None:
    await work(put)
