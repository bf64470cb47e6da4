"""The paper's tables as text for other programs and for a README: Markdown, CSV, JSON.

videossr report RUN... --layout paper --format md
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict

from videossr.bench.public.paper import Check, Entry, Paper, Table
from videossr.bench.scoring import Estimate, percent
from videossr.report.benchmark.formats import NOTHING, row_of
from videossr.untrusted import csv_cell, markdown_cell

FIELDS = (
    *("table", "model", "frames", "kind", "benchmark", "group", "heading"),
    *("value", "low", "high", "gain", "gain_low", "gain_high", "departs"),
)
"""Columns of the CSV. A line is one cell, as shares of 1; it is empty where nothing was measured."""

PRINTED = "printed by the paper"
DEPARTS = "departs from the paper in what was asked, shown or counted: not comparable with it"


def signed(share: float) -> str:
    """Write a difference of shares in percentage points with one decimal and its sign."""
    return f"{100 * share + 1e-9:+.1f}".replace("-0.0", "+0.0")


def reasons(check: Check) -> str:
    """Say in what the runs of a check depart from the paper."""
    return "; ".join(f"{', '.join(map(str, frames))} frames: {reason}" for reason, frames in check.reasons)


def heading(paper: Paper) -> str:
    """Say what the figures are, in one sentence."""
    gains = f"; beside a score, what it gains over {paper.base} or, in rows of the paper, over its base model"
    rules = ", ".join(f"{name} by {rule}" for name, rule in paper.rules.items() if rule != "ours")
    return (
        "Percent"
        + (gains if paper.base else "; in rows of the paper, beside a score, what it gains over its base model")
        + (f"; scored otherwise than by the rule ours: {rules}" if rules else "")
    )


def notes(paper: Paper) -> Iterator[str]:
    """Yield the notes below the tables."""
    yield f"† {PRINTED}, arXiv {paper.arxiv}; its other rows were not measured here"
    if any(entry.departs for table in paper.tables for line in table.lines for entry in line.entries):
        yield f"* {DEPARTS}"
    yield from paper.notes


def markdown(paper: Paper) -> str:
    """Write all tables, ready for a README."""
    parts = [f"{markdown_cell(heading(paper))}.", ""]
    for table in paper.tables:
        parts += [f"**{table.title}**", "", *_markdown_table(table), ""]
    parts += ["**Comparable with the paper?**", "", row_of(["benchmark", *map(markdown_cell, paper.models), "open"])]
    parts.append(row_of([":--"] * (len(paper.models) + 2)))
    for column in paper.columns:
        found = [check for check in paper.checks if check.heading == column.heading]
        cells = [": ".join(filter(None, (check.status, markdown_cell(reasons(check))))) for check in found]
        parts.append(row_of([column.title, *cells, "; ".join(column.open)]))
    parts += ["", *(f"- {markdown_cell(line)}" for line in (*notes(paper), *paper.open)), ""]
    return "\n".join(parts)


def _markdown_table(table: Table) -> Iterator[str]:
    plain = all(metric.heading != table.metrics[0].heading for metric in table.metrics[1:])
    heads = [metric.heading if plain else f"{metric.group} {metric.heading}" for metric in table.metrics]
    yield row_of(["frames", "model", *map(markdown_cell, heads)])
    yield row_of(["--:", ":--", *["--:"] * len(heads)])
    for line in table.lines:
        name = markdown_cell(line.model) + (" †" if line.kind == "published" else "")
        yield row_of([str(line.frames), name, *(cell_text(entry, star="\\*") for entry in line.entries)])


def cell_text(entry: Entry, between: str = " ", star: str = "*") -> str:
    """Write a cell: the score in percent, a star where the run departs from the paper, and the gain."""
    if entry.value is None:
        return NOTHING
    gain = f"{between}{signed(entry.gain.value)}" if entry.gain else ""
    return f"{percent(entry.value.value)}{star if entry.departs else ''}{gain}"


def comma_separated(paper: Paper) -> str:
    """Write all cells of the tables as CSV, one a line."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(FIELDS)
    for table in paper.tables:
        for line in table.lines:
            for metric, entry in zip(table.metrics, line.entries, strict=True):
                known = (table.name, line.model, line.frames, line.kind, metric.benchmark, metric.group, metric.heading)
                cells = (*known, *_numbers(entry.value), *_numbers(entry.gain), str(entry.departs).lower())
                writer.writerow([csv_cell(value) for value in cells])
    return file.getvalue()


def _numbers(figure: Estimate | None) -> tuple[float | str, ...]:
    return (figure.value, figure.low, figure.high) if figure else ("", "", "")


def as_json(paper: Paper) -> str:
    """Write everything that the page shows as JSON."""
    return json.dumps(asdict(paper), indent=1, allow_nan=False) + "\n"
