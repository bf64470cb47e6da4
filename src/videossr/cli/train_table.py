"""The live table of `videossr train`: the last steps, the seconds of each phase, and the time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live as Screen
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from videossr.cli.console import SILENCE, safe
from videossr.training.runs.records import PHASES, Rollouts, Step

ROWS = 10
"""Steps that the table shows."""


class Live:
    """Show what a run has done so far: a table at a terminal, a line for each step elsewhere. A `RunObserver`.

    It appears with the first report, so that a command which fails at once says nothing but why.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._screen = Screen(console=console, auto_refresh=False)
        self._steps: deque[Step] = deque(maxlen=ROWS)
        self._total = 0
        self._groups = (0, 0)
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen.is_started:
            self._groups = (0, 0)
            self._screen.update(self._picture())
            self._screen.stop()

    def on_step(self, step: Step, total: int) -> None:
        """Show a step that is done, of `total`."""
        self._steps.append(step)
        self._total, self._groups = total, (0, 0)
        if self._console.is_terminal:
            self._draw()
        else:
            self._say(_line(step, total) + f", {self._left()} left")

    def on_group(self, done: int, total: int) -> None:
        """Show how many groups of the current step are done; where there is no terminal, by a line now and then."""
        self._groups = (done, total)
        if self._console.is_terminal:
            self._draw()
        elif time.monotonic() - self._said > SILENCE:
            self._say(self._now())

    def on_message(self, text: str) -> None:
        """Print a sentence for the user."""
        self._console.print(text)

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(text, soft_wrap=True)

    def _draw(self) -> None:
        self._screen.start()
        self._screen.update(self._picture(), refresh=True)

    def _picture(self) -> Group:
        parts: list[Table | Text | ProgressBar] = []
        if self._steps:
            last = self._steps[-1]
            parts.append(_table(list(self._steps)))
            if means := last.all:
                groups = f"groups: {means.zero_variance:.0%} with equal rewards, {means.noise:.0%} uninformative"
                answers = f"answers: {means.tokens:.1f} tokens, {means.distinct:.1f} different in a group"
                entropy = "" if means.entropy is None else f", entropy {means.entropy:.2f}"
                parts.append(Text(f"{groups}; {answers}{entropy}"))
            parts.append(Text(f"seconds a step: {_times(self._mean_seconds())}"))
            speed = (
                f"step {last.step} of {self._total}, epoch {last.epoch:.2f}, {last.prompts_per_second:.2f} prompts/s"
            )
            mfu = "" if last.mfu is None else f", MFU {last.mfu:.1%}"
            memory = "" if last.memory_gib is None else f", {last.memory_gib:.1f} GiB"
            parts.append(Text(f"{speed}{mfu}{memory}, {self._left()} left"))
        if self._groups[1]:
            done, total = self._groups
            parts += [Text(self._now()), ProgressBar(total=total, completed=done, width=40)]
        return Group(*parts)

    def _now(self) -> str:
        done, total = self._groups
        number = self._steps[-1].step + 1 if self._steps else None
        return f"{'in the first step' if number is None else f'in step {number}'}: {done} of {total} groups"

    def _left(self) -> str:
        """Estimate the time left from the mean duration of the steps in the table."""
        mean = sum(step.wall for step in self._steps) / len(self._steps)
        return str(timedelta(seconds=round(mean * max(0, self._total - self._steps[-1].step))))

    def _mean_seconds(self) -> dict[str, float]:
        phases = {phase: None for step in self._steps for phase in (*PHASES, *step.seconds)}
        return {phase: sum(step.seconds.get(phase, 0.0) for step in self._steps) / len(self._steps) for phase in phases}


def _times(seconds: Mapping[str, float]) -> str:
    """Write the seconds of each phase that took any."""
    order = dict.fromkeys((*PHASES, *seconds))
    parts = [f"{phase} {seconds[phase]:.2f}" for phase in order if seconds.get(phase, 0.0) >= 0.005]
    return ", ".join(parts) or "-"


def _table(steps: list[Step]) -> Table:
    """Draw the steps, with rewards and shares in percent. Three sets or tasks fit on 80 characters a line."""
    parts = sorted({part for step in steps for part in _parts(step)})
    rewarded = any(step.all for step in steps)
    heads = ["reward", *(safe(part, 12) for part in parts), "strict", "parsed", "KL"] if rewarded else ["loss", "lr"]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head in ("step", *heads, "norm", "mismatch", "s"):
        table.add_column(head, justify="right", no_wrap=True)
    for step in steps:
        if rewarded:
            by_part = (_of(_parts(step).get(part), "smooth") for part in parts)
            cells = [_of(step.all, "smooth"), *by_part, _of(step.all, "strict"), _of(step.all, "parsed")]
            cells.append("-" if step.all is None or step.all.kl is None else f"{step.all.kl:.1e}")
        else:
            cells = [f"{step.loss:.4f}", f"{step.lr:.1e}"]
        norm = "skip" if step.skipped else f"{step.grad_norm:.2g}"
        gap = "-" if step.gap is None else f"{step.gap:.0e}"
        table.add_row(str(step.step), *cells, norm, gap, f"{step.wall:.1f}")
    return table


def _parts(step: Step) -> Mapping[str, Rollouts]:
    """Return the means of a step by set where there are several sets, else by task."""
    return step.sets or step.tasks


def _of(means: Rollouts | None, name: str) -> str:
    """Write a share in percent, or a dash where there is none."""
    return "-" if means is None else f"{100 * getattr(means, name):.1f}"


def _line(step: Step, total: int) -> str:
    """Write a step on one line."""
    parts = [f"step {step.step} of {total}: loss {step.loss:.4f}"]
    if means := step.all:
        by_part = ", ".join(f"{safe(part, 40)} {of_part.smooth:.3f}" for part, of_part in _parts(step).items())
        several = len(_parts(step)) > 1
        parts.append(f"reward {means.smooth:.3f} ({by_part})" if several else f"reward {means.smooth:.3f}")
        parts.append(f"strict {means.strict:.3f}, parsed {means.parsed:.3f}")
        parts += [] if means.kl is None else [f"KL {means.kl:.1e}"]
    parts.append(f"gradient norm {step.grad_norm:.2g}")
    parts += [] if step.gap is None else [f"log-probability mismatch {step.gap:.0e}"]
    if step.skipped:
        parts.append(f"no step: {safe(step.skipped)}")
    if step.failed:
        parts.append(f"{step.failed} questions failed")
    parts.append(f"{step.wall:.1f} s ({_times(step.seconds)})")
    return ", ".join(parts)
