"""`videossr bench compare`: show in which questions runs differ, and whether the difference is larger than noise."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from videossr.bench.comparison import Comparison, Difference, compare
from videossr.bench.outcomes import outcomes
from videossr.bench.records import read_run
from videossr.bench.scoring import FEW_VIDEOS, percent
from videossr.cli.bench.tables import line, print_outcomes
from videossr.cli.console import console, safe

app = App(name="compare", help_epilogue="Example: videossr bench compare demo/runs/chance demo/runs/constant")


@app.default
def command(
    first: str,
    second: str,
    /,
    *others: str,
    shared: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Compare runs with the first one, question by question, with the 95% interval of each difference.

    Args:
        first: Folder of the run that the others are compared with.
        second: Folder of a run.
        others: More of them.
        shared: Compare the questions that both were asked, and leave out the others.
        as_json: All of it as JSON.
    """
    base, *compared = [read_run(folder) for folder in (first, second, *others)]
    comparisons = [compare(base, run, shared=shared) for run in compared]
    if as_json:
        console.out(json.dumps([asdict(comparison) for comparison in comparisons], indent=1))
        return
    for comparison in comparisons:
        _show(comparison)
    print_outcomes([(run.name, outcomes(run)) for run in (base, *compared)])


def _show(comparison: Comparison) -> None:
    """Print the table of one comparison."""
    first, second = safe(comparison.first), safe(comparison.second)
    table = Table("category", "questions", first, second, f"{second} - {first}", "p", "larger than noise", box=None)
    for difference in (*comparison.categories, comparison.overall):
        table.add_row(*_row(difference))
    console.print(table)
    categories = len(comparison.categories)
    console.print(
        "larger than noise: the 95% interval leaves out 0, and p < 0.05; "
        f"for a category, also when {categories} are looked at (Holm)"
    )
    if comparison.left_out:
        console.print(f"{comparison.left_out} questions that only one of them was asked are left out")
    if not comparison.same_hash:
        console.print("the two benchmarks have other content hashes: the questions may be worded or shown otherwise")
    if comparison.videos < FEW_VIDEOS:
        videos = f"{comparison.videos} video{'s' * (comparison.videos != 1)}"
        console.print(f"all of this rests on {videos}: too few to trust an interval or a yes")


def _row(difference: Difference) -> list[str]:
    """Write the cells of one category."""
    scores = (percent(score) if score is not None else "-" for score in (difference.first, difference.second))
    verdict = ("-", "-") if difference.p is None else (f"{difference.p:.2g}", "yes" if difference.real else "no")
    return [
        safe(difference.category) or "overall",
        str(difference.questions),
        *scores,
        line(difference.change),
        *verdict,
    ]
