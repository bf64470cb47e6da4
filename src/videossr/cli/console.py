"""The terminal: one console for results, and the progress bar of long work."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "")


class _Note(ProgressColumn):
    """What the caller says in the field `note`."""

    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("note", "")))


def bar() -> Progress:
    """A progress bar on standard error: what, how far, how fast, how long still, and a note of the caller's."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        _Note(),
    )
    return Progress(*columns, console=Console(stderr=True))
