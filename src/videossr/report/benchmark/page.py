"""The page of benchmark runs: one self-contained HTML file.

videossr report RUN... --out report.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from videossr.answers.panel import Histogram, Panel
from videossr.bench.scoring import Denominator, Estimate, widen
from videossr.question_set import QuestionSet
from videossr.report import plots
from videossr.report.benchmark.answers import DifficultyCurve, difficulty_curves
from videossr.report.benchmark.difference import Baseline, baselines
from videossr.report.benchmark.examples import FOLDED, Example, Failure, examples_of, failures
from videossr.report.benchmark.table import PUBLISHED, Benchmark, Scored, ScoreRow, short
from videossr.report.page import table_facts, write_page
from videossr.tasks.base import difficulty_label
from videossr.untrusted import plain_text


@dataclass(frozen=True)
class _Category:
    """The part of the page about one category, beside its scores: a panel for each run, if any, and the charts."""

    name: str
    short: str
    task: str
    panels: tuple[Panel, ...]
    curves: tuple[DifficultyCurve, ...]
    chart: Markup
    setting_charts: tuple[Markup, ...]


@dataclass(frozen=True)
class _Part:
    """One benchmark of the page."""

    number: int
    benchmark: Benchmark
    marks: tuple[plots.RunMark, ...]
    facts: tuple[Mapping[str, str], ...]
    outcomes: tuple[str, ...]
    charts: Mapping[str, tuple[tuple[str, Markup], ...]]
    guesses: tuple[str, ...]
    baselines: tuple[Baseline, ...]
    categories: tuple[_Category, ...]
    failures: tuple[list[Failure], ...]
    items: Iterator[Example]
    missing: str

    @property
    def paneled(self) -> list[str]:
        """The tasks whose answers have panels."""
        return [task for task in self.benchmark.tasks if any(c.panels for c in self.categories if c.task == task)]

    def chance(self, level: str, name: str) -> tuple[float, ...]:
        """Return what guesses score in a category, task or ability, or `overall`; the least first."""
        rows = (row for row in self.benchmark.rows if row.kind == "guess")
        return tuple(sorted(figure.value for row in rows if (figure := row.cell(level, name).asked) is not None))

    def below(
        self, row: ScoreRow, level: str, name: str, denominator: Denominator
    ) -> Literal["", "chance", "best guess"]:
        """Say what a run's score is below of: all guesses (`chance`), the best of them, or nothing.

        It is below where the upper end of its 95% interval is.
        """
        figure: Estimate | None = getattr(row.cell(level, name), denominator)
        chance = self.chance(level, name)
        if row.kind != "run" or figure is None or not chance:
            return ""
        run = next(run for run in self.benchmark.runs if run.name == row.name)
        end = widen(figure, run.videos(level, name, denominator)).high
        if end < chance[0]:
            return "chance"
        return "best guess" if end < chance[-1] else ""


def write_report(
    benchmarks: Sequence[Benchmark],
    questions: Mapping[str, QuestionSet | str],
    out: Path,
    most: int = 2,
    thumb_height: int = 48,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the page of the runs of one or several benchmarks.

    Args:
        benchmarks: what `gather` made of the runs.
        questions: by the hash of a benchmark, its questions, or why they are not at hand: then there are no frames.
        out: the HTML file.
        most: worst and best items of each run and category.
        thumb_height: height in pixels of the frames.
        progress: called with how many items are done, and of how many.
    """
    parts = [
        _part(number, benchmark, questions[benchmark.hash], most, thumb_height, progress)
        for number, benchmark in enumerate(benchmarks)
    ]
    write_page(
        "benchmark.html.jinja",
        out,
        ["benchmark.css"],
        ["benchmark.js"],
        title="Benchmark report",
        facts={
            "runs": str(sum(len(benchmark.runs) for benchmark in benchmarks)),
            "questions": ", ".join(f"{benchmark.hash[:12]} ({benchmark.size:,})" for benchmark in benchmarks),
        },
        parts=parts,
        folded=FOLDED,
        published_note=PUBLISHED,
        short=short,
    )


def _part(
    number: int,
    benchmark: Benchmark,
    questions: QuestionSet | str,
    most: int,
    thumb_height: int,
    progress: Callable[[int, int], None] | None,
) -> _Part:
    opened = None if isinstance(questions, str) else questions
    return _Part(
        number=number,
        benchmark=benchmark,
        marks=tuple(plots.RunMark(run.name, at) for at, run in enumerate(benchmark.runs)),
        facts=tuple(_facts(run) for run in benchmark.runs),
        outcomes=tuple(plain_text(run.asked.outcomes.line(), 600) for run in benchmark.runs),
        charts=_charts(benchmark),
        guesses=tuple(row.name for row in benchmark.rows if row.kind == "guess"),
        baselines=tuple(baselines(benchmark)),
        categories=tuple(_category(benchmark, category) for category in benchmark.categories),
        failures=tuple(failures(run.answers) for run in benchmark.runs),
        items=examples_of(benchmark, opened, most, thumb_height, progress),
        missing=plain_text(questions) if isinstance(questions, str) else "",
    )


def _facts(scored: Scored) -> dict[str, str]:
    """List what was asked of which model, and how."""
    config, manifest, decoding = scored.run.config, scored.run.manifest, scored.run.config.decoding
    cut = f"top-p {decoding.top_p:g}, top-k {decoding.top_k}, seed {decoding.seed}"
    sampling = f"temperature {decoding.temperature:g}, {cut}" if decoding.temperature else "greedy"
    facts = {
        "model": config.model,
        "decoding": f"{sampling}, at most {decoding.max_tokens} tokens"
        + (f", {decoding.n} answers a question" if decoding.n > 1 else ""),
        "asked": f"{len(scored.run.predictions):,} of {config.size:,} questions",
        "coverage": f"{scored.asked.coverage:.1%} of the benchmark has a text",
        "videos": f"{scored.asked.videos:,}, on which the intervals rest",
    }
    if manifest:
        waited = manifest["waited"] / manifest["seconds"] if manifest["seconds"] else 0.0
        facts["took"] = f"{manifest['seconds']:,.0f} s, of which {waited:.1%} waiting for frames"
    facts |= table_facts(scored.model) | table_facts(config.settings, "set ")
    if manifest:
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    return {plain_text(name, 60): plain_text(text, 400) for name, text in facts.items()}


def _charts(benchmark: Benchmark) -> dict[str, tuple[tuple[str, Markup], ...]]:
    """Draw, for both denominators, (task, chart) for each task."""
    guesses = [row for row in benchmark.rows if row.kind == "guess"]
    charts = {}
    for denominator in ("asked", "answered"):
        drawn = []
        for task in benchmark.tasks:
            categories = [category for category in benchmark.categories if benchmark.task_of[category] == task]
            names = [short(category) for category in categories]
            runs = [
                [getattr(row.cell("category", category), denominator) for category in categories]
                for row in benchmark.rows
                if row.kind == "run"
            ]
            chance = [
                [figure.value if (figure := row.cell("category", category).asked) else None for category in categories]
                for row in guesses
            ]
            label = f"Scores of the categories of {plain_text(task)}, of what was {denominator}"
            drawn.append((task, plots.columns_chart(names, runs, chance, label)))
        charts[denominator] = tuple(drawn)
    return charts


def _category(benchmark: Benchmark, name: str) -> _Category:
    task = benchmark.task_of[name]
    answers = [run.answers[name] for run in benchmark.runs]
    kind = benchmark.answer_types.get(name)
    panels = tuple(panel for given in answers if kind and (panel := given.panel(kind)))
    curves = tuple(difficulty_curves(answers))
    return _Category(
        name=plain_text(name),
        short=short(name),
        task=task,
        panels=panels,
        curves=curves,
        chart=_histogram([panel.histogram for panel in panels if panel.histogram], name),
        setting_charts=tuple(
            plots.difficulty_chart(
                curve.bins,
                curve.scores,
                f"Score against {plain_text(curve.name)} in {plain_text(name)}",
                plain_text(difficulty_label(task, curve.name), 40),
            )
            for curve in curves
        ),
    )


def _histogram(histograms: Sequence[Histogram], category: str) -> Markup:
    """Draw the histograms of all runs of a category in one chart; nothing where there are none."""
    if not histograms:
        return Markup()
    widest = max(histograms, key=lambda histogram: len(histogram.names))
    counts = [dict(zip(histogram.names, histogram.counts, strict=True)) for histogram in histograms]
    shares = [_shares([count.get(name, 0) for name in widest.names]) for count in counts]
    label = f"{widest.title} in {plain_text(category)}"
    return plots.histogram_chart(
        widest.names, shares, label, widest.xlabel, separate=widest.apart, ylabel=widest.ylabel
    )


def _shares(counts: Sequence[int]) -> list[float]:
    return [count / max(1, sum(counts)) for count in counts]
