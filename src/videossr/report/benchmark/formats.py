"""A report as text for other programs and for a README: Markdown, CSV, JSON.

videossr report RUN... --format md
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from videossr.answers.panel import Panel
from videossr.bench.scoring import Estimate, percent
from videossr.report.benchmark.answers import difficulty_curves
from videossr.report.benchmark.table import PUBLISHED, Benchmark, Scored, ScoreRow, short
from videossr.untrusted import csv_cell, markdown_cell, markdown_code

FIELDS = (
    *("benchmark", "row", "kind", "note", "level", "name", "task", "metric", "denominator"),
    *("value", "low", "high", "asked", "answered", "parsed"),
)
"""Columns of the CSV. A line is one figure, as a share of 1; it is empty where nothing of its category was answered."""


NOTHING = "–"  # noqa: RUF001
"""Stands where there is no figure."""


def markdown(benchmarks: Sequence[Benchmark]) -> str:
    """Write the tables in the paper's layout, in percent with 95% intervals, ready for a README."""
    return "\n".join(_tables(benchmark) for benchmark in benchmarks)


def _tables(benchmark: Benchmark) -> str:
    heads = [f"{benchmark.task_of[category]} {short(category)}" for category in benchmark.categories]
    means = [("task", name) for name in benchmark.tasks] + [("ability", name) for name in benchmark.abilities]
    lines = [
        f"VIUBench layout, questions {markdown_code(benchmark.hash[:12])} ({benchmark.size:,}); percent with 95% "
        "intervals; what failed or does not parse counts as wrong.",
        "",
        *_table(["model", *heads, "overall"], benchmark.rows, benchmark.figures[: len(heads) + 1]),
        "",
        *_table(["model", *(f"mean: {name}" for _, name in means)], benchmark.rows, means),
        "",
        *_table_of_runs(benchmark),
        "",
    ]
    notes = [f"- {markdown_cell(run.name)}: {markdown_cell(run.asked.outcomes.line())}" for run in benchmark.runs]
    notes += [
        f"- {markdown_cell(row.name)}: {markdown_cell(row.note)}"
        for row in benchmark.rows
        if row.kind == "run" and row.note
    ]
    if benchmark.basis:
        notes.append(f"- {benchmark.basis}")
    if any(row.kind == "published" for row in benchmark.rows):
        notes.append(f"- † {PUBLISHED}")
    return "\n".join([*lines, *notes, ""])


def _table(heads: Sequence[str], rows: Sequence[ScoreRow], figures: Sequence[tuple[str, str]]) -> list[str]:
    lines = [row_of(map(markdown_cell, heads)), row_of([":--", *["--:"] * len(figures)])]
    for row in rows:
        name = {"run": "{}", "guess": "*guess: {}*", "published": "{} †"}[row.kind].format(markdown_cell(row.name))
        lines.append(row_of([name, *(_figure(row.cell(*figure).asked) for figure in figures)]))
    return lines


def _table_of_runs(benchmark: Benchmark) -> list[str]:
    heads = ["model", "questions", "coverage", "unparsed", "overall, parsed answers alone"]
    lines = [row_of(heads), row_of([":--", *["--:"] * 4])]
    for scored in benchmark.runs:
        board = scored.asked
        unparsed = f"{board.unparsed:.1%}" if board.unparsed is not None else NOTHING
        coverage = f"{board.coverage:.1%}" if board.coverage else NOTHING
        figures = [coverage, unparsed, _figure(scored.answered.overall)]
        lines.append(row_of([markdown_cell(scored.name), f"{len(scored.run.predictions):,}", *figures]))
    return lines


def _figure(figure: Estimate | None) -> str:
    """Write a figure in percent with its interval, where it has one."""
    if figure is None:
        return NOTHING
    value, low, high = map(percent, (figure.value, figure.low, figure.high))
    return value if figure.low == figure.high else f"{value} [{low}, {high}]"


def row_of(cells: Iterable[str]) -> str:
    """Write a row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def comma_separated(benchmarks: Sequence[Benchmark]) -> str:
    """Write all figures of the tables as CSV, one a line."""
    file = io.StringIO()
    writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
    writer.writeheader()
    for benchmark in benchmarks:
        for row in benchmark.rows:
            writer.writerows(_figures(benchmark, row))
    return file.getvalue()


def _figures(benchmark: Benchmark, row: ScoreRow) -> list[dict[str, object]]:
    scores = next((run.asked.categories for run in benchmark.runs if row.kind == "run" and run.name == row.name), ())
    counts = {
        category_score.category: (category_score.asked, category_score.answered, category_score.parsed)
        for category_score in scores
    }
    lines: list[dict[str, object]] = []
    for level, name in benchmark.figures:
        cell = row.cell(level, name)
        for denominator, figure in (("asked", cell.asked), ("answered", cell.answered)):
            category = name if level == "category" else ""
            if figure is None and (denominator == "answered" or category not in counts):
                continue  # a category that was asked keeps its line, whose counts say that nothing was answered
            known = (
                *(benchmark.hash, row.name, row.kind, row.note, level, name),
                *(benchmark.task_of.get(category, ""), benchmark.metrics.get(category, ""), denominator),
                *((figure.value, figure.low, figure.high) if figure else ("", "", "")),
                *counts.get(category, ("", "", "")),
            )
            lines.append(dict(zip(FIELDS, map(csv_cell, known), strict=True)))
    return lines


def as_json(benchmarks: Sequence[Benchmark]) -> str:
    """Write everything numeric that the page shows as JSON."""
    return (
        json.dumps({"benchmarks": [_benchmark(benchmark) for benchmark in benchmarks]}, indent=1, allow_nan=False)
        + "\n"
    )


def _benchmark(benchmark: Benchmark) -> dict[str, object]:
    return {
        "hash": benchmark.hash,
        "questions": benchmark.size,
        "categories": list(benchmark.categories),
        "metrics": dict(benchmark.metrics),
        "runs": [_run(benchmark, run) for run in benchmark.runs],
        "difficulty": {
            category: [
                asdict(setting) for setting in difficulty_curves([run.answers[category] for run in benchmark.runs])
            ]
            for category in benchmark.categories
        },
        "reference": [asdict(row) for row in benchmark.rows if row.kind != "run"],
    }


def _run(benchmark: Benchmark, scored: Scored) -> dict[str, object]:
    details = {
        category: _data(panel)
        for category in benchmark.categories
        if category in benchmark.answer_types
        and (panel := scored.answers[category].panel(benchmark.answer_types[category]))
    }
    return {
        "name": scored.name,
        "note": scored.note,
        "complete": scored.run.manifest is not None,
        "config": asdict(scored.run.config),
        "manifest": scored.run.manifest,
        "scores": {"asked": asdict(scored.asked), "answered": asdict(scored.answered)},
        "answers": details,
    }


def _data(panel: Panel) -> object:
    """Return the numbers of a panel as JSON has them."""
    return [asdict(part) for part in panel.data] if isinstance(panel.data, Sequence) else asdict(panel.data)
