"""`videossr bench chance`: what do answers without looking score?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from videossr.bench.chance import chance
from videossr.cli.bench.tables import GUESSES, percent
from videossr.cli.console import Bar, console, safe
from videossr.questions import open_questions

app = App(name="chance", help_epilogue="Example: videossr bench chance demo/viubench")


@app.default
def command(
    bench: str,
    /,
    *,
    corpus: str | None = None,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Say what guesses and constant answers score, derived from the law of the answers, and tried on the questions.

    Args:
        bench: Folder that `videossr build` wrote, or its address, or questions that others have published.
        corpus: Folder or address of its frame packs, where it is no longer the one that the benchmark names.
        as_json: All of it as JSON.
    """
    questions = open_questions(bench, corpus=corpus)
    with Bar() as bar:
        found = chance(questions, progress=lambda done, total: bar.show("guesses", done, total))
    if as_json:
        console.out(json.dumps([asdict(each) for each in found], indent=1))
        return
    table = Table("column", "metric", "guess", "derived", "tried", "smooth, derived", "smooth, tried", box=None)
    for each in found:
        tried = f"{percent(each.simulated.score)} ± {percent(each.error)}"
        smooth = (percent(each.derived.smooth), percent(each.simulated.smooth))
        guess = GUESSES[each.guess]
        table.add_row(safe(each.column), each.metric, guess, percent(each.derived.score), tried, *smooth)
    console.print(table)
    console.print(f"tried on {len(questions)} questions; ± is one standard error")
