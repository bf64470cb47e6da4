"""The figures of training runs: means over the first and the last steps for tables, every step for other programs.

Printed by `videossr report RUN... --format md`, `csv` or `json`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from videossr.report.benchmark.formats import row_of
from videossr.report.benchmark.table import unique_names
from videossr.storage.jsonl import json_line
from videossr.training import config
from videossr.training.runs.records import Rollouts, Step, TrainRun
from videossr.training.runs.writer import scalars
from videossr.untrusted import csv_cell, markdown_cell

Value = Callable[[Step], float | None]


@dataclass(frozen=True, slots=True)
class NamedRun:
    """A run with its name on the page."""

    name: str
    run: TrainRun

    @property
    def note(self) -> str:
        """The remark that stands beside the run's figures: that it is unfinished."""
        if self.run.manifest is not None:
            return ""
        known = f" of {self.run.config.run.steps:,}" if self.run.config.run.steps else ""
        return f"unfinished: {len(self.run.steps):,}{known} steps"


@dataclass(frozen=True, slots=True)
class Ends:
    """Means of a figure over the first and over the last tenth of the steps that have it."""

    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of every step: its heading, how it is read from a step, and its number format."""

    name: str
    value: Value
    form: str


def of_all(name: str) -> Value:
    """Return a function that reads a figure over all groups of a step; None where a step does not have it."""
    return lambda step: figure_of(step.all, name)


def figure_of(rollouts: Rollouts | None, name: str) -> float | None:
    """Return a figure of a step, a task or a category; None where it is not reported."""
    value = getattr(rollouts, name, None)
    return None if value is None else float(value)


FIGURES = (
    Figure("loss", lambda step: step.loss, "{:.4f}"),
    Figure("smooth", of_all("smooth"), "{:.1%}"),
    Figure("strict", of_all("strict"), "{:.1%}"),
    Figure("parsed", of_all("parsed"), "{:.1%}"),
    Figure("KL", of_all("kl"), "{:.2e}"),
    Figure("entropy", of_all("entropy"), "{:.2f}"),
    Figure("distinct", of_all("distinct"), "{:.1f}"),
    Figure("prompts a second", lambda step: step.prompts_per_second, "{:.3g}"),
    Figure("MFU", lambda step: step.mfu, "{:.1%}"),
)


def named(runs: Sequence[TrainRun]) -> list[NamedRun]:
    """Give each run a name that no other has."""
    return [NamedRun(name, run) for name, run in zip(unique_names(runs), runs, strict=True)]


def ends(steps: Sequence[Step], value: Value) -> Ends | None:
    """Average a figure over the first and over the last tenth of the steps; None where no step has it."""
    known = [figure for step in steps if (figure := value(step)) is not None]
    if not known:
        return None
    tenth = max(1, len(known) // 10)
    return Ends(fmean(known[:tenth]), fmean(known[-tenth:]))


def last_steps(steps: Sequence[Step]) -> Sequence[Step]:
    """Return the last tenth of some steps."""
    return steps[-max(1, len(steps) // 10) :]


def peak(steps: Sequence[Step]) -> float | None:
    """Return the most memory, in GiB, that a process of the run had in use, as `Step.memory_gib` defines it."""
    return max((step.memory_gib for step in steps if step.memory_gib is not None), default=None)


def logprob_mismatch(steps: Sequence[Step]) -> float | None:
    """Return the largest difference of a log-probability between sampling and loss over all steps, in nats."""
    return max((step.gap for step in steps if step.gap is not None), default=None)


def last_tenth(steps: Sequence[Step], group: Callable[[Step], Rollouts | None]) -> dict[str, float]:
    """Average the figures of a task or category over the last tenth of the steps that have it; empty where none has."""
    known = [rollouts for step in steps if (rollouts := group(step)) is not None]
    rows = [asdict(rollouts) for rollouts in known[-max(1, len(known) // 10) :]]
    names = [name for name in (rows[0] if rows else ()) if all(row[name] is not None for row in rows)]
    return {name: fmean(row[name] for row in rows) for name in names}


def markdown(runs: Sequence[TrainRun]) -> str:
    """Write a Markdown table with a row for each run: means over its first and over its last steps."""
    heads = ["run", "steps", *(figure.name for figure in FIGURES), "log-probability mismatch", "peak memory, GiB"]
    lines = [
        "Means over the first and over the last tenth of the steps.",
        "",
        row_of(heads),
        row_of([":--", *["--:"] * (len(heads) - 1)]),
    ]
    for named_run in named(runs):
        steps = named_run.run.steps
        cells = [markdown_cell(named_run.name) + (f" ({named_run.note})" if named_run.note else ""), f"{len(steps):,}"]
        for figure in FIGURES:
            figure_ends = ends(steps, figure.value)
            cells.append(
                " → ".join(map(figure.form.format, (figure_ends.first, figure_ends.last))) if figure_ends else "-"
            )
        cells.append("-" if (mismatch := logprob_mismatch(steps)) is None else f"{mismatch:.1e}")
        cells.append("-" if (most := peak(steps)) is None else f"{most:.2f}")
        lines.append(row_of(cells))
    return "\n".join([*lines, ""])


def comma_separated(runs: Sequence[TrainRun]) -> str:
    """Write CSV with a line for each step of each run, with all its numbers by name."""
    rows = [
        {"run": named_run.name, "skipped": step.skipped, **scalars(step)}
        for named_run in named(runs)
        for step in named_run.run.steps
    ]
    fields = list(dict.fromkeys(("run", "step", *(name for row in rows for name in row))))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(csv_cell, fields))
    writer.writerows([csv_cell(row.get(name, "")) for name in fields] for row in rows)
    return file.getvalue()


def as_json(runs: Sequence[TrainRun]) -> str:
    """Write all numbers of the page as JSON. A number that is not finite is written as its name."""
    return json.dumps({"training": [_run(named_run) for named_run in named(runs)]}, indent=1) + "\n"


def _run(named_run: NamedRun) -> Mapping[str, object]:
    """Summarize one run, as JSON types."""
    run = named_run.run
    return {
        "name": named_run.name,
        "note": named_run.note,
        "complete": run.manifest is not None,
        "config": config.as_table(run.config),
        "manifest": asdict(run.manifest) if run.manifest else None,
        "steps": [json.loads(json_line(step)) for step in run.steps],
        "failures": [asdict(failure) for failure in run.failures],
    }
