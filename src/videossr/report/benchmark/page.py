"""The page of benchmark runs: one self-contained HTML file.

videossr report RUN... --out report.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from videossr.bench.scoring import Denominator, Estimate, widen
from videossr.question_set import QuestionSet
from videossr.report import plots
from videossr.report.benchmark.answers import (
    BINS,
    Confusion,
    DifficultyCurve,
    Displacement,
    Spans,
    confusions,
    difficulty_curves,
    displacement,
    spans,
)
from videossr.report.benchmark.difference import Baseline, baselines
from videossr.report.benchmark.examples import FOLDED, Example, Failure, examples_of, failures
from videossr.report.benchmark.table import PUBLISHED, Benchmark, Scored, ScoreRow, short
from videossr.report.page import plain_text, table_facts, write_page

SHAPES = ("circles", "squares", "triangles")
"""What the counts of an answer are of, in its order, where there are three."""


OVERLAPS = ("none", "0", *(f".{at}" for at in range(1, BINS)), "1")
"""What the bins of `Spans.histogram` are called: by the most that falls into them."""


@dataclass(frozen=True)
class _Category:
    """What the page shows of one category, beside its scores: for each run, what fits its task; and the charts."""

    name: str
    short: str
    task: str
    spans: tuple[Spans, ...]
    confusions: tuple[list[Confusion], ...]
    displacements: tuple[Displacement, ...]
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

    def chance(self, level: str, name: str) -> tuple[float, ...]:
        """What the guesses score in a category, task or ability, or `overall`; the least first."""
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
        run = next(each for each in self.benchmark.runs if each.name == row.name)
        end = widen(figure, run.videos(level, name, denominator)).high
        return "chance" if end < chance[0] else "best guess" if end < chance[-1] else ""


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
        shape_names=SHAPES,
        overlaps=OVERLAPS,
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
        marks=tuple(plots.RunMark(each.name, at) for at, each in enumerate(benchmark.runs)),
        facts=tuple(_facts(each) for each in benchmark.runs),
        outcomes=tuple(plain_text(each.asked.outcomes.line(), 600) for each in benchmark.runs),
        charts=_charts(benchmark),
        guesses=tuple(row.name for row in benchmark.rows if row.kind == "guess"),
        baselines=tuple(baselines(benchmark)),
        categories=tuple(_category(benchmark, category) for category in benchmark.categories),
        failures=tuple(failures(each.answers) for each in benchmark.runs),
        items=examples_of(benchmark, opened, most, thumb_height, progress),
        missing=plain_text(questions) if isinstance(questions, str) else "",
    )


def _facts(scored: Scored) -> dict[str, str]:
    """What was asked of which model, and how."""
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
    """For both denominators: (task, chart) for each task."""
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
    answers = [each.answers[name] for each in benchmark.runs]
    found_spans = tuple(map(spans, answers)) if task == "grounding" else ()
    displacements = tuple(map(displacement, answers)) if task == "jigsaw" else ()
    curves = tuple(difficulty_curves(answers))
    chart = Markup()
    if found_spans:
        shares = [_shares(each.histogram) for each in found_spans]
        chart = plots.histogram_chart(
            OVERLAPS, shares, f"IoU of the spans in {plain_text(name)}", "IoU, up to", separate=2
        )
    if displacements:
        n = max(len(each.matrix) for each in displacements)
        steps = [f"{step:+d}" if step else "0" for step in range(1 - n, n)]
        shares = [_shares(each.steps or (0,) * len(steps)) for each in displacements]
        label = f"Displacement of the pieces in {plain_text(name)}"
        chart = plots.histogram_chart(steps, shares, label, "places behind its own", ylabel="pieces, %")
    return _Category(
        name=plain_text(name),
        short=short(name),
        task=task,
        spans=found_spans,
        confusions=tuple(map(confusions, answers)) if task == "counting" else (),
        displacements=displacements,
        curves=curves,
        chart=chart,
        setting_charts=tuple(
            plots.difficulty_chart(
                setting.bins,
                setting.scores,
                f"Score against {plain_text(setting.name)} in {plain_text(name)}",
                _unit(task, setting.name),
            )
            for setting in curves
        ),
    )


_UNITS = {
    ("grounding", "length"): "length of the segment, slots",
    ("grounding", "seconds"): "length of the segment, s",
    ("grounding", "duration"): "length of the clip, s",
    ("counting", "shapes"): "shapes that are drawn",
    ("counting", "slots"): "slots that show a shape",
    ("counting", "size"): "smallest diameter, pixels",
    ("jigsaw", "seconds"): "length of a piece, s",
}
"""What the settings of the built-in tasks mean, as `Task.difficulty` says; others go by their names."""


def _unit(task: str, setting: str) -> str:
    return _UNITS.get((task, setting), plain_text(setting, 40))


def _shares(counts: Sequence[int]) -> list[float]:
    return [count / max(1, sum(counts)) for count in counts]
