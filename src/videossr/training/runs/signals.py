"""Turn the first Ctrl-C or SIGTERM into a request to stop, so that a run ends without loss. Torch-free."""

from __future__ import annotations

import os
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
def catch_signals(words: str) -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM into a request to stop; a second one stops at once.

    Args:
        words: that the first process of a run then prints, without Python's buffers, which a signal may find half full.
    """
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
        if not int(os.environ.get("RANK", "0")):
            os.write(2, f"{words}\n".encode())

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        restore()
