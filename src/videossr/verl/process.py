"""Start a program of verl, write down what it prints, and end it with all that it has started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from videossr.errors import WorkerError

POLL = 0.5
"""Seconds between two looks at a program that runs."""

PATIENCE = 30.0
"""Seconds that Ray has to end its workers before a stronger signal is sent."""

_TAIL, _WIDTH = 30, 300
"""Lines of the log that an error shows, and characters of each."""

_BYTES = 16_384


def run_module(
    module: str,
    words: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    watch: Callable[[], bool] = lambda: False,
) -> None:
    """Run a module of this environment's Python, until it ends or is to be ended.

    Args:
        module: such as ``verl.trainer.main_ppo``.
        words: of its command line.
        log: file to which all that it prints is added.
        environment: variables beside those of this process.
        watch: called twice a second and once at the end; True asks for the end.

    Raises:
        KeyboardInterrupt: `watch` has asked for the end.
        WorkerError: it has ended with another exit status than 0; the message has the end of its log.
    """
    with log.open("ab") as file:
        start = file.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            start_new_session=True,  # so that Ctrl-C reaches it once, from here
        )
    try:
        while process.poll() is None:
            if watch():
                raise KeyboardInterrupt
            time.sleep(POLL)
    finally:
        _end(process)
    if watch():
        raise KeyboardInterrupt
    if process.returncode:
        raise WorkerError(f"{module} ended with {_status(process.returncode)}. The end of {log}:\n{tail(log, start)}")


def tail(log: Path, start: int = 0) -> str:
    """Return the last lines of a log, of what was written behind its byte `start`."""
    with log.open("rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - _BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join(line if len(line) <= _WIDTH else f"{line[:_WIDTH]}…" for line in lines[-_TAIL:])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that still runs: Ctrl-C first, by which Ray ends its workers, and stronger signals later."""
    for number, everything in ((signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGKILL, True)):
        if process.poll() is not None:
            return
        if everything:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            continue


def _status(code: int) -> str:
    """Name how a program has ended."""
    return f"exit status {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
