"""`videossr bench chance`: what do answers without looking score?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter

from videossr.bench.blind import blind_scores
from videossr.cli.bench.tables import GUESSES, paper_table, percents
from videossr.cli.console import Bar, console
from videossr.question_set import open_questions

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

    How sure a trial is: see --json.

    Args:
        bench: Folder that `videossr build` wrote, or its address, or questions that others have published.
        corpus: Folder or address of its frame packs, where it is no longer the one that the benchmark names.
        as_json: All of it as JSON.
    """
    questions = open_questions(bench, corpus=corpus)
    with Bar() as bar:
        found = blind_scores(questions, progress=lambda done, total: bar.show("guesses", done, total))
    if as_json:
        console.out(json.dumps([asdict(each) for each in found], indent=1))
        return
    categories = list(dict.fromkeys(each.category for each in found))
    for score, title in (("score", "by the benchmark's metrics"), ("smooth", "by the smooth reward")):
        table = paper_table(categories)
        for guess, name in GUESSES.items():
            rows = [each for each in found if each.guess == guess]
            derived = {each.category: getattr(each.derived, score) for each in rows}
            tried = {each.category: getattr(each.simulated, score) for each in rows}
            table.add_row(name, *percents(derived, categories))
            table.add_row("  tried", *percents(tried, categories))
        console.print(
            f"In percent, {title}: derived from the law of the answers, and tried on {len(questions)} questions"
        )
        console.print(table)
        console.print()
