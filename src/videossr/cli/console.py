"""The terminal: one console for results, and the progress bar of long work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from videossr.errors import ConfigError


def _plain(*, stderr: bool = False, width: int | None = None) -> Console:
    """Names and paths are printed as they are, whatever brackets and colons they hold."""
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


console = _plain(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)

SILENCE = 10.0
"""Seconds without a word, at the most, where no bar can be drawn."""


def counted(number: int, thing: str) -> str:
    """Name a number of things: `1 video`, `2,000 videos`."""
    return f"{number:,} {thing}{'s' * (number != 1)}"


def tell_near(near: Iterable[tuple[str, str, float]], *, dropped: bool) -> None:
    """Print a line for each near-duplicate: the path of the video, of its twin, and the share of frames."""
    for path, twin, share in near:
        left_out = ", left out" if dropped else ""
        console.print(f"  near-duplicate{left_out}: {safe(path)} looks like {safe(twin)} ({share:.0%} of the frames)")


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class _Note(ProgressColumn):
    """What the caller says in the field `note`."""

    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("note", "")))


class Bar:
    """Progress on standard error: what, how far, how fast, how long still, and a note of the caller's.

    It appears with the first report, so that a command which fails at once says nothing but why.
    """

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            _Note(),
        )
        self._progress = Progress(*columns, console=_plain(stderr=True))
        self._tasks: dict[str, TaskID] = {}
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks:
            self._progress.stop()

    def show(self, what: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` are finished. Where there is no terminal, a line now and then says so."""
        if not self._progress.console.is_terminal:
            now = time.monotonic()
            if now - self._said > SILENCE:
                self._said = now
                self.say(f"{what}: {done} of {total}" + (note and f", {note}"))
            return
        if what not in self._tasks:
            self._progress.start()
            self._tasks[what] = self._progress.add_task(what)
        self._progress.update(self._tasks[what], completed=done, total=total, note=note)

    def say(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(text, soft_wrap=True)


def output_file(path: Path, example: str) -> Path:
    """Check, before any work is done, that a file can be written, and make the folder that it lies in.

    Raises ValueError for a folder, naming the file `example` in it, and where something else stands in the way.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name a file, such as {path / example}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{path}: {path.parent} is not a folder") from error
    return path


def safe(text: str, most: int = 200) -> str:
    """Text of others for the terminal, on one line: what cannot be printed is escaped, and what is too long is cut.

    So neither colors nor a moved cursor, a bell or reversed writing come out of what a model said.
    """
    short = text if len(text) <= most else text[:most] + "…"
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in short)
