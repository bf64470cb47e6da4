"""The paper's tables of public benchmarks, as `videossr report RUN... --layout paper` prints them."""

from __future__ import annotations

from rich.table import Table as Grid

from videossr.bench.public.paper import Paper, Table
from videossr.cli.console import console, lines, safe
from videossr.report.paper.formats import cell_text, heading, notes, reasons


def print_paper(paper: Paper) -> None:
    """Print the tables, each cell with its gain below, and what can be compared with the paper."""
    console.print(heading(paper), soft_wrap=True)
    for table in paper.tables:
        console.print()
        console.print(table.title)
        console.print(_grid(table))
    for note in notes(paper):
        console.print(note, soft_wrap=True)
    console.print()
    console.print("Comparable with the paper?")
    console.print(_checks(paper))
    for sentence in paper.open:
        console.print(f"  {sentence}", soft_wrap=True)


def _grid(table: Table) -> Grid:
    """Make a table: a column of numbers of frames, one of models, and those of scores."""
    grid = Grid(box=None, pad_edge=False, collapse_padding=True)
    grid.add_column("frames", justify="right")
    grid.add_column("", overflow="fold")
    shown = [group for group, span in table.groups for _ in range(span)]
    for group, metric in zip(shown, table.metrics, strict=True):
        grid.add_column(lines(f"{group}\n{metric.heading}"), justify="right", overflow="fold")
    last = 0
    for line in table.lines:
        name = safe(line.model) + (" †" if line.kind == "published" else "")
        cells = [lines(cell_text(entry, "\n").replace("–", "-")) for entry in line.entries]  # noqa: RUF001
        grid.add_row("" if line.frames == last else str(line.frames), name, *cells)
        last = line.frames
    return grid


def _checks(paper: Paper) -> Grid:
    """Make the table of what departs from the paper: a row for each of its columns, one below another by model."""
    grid = Grid(box=None, pad_edge=False)
    for name in ("", "", "comparable", "why not", "the paper does not say"):
        grid.add_column(name, overflow="fold")
    for column in paper.columns:
        checks = [check for check in paper.checks if check.heading == column.heading]
        for place, check in enumerate(checks):
            first = place == 0
            grid.add_row(
                column.heading if first else "",
                safe(check.model),
                check.status,
                safe(reasons(check), 2000),
                "; ".join(column.open) if first else "",
            )
    return grid
