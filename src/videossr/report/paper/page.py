"""The page of runs of public benchmarks in the paper's layout: one self-contained HTML file.

videossr report RUN... --layout paper --out report.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from videossr.bench.public.paper import Line, Paper, Table
from videossr.bench.scoring import Estimate, percent
from videossr.report import plots
from videossr.report.page import write_page
from videossr.report.paper.formats import DEPARTS, PRINTED, heading, signed
from videossr.report.plots import frames_chart


@dataclass(frozen=True, slots=True)
class _Chart:
    """The chart of one benchmark."""

    title: str
    figure: str
    chart: Markup


def write_paper(paper: Paper, out: Path) -> None:
    """Write the page; the file appears under its name only when it is complete."""
    printed = list(dict.fromkeys(line.model for line in _lines(paper.tables[0], "published")))
    marks = {name: plots.RunMark(name, at) for at, name in enumerate(paper.models)}
    write_page(
        "paper.html.jinja",
        out,
        ["benchmark.css", "paper.css"],
        ["benchmark.js"],
        title="Public benchmarks in the paper's layout",
        facts={"models": ", ".join(paper.models), "paper": f"arXiv {paper.arxiv}"},
        paper=paper,
        heading=heading(paper),
        marks=marks,
        printed=[plots.RunMark(name, len(marks) + at) for at, name in enumerate(printed)],
        charts=list(_charts(paper, printed)),
        by_frames=_by_frames,
        percent=percent,
        signed=signed,
        printed_note=PRINTED,
        departs=DEPARTS,
    )


def _by_frames(table: Table) -> list[tuple[int, list[Line]]]:
    """Sort the lines of a table by their number of frames."""
    return [(frames, list(lines)) for frames, lines in groupby(table.lines, key=lambda line: line.frames)]


def _lines(table: Table, kind: str) -> list[Line]:
    return [line for line in table.lines if line.kind == kind]


def _charts(paper: Paper, printed: list[str]) -> Iterator[_Chart]:
    """Draw a chart for each column of the paper that was measured."""
    for table in paper.tables[:2]:
        for place, metric in enumerate(table.metrics):
            measured = [_curve(table, "run", name, place) for name in paper.models]
            if not any(measured):
                continue
            title = next(column.title for column in paper.columns if column.heading == metric.heading)
            chart = frames_chart(
                measured,
                [_curve(table, "published", name, place) for name in printed],
                f"{title}: score in percent against the number of frames",
            )
            yield _Chart(title, metric.figure, chart)


def _curve(table: Table, kind: str, model: str, place: int) -> Mapping[int, Estimate]:
    """Return the scores of a model in one column, by number of frames."""
    return {
        line.frames: value
        for line in _lines(table, kind)
        if line.model == model and (value := line.entries[place].value) is not None
    }
