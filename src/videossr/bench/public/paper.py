"""The paper's tables from runs of public benchmarks, with the rows that the paper prints beside those measured here.

Exercised by `videossr report RUN... --layout paper`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from videossr.bench.public.base import BENCHMARKS, Benchmark
from videossr.bench.public.comparison import FigureChange, asked_alike, figure_changes
from videossr.bench.public.departures import departures
from videossr.bench.public.figures import FigureKey
from videossr.bench.public.model_runs import ModelRuns
from videossr.bench.public.published import FRAMES, Column, PublishedRow, published
from videossr.bench.public.scoring import PublicFigure, counted_predictions, rules_of, score_public
from videossr.bench.records import read_run
from videossr.bench.scoring import Estimate, Resampler
from videossr.errors import ConfigError
from videossr.registry import suggest

Status: TypeAlias = Literal["not run", "no", "in part", "as far as is known"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A column of a table.

    Attributes:
        benchmark: registered name of the benchmark.
        group: heading over several columns.
        heading: of the column.
        figure: name of the figure; empty for the headline.
        scope: of the figure.
    """

    benchmark: str
    group: str
    heading: str
    figure: str = ""
    scope: str = ""


ABLATION = (
    Metric("videomme", "Video-MME", "all"),
    Metric("videomme", "Video-MME", "long", "accuracy", "long"),
    Metric("charades", "Charades-STA", "mIoU", "mIoU"),
    Metric("charades", "Charades-STA", "R@0.5", "R@0.5"),
    Metric("vcrbench", "VCRBench", "accuracy"),
    Metric("vcrbench", "VCRBench", "step", "step accuracy"),
)
"""Columns of the paper's table of ablations."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell of a table; shares of 1.

    Attributes:
        value: the figure with its 95% interval, which has no width where the paper prints it; None where nothing was
            measured.
        gain: how much more it is than the base's, with the interval of the paired difference; None for the base itself,
            and where the two cannot be paired.
        departs: whether the run departs from the paper, see `Check`.
        real: whether the gain is larger than noise, see `FigureChange`.
    """

    value: Estimate | None = None
    gain: Estimate | None = None
    departs: bool = False
    real: bool = True


NOTHING = Entry()


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table: of a model that was run, or as the paper prints it."""

    model: str
    frames: int
    kind: Literal["run", "published"]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: a line for each model and number of frames."""

    name: str
    title: str
    metrics: tuple[Metric, ...]
    lines: tuple[Line, ...]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Return the headings over the columns, and how many columns each spans."""
        spans: list[tuple[str, int]] = []
        for metric in self.metrics:
            if spans and spans[-1][0] == metric.group:
                spans[-1] = metric.group, spans[-1][1] + 1
            else:
                spans.append((metric.group, 1))
        return spans


@dataclass(frozen=True, slots=True)
class Check:
    """Whether the scores of a model in a column of the paper can be compared with those that the paper prints.

    Attributes:
        model, heading: whose, and which column.
        status: `no` where all of its runs depart from the paper, `in part` where some do.
        reasons: what departs, with the numbers of frames at which it does.
    """

    model: str
    heading: str
    status: Status
    reasons: tuple[tuple[str, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Paper:
    """All that the report shows.

    Attributes:
        arxiv: identifier of the paper.
        models: names of the models that were run.
        base: the one over which gains are; None where there is one model.
        rules: by registered name of a benchmark, the rule by which it was scored.
        tables: those of the paper, then one of benchmarks that it does not have, if any were run.
        columns: of the paper, with what it leaves open.
        checks: for each model and column.
        open: what the paper leaves open in all columns.
        notes: what is odd about the runs.
    """

    arxiv: str
    models: tuple[str, ...]
    base: str | None
    rules: Mapping[str, str]
    tables: tuple[Table, ...]
    columns: tuple[Column, ...]
    checks: tuple[Check, ...]
    open: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Measured:
    """The figures of one run, the gains over the base, and in what it departs from the paper."""

    figures: tuple[PublicFigure, ...]
    gains: Mapping[FigureKey, FigureChange]
    departs: tuple[str, ...]

    def entry(self, metric: Metric) -> Entry:
        """Return the cell of a column."""
        for figure in self.figures:
            key = figure.name, figure.scope
            if not metric.figure or key == (metric.figure, metric.scope):
                gain = self.gains.get(key)
                if gain is None:
                    return Entry(figure.asked, None, bool(self.departs))
                return Entry(figure.asked, gain.change, bool(self.departs), gain.real)
        return NOTHING


_Results: TypeAlias = dict[tuple[str, int], dict[str, _Measured]]
"""By model and number of frames, the measured benchmarks by name."""


def gather_paper(models: Sequence[ModelRuns], base: str | None = None, rule: str = "ours") -> Paper:
    """Score all runs and arrange the figures as the paper does.

    Args:
        models: with their runs, complete or not, see `videossr.bench.public.model_runs.find_models`.
        base: name of the model over which gains are; by default the first.
        rule: by which the benchmarks that have it are scored; the others are scored by `ours`.

    Raises:
        ConfigError: there is no such model, or no benchmark has the rule.
        DataError: a run is damaged.
    """
    names = [model.name for model in models]
    if base is not None and base not in names:
        raise ConfigError(f"--base {base}: no such model is among the runs{suggest(base, names)}")
    over = None if len(models) == 1 else models[names.index(base) if base else 0]
    asked = sorted({key for model in models for key in model.runs})
    rules = _rules({name for name, _ in asked}, rule)
    results: _Results = defaultdict(dict)
    for name, frames in asked:
        for model, measured in _measure(models, over, name, frames, rules[name]):
            results[model, frames][name] = measured
    paper = published()
    known = {column.benchmark for column in paper.columns}
    tables = [*_tables(results, names), *_further(results, names, [name for name in rules if name not in known])]
    return Paper(
        arxiv=paper.arxiv,
        models=tuple(names),
        base=over.name if over else None,
        rules=rules,
        tables=tuple(tables),
        columns=paper.columns,
        checks=tuple(_check(results, name, column) for name in names for column in paper.columns),
        open=paper.open,
        notes=tuple(model.note for model in models if model.note),
    )


def _rules(names: set[str], rule: str) -> dict[str, str]:
    """Choose the rule of each benchmark. Raises ConfigError where none has it."""
    found = {name: rules_of(BENCHMARKS.get(name)()) for name in sorted(names)}
    if not any(rule in rules for rules in found.values()):
        known = {name for rules in found.values() for name in rules}
        raise ConfigError(f"--rule {rule}: no benchmark that was run has such a rule{suggest(rule, known)}")
    return {name: rule if rule in rules else "ours" for name, rules in found.items()}


def _measure(
    models: Sequence[ModelRuns], base: ModelRuns | None, name: str, frames: int, rule: str
) -> Iterator[tuple[str, _Measured]]:
    """Score the runs of one benchmark at one number of frames; two of them are in memory at a time."""
    benchmark: Benchmark[object] = BENCHMARKS.get(name)()
    key = name, frames
    first = read_run(base.runs[key]) if base and key in base.runs else None
    for model in models:
        if key not in model.runs:
            continue
        run = first if first and model is base else read_run(model.runs[key])
        scores = score_public(run, rule).figures if run.predictions else ()
        pairs = first is not None and scores and model is not base and asked_alike(first, run)
        resampler = Resampler(counted_predictions(run)) if pairs else None
        changes = figure_changes(first, run, benchmark, rule, resampler) if first and resampler else []
        gains = {(change.name, change.scope): change for change in changes}
        yield model.name, _Measured(scores, gains, tuple(departures(run, benchmark, rule)))


def _tables(results: _Results, names: Sequence[str]) -> Iterator[Table]:
    """Arrange the figures of the paper's columns, and those that it prints."""
    paper = published()
    columns = [Metric(c.benchmark, c.domain, c.heading, c.figure) for c in paper.columns]
    for name, title, domains in (
        ("general", "General and long video", ("general", "long")),
        ("grounding", "Grounding (mIoU) and reasoning", ("grounding", "reasoning")),
    ):
        places = [at for at, column in enumerate(paper.columns) if column.domain in domains]
        rows = [PublishedRow(r.model, r.frames, tuple(r.values[at] for at in places)) for r in paper.scores]
        yield _table(name, title, [columns[at] for at in places], rows, results, names)
    recall = [
        Metric(column.benchmark, column.title, f"R@{least:g}", f"R@{least:g}")
        for column in paper.columns
        if column.domain == "grounding"
        for least in (0.3, 0.5, 0.7)
    ]
    yield _table("recall", "Recall of the grounding sets", recall, paper.recall, results, names)
    yield _table("ablation", "Ablations", ABLATION, paper.ablation, results, names)


def _further(results: _Results, names: Sequence[str], benchmarks: Sequence[str]) -> Iterator[Table]:
    """Arrange the headlines of benchmarks that the paper does not have."""
    metrics = [Metric(name, BENCHMARKS.get(name).facts.title, BENCHMARKS.get(name).facts.metric) for name in benchmarks]
    if metrics:
        yield _table("further", "Benchmarks that the paper does not have", metrics, (), results, names)


def _table(
    name: str,
    title: str,
    metrics: Sequence[Metric],
    rows: Sequence[PublishedRow],
    results: _Results,
    names: Sequence[str],
) -> Table:
    """Make a table: for each number of frames the models that were run at it, then the rows that the paper prints."""
    bases: dict[int, PublishedRow] = {}
    lines: dict[int, list[Line]] = {frames: [] for frames in sorted({key[1] for key in results} | {*FRAMES})}
    for frames, group in lines.items():
        for model in names:
            if found := results.get((model, frames)):
                entries = [found[m.benchmark].entry(m) if m.benchmark in found else NOTHING for m in metrics]
                group.append(Line(model, frames, "run", tuple(entries)))
    for row in rows:
        lines[row.frames].append(_published_line(row, bases.setdefault(row.frames, row)))
    return Table(name, title, tuple(metrics), tuple(line for group in lines.values() for line in group))


def _published_line(row: PublishedRow, base: PublishedRow) -> Line:
    """Make the line of a row that the paper prints; its gains are differences of the figures as they are printed."""
    entries = []
    for value, first in zip(row.values, base.values, strict=True):
        gain = None if row is base else _exactly((value - first) / 100)
        entries.append(Entry(_exactly(value / 100), gain))
    return Line(row.model, row.frames, "published", tuple(entries))


def _exactly(value: float) -> Estimate:
    return Estimate(value, value, value)


def _check(results: _Results, model: str, column: Column) -> Check:
    """Collect in what the runs of a model depart from the paper in one column."""
    found = {
        frames: measured
        for (name, frames), benchmarks in sorted(results.items())
        if name == model and (measured := benchmarks.get(column.benchmark))
    }
    if not found:
        return Check(model, column.heading, "not run")
    reasons: dict[str, tuple[int, ...]] = {}
    for frames, measured in found.items():
        for reason in measured.departs:
            reasons[reason] = (*reasons.get(reason, ()), frames)
    departing = sum(bool(measured.departs) for measured in found.values())
    status: Status = "as far as is known" if not departing else "no" if departing == len(found) else "in part"
    if missing := tuple(frames for frames in FRAMES if frames not in found):
        reasons["it was not run"] = missing
    return Check(model, column.heading, status, tuple(reasons.items()))
