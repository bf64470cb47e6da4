"""Turn the first Ctrl-C or SIGTERM into a request to stop, so that a run ends without loss. Torch-free."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class StopRequest:
    """Hold whether this process was asked to stop."""

    asked: bool = False


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM into a request to stop after the step; a second one stops at once."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(*_event: object) -> None:
        stop.asked = True
        restore()

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        restore()
