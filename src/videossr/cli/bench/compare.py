"""`videossr bench compare`: show in which questions runs differ, and whether the difference is larger than noise."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from videossr.bench.comparison import Comparison, Difference, compare
from videossr.bench.outcomes import outcomes
from videossr.bench.public.comparison import PublicComparison, compare_public
from videossr.bench.records import read_run
from videossr.bench.scoring import FEW_VIDEOS, interval_basis, percent
from videossr.cli.bench.tables import line, print_outcomes
from videossr.cli.console import console, safe
from videossr.errors import ConfigError

app = App(name="compare", help_epilogue="Example: videossr bench compare demo/runs/chance demo/runs/constant")


@app.default
def command(
    first: str,
    second: str,
    /,
    *others: str,
    shared: Annotated[bool, Parameter(negative="")] = False,
    rule: str | None = None,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Compare runs with the first one, question by question, with the 95% interval of each difference.

    Args:
        first: Folder of the run that the others are compared with.
        second: Folder of a run.
        others: More of them.
        shared: Compare the questions that both were asked, and leave out the others.
        rule: For runs of public benchmarks, the rule by which both are scored; `videossr bench list NAME` shows them.
        as_json: All of it as JSON.
    """
    base, *compared = [read_run(folder) for folder in (first, second, *others)]
    if any(run.config.benchmark for run in (base, *compared)):
        if shared:
            raise ConfigError("--shared is not for runs of public benchmarks, which are asked as a whole")
        _public([compare_public(base, run, rule or "ours") for run in compared], as_json=as_json)
        return
    if rule is not None:
        raise ConfigError(f"--rule {rule}: it is for runs of public benchmarks, and {first} is none")
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


def _public(comparisons: list[PublicComparison], *, as_json: bool) -> None:
    """Print comparisons of runs of a public benchmark, by its own figures."""
    if as_json:
        console.out(json.dumps([asdict(comparison) for comparison in comparisons], indent=1))
        return
    for comparison in comparisons:
        console.print(f"{comparison.benchmark}, rule {comparison.rule}", soft_wrap=True)
        console.print(f"first: {safe(comparison.first)}; second: {safe(comparison.second)}", soft_wrap=True)
        table = Table("", "of", "first", "second", "second - first", "p", "larger than noise", box=None, pad_edge=False)
        for change in comparison.changes:
            verdict = ("-", "-") if change.p is None else (f"{change.p:.2g}", "yes" if change.real else "no")
            scores = percent(change.first), percent(change.second)
            table.add_row(safe(change.name), safe(change.scope), *scores, line(change.change), *verdict)
        console.print(table)
        console.print(
            "larger than noise: the 95% interval leaves out 0, p < 0.05, and there are six videos or more; of many "
            "figures some pass by chance, so the first one counts",
            soft_wrap=True,
        )
        if not comparison.same_hash:
            console.print("the two were not asked in the same way: other texts, frames or settings")
        if comparison.videos < FEW_VIDEOS:
            console.print(interval_basis(comparison.videos))
