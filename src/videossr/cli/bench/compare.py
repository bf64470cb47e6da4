"""`videossr bench compare`: in what do runs differ, and is it more than noise?"""

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
    found = [compare(base, run, shared=shared) for run in compared]
    if as_json:
        console.out(json.dumps([asdict(each) for each in found], indent=1))
        return
    for each in found:
        _show(each)
    print_outcomes([(run.name, outcomes(run)) for run in (base, *compared)])


def _show(found: Comparison) -> None:
    first, second = safe(found.first), safe(found.second)
    table = Table("category", "questions", first, second, f"{second} - {first}", "p", "larger than noise", box=None)
    for each in (*found.categories, found.overall):
        table.add_row(*_row(each))
    console.print(table)
    categories = len(found.categories)
    console.print(
        "larger than noise: the 95% interval leaves out 0, and p < 0.05; "
        f"for a category, also when {categories} are looked at (Holm)"
    )
    if found.left_out:
        console.print(f"{found.left_out} questions that only one of them was asked are left out")
    if not found.same_hash:
        console.print("the two benchmarks have other content hashes: the questions may be worded or shown otherwise")
    if found.videos < FEW_VIDEOS:
        videos = f"{found.videos} video{'s' * (found.videos != 1)}"
        console.print(f"all of this rests on {videos}: too few to trust an interval or a yes")


def _row(each: Difference) -> list[str]:
    scores = (percent(score) if score is not None else "-" for score in (each.first, each.second))
    verdict = ("-", "-") if each.p is None else (f"{each.p:.2g}", "yes" if each.real else "no")
    return [safe(each.category) or "overall", str(each.questions), *scores, line(each.change), *verdict]
