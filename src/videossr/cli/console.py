"""Print results on one console, and show the progress of long work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderableType
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
from rich.segment import Segment
from rich.text import Text

from videossr.errors import ConfigError
from videossr.untrusted import one_line, plain_text


class PlainConsole(Console):
    """A console for text of unknown origin: names, paths, answers of models, errors of servers.

    A text is printed on one line, with all control characters escaped, and its brackets and colons as they are. It can
    neither change colors, move the cursor, ring the bell, reverse the direction of writing, nor pass for another line.
    Text of several lines is given as `lines(...)`.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Turn a string into what is printed of it."""
        return super().render_str(one_line(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render anything; what no string was is escaped as well, in the pieces that come of it."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain_text(segment.text), segment.style)

    def out(self, *objects: Any, sep: str = " ", end: str = "\n", **options: Any) -> None:
        """Print text of several lines, such as JSON, without wrapping it."""
        text = lines(sep.join(map(str, objects)))
        self.print(text, no_wrap=True, overflow="ignore", crop=False, end=end)


def lines(text: str) -> Text:
    """Return a text whose line ends are line ends where it is printed."""
    return Text(plain_text(text))


console = PlainConsole(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)

SILENCE = 10.0
"""Seconds without a word, at the most, where no bar can be drawn."""


def counted(number: int, thing: str) -> str:
    """Name a number of things: `1 video`, `2,000 videos`."""
    return f"{number:,} {thing}{'s' * (number != 1)}"


def tell_near(near: Iterable[tuple[str, str, float]], *, dropped: bool) -> None:
    """Print a line for each near-duplicate.

    Args:
        near: path of the video, path of the video that it resembles, and share of its frames that match.
        dropped: whether these videos were left out.
    """
    for path, twin, share in near:
        left_out = ", left out" if dropped else ""
        console.print(f"  near-duplicate{left_out}: {safe(path)} looks like {safe(twin)} ({share:.0%} of the frames)")


class _Rate(ProgressColumn):
    """A column with the items that are done in a second."""

    def render(self, task: Task) -> Text:
        """Write the speed of a task, if it is known yet."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class _Note(ProgressColumn):
    """A column with the text that the caller gives as `note`."""

    def render(self, task: Task) -> Text:
        """Write the note of a task."""
        return Text(one_line(str(task.fields.get("note", ""))))


class Bar:
    """A progress bar on standard error: phase, share done, items a second, time left, and a note of the caller.

    It appears with the first report, so that a command which fails at once prints nothing but its error.
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
        self._progress = Progress(*columns, console=PlainConsole(stderr=True))
        self._tasks: dict[str, TaskID] = {}
        self._said = time.monotonic()
        self._line = ""  # the last state, where it was not printed
        self._spoke = False  # whether any state was printed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._line and self._spoke:
            self.say(self._line)
        if self._tasks:
            self._progress.stop()

    def show(self, phase: str, done: int, total: int, note: str = "") -> None:
        """Report progress. Where standard error is no terminal, print a line every `SILENCE` seconds instead.

        Args:
            phase: what is being done; each phase has a bar of its own.
            done: items that are finished.
            total: items in all.
            note: text behind the bar.
        """
        if not self._progress.console.is_terminal:
            now = time.monotonic()
            line = f"{phase}: {done} of {total}" + (note and f", {note}")
            self._line = "" if now - self._said > SILENCE else line
            if not self._line:
                self._said = now
                self._spoke = True
                self.say(line)
            return
        if phase not in self._tasks:
            self._progress.start()
            self._tasks[phase] = self._progress.add_task(phase)
        self._progress.update(self._tasks[phase], completed=done, total=total, note=note)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, soft_wrap=True)


def output_file(path: Path, example: str) -> Path:
    """Check, before any work is done, that a file can be written, and make its folder.

    Args:
        path: the file.
        example: the name of a file to propose where `path` is a folder.

    Returns:
        `path`.

    Raises:
        ConfigError: `path` is a folder, or its parent is a file.
    """
    if path.is_dir():
        raise ConfigError(f"{path} is a folder: name a file, such as {path / example}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise ConfigError(f"{path}: {path.parent} is not a folder") from error
    return path


def safe(text: str, most: int = 200) -> str:
    """Make text of unknown origin safe for the terminal, on one line, and cut it at `most` characters.

    The console escapes all that it prints; this also shortens what may be long, such as the answer of a model.
    """
    return one_line(text, most)
