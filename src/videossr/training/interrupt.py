"""A run that is told to stop finishes its step first, so that nothing is lost.

Exercised by Ctrl-C, and by a scheduler that takes its machine back, in `videossr train CONFIG --out RUN`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class StopRequest:
    """Whether this process was asked to stop."""

    asked: bool = False


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Inside, the first Ctrl-C or SIGTERM only asks; a second one stops at once, as it does elsewhere."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # only that one may say what a signal does
        yield stop
        return
    before = {each: signal.getsignal(each) for each in SIGNALS}

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler)

    def ask(*_told: object) -> None:
        stop.asked = True
        restore()

    for each in SIGNALS:
        signal.signal(each, ask)
    try:
        yield stop
    finally:
        restore()
