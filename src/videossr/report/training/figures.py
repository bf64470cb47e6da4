"""The figures of training runs: where each began and where it is, for tables, and every step for other programs.

videossr report RUN... --format md
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from videossr.report.benchmark.formats import cell_of, row_of
from videossr.report.benchmark.table import unique_names
from videossr.report.page import plain_text
from videossr.training import config
from videossr.training.runs.records import Rollouts, Step, TrainRun, line
from videossr.training.runs.writer import scalars

Value = Callable[[Step], float | None]


@dataclass(frozen=True, slots=True)
class NamedRun:
    """A run with its name on the page."""

    name: str
    run: TrainRun

    @property
    def note(self) -> str:
        """What must be said wherever its figures stand."""
        if self.run.manifest is not None:
            return ""
        known = f" of {self.run.config.run.steps:,}" if self.run.config.run.steps else ""
        return f"unfinished: {len(self.run.steps):,}{known} steps"


@dataclass(frozen=True, slots=True)
class Ends:
    """Mean over the first and over the last tenth of the steps that have the figure."""

    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of every step: what tables call it, how it is found, and how it is written."""

    name: str
    value: Value
    form: str


def of_all(name: str) -> Value:
    """The figure of that name over all groups; None for supervised steps."""
    return lambda step: None if step.all is None else float(getattr(step.all, name))


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
    """The runs, no two of one name."""
    return [NamedRun(name, run) for name, run in zip(unique_names(runs), runs, strict=True)]


def ends(steps: Sequence[Step], value: Value) -> Ends | None:
    """Where a figure began and where it is; None where no step has it."""
    known = [found for step in steps if (found := value(step)) is not None]
    if not known:
        return None
    tenth = max(1, len(known) // 10)
    return Ends(fmean(known[:tenth]), fmean(known[-tenth:]))


def last_steps(steps: Sequence[Step]) -> Sequence[Step]:
    """The last tenth of some steps."""
    return steps[-max(1, len(steps) // 10) :]


def peak(steps: Sequence[Step]) -> float:
    """Return the most memory, in GiB, that a process of the run had in use, as `Step.memory_gib` defines it."""
    return max((step.memory_gib for step in steps), default=0.0)


def logprob_mismatch(steps: Sequence[Step]) -> float:
    """The largest certificate of all steps."""
    return max((step.gap for step in steps), default=0.0)


def last_tenth(steps: Sequence[Step], group: Callable[[Step], Rollouts | None]) -> dict[str, float]:
    """Average the figures of a task or category over the last tenth of the steps that have it; empty where none has."""
    known = [found for step in steps if (found := group(step)) is not None]
    rows = [asdict(each) for each in known[-max(1, len(known) // 10) :]]
    return {name: fmean(row[name] for row in rows) for name in (rows[0] if rows else ())}


def markdown(runs: Sequence[TrainRun]) -> str:
    """A row for each run, ready for a README: where its figures began, and where they are."""
    heads = ["run", "steps", *(figure.name for figure in FIGURES), "largest gap", "peak memory, GiB"]
    lines = [
        "Means over the first and over the last tenth of the steps.",
        "",
        row_of(heads),
        row_of([":--", *["--:"] * (len(heads) - 1)]),
    ]
    for each in named(runs):
        steps = each.run.steps
        cells = [cell_of(each.name) + (f" ({each.note})" if each.note else ""), f"{len(steps):,}"]
        for figure in FIGURES:
            found = ends(steps, figure.value)
            cells.append(" → ".join(map(figure.form.format, (found.first, found.last))) if found else "-")
        lines.append(row_of([*cells, f"{logprob_mismatch(steps):.1e}", f"{peak(steps):.2f}"]))
    return "\n".join([*lines, ""])


def comma_separated(runs: Sequence[TrainRun]) -> str:
    """A line for each step of each run, with all its numbers by their names."""
    rows = [
        {"run": each.name, "skipped": plain_text(step.skipped), **scalars(step)}
        for each in named(runs)
        for step in each.run.steps
    ]
    fields = dict.fromkeys(("run", "step", *(name for row in rows for name in row)))
    file = io.StringIO()
    writer = csv.DictWriter(file, list(fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def as_json(runs: Sequence[TrainRun]) -> str:
    """Everything numeric that the page shows. A number that is not finite stands as its name."""
    return json.dumps({"training": [_run(each) for each in named(runs)]}, indent=1) + "\n"


def _run(each: NamedRun) -> Mapping[str, object]:
    run = each.run
    return {
        "name": each.name,
        "note": each.note,
        "complete": run.manifest is not None,
        "config": config.as_table(run.config),
        "manifest": asdict(run.manifest) if run.manifest else None,
        "steps": [json.loads(line(step)) for step in run.steps],
        "failures": [asdict(failure) for failure in run.failures],
    }
