"""`videossr bench chance`: score answers that were given without looking."""

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
    anywhere: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Score guesses and constant answers: exactly, from the distribution of answers, and simulated on the questions.

    The standard errors of the simulation are in the output of --json.

    Args:
        bench: Folder that `videossr build` wrote, or its address, or published rows.
        corpus: Folder or address of its frame packs, where it is no longer the one that the benchmark names.
        anywhere: Read files wherever published rows say that they are, not only below their folder or `--corpus`.
        as_json: Print everything as JSON.
    """
    questions = open_questions(bench, corpus=corpus, anywhere=anywhere)
    with Bar() as bar:
        scores = blind_scores(questions, progress=lambda done, total: bar.show("guesses", done, total))
    if as_json:
        console.out(json.dumps([asdict(row) for row in scores], indent=1))
        return
    categories = list(dict.fromkeys(row.category for row in scores))
    for score, title in (("score", "by the benchmark's metrics"), ("smooth", "by the smooth reward")):
        table = paper_table(categories)
        for guess, name in GUESSES.items():
            rows = [row for row in scores if row.guess == guess]
            derived = {row.category: getattr(row.derived, score) for row in rows}
            tried = {row.category: getattr(row.simulated, score) for row in rows}
            table.add_row(name, *percents(derived, categories))
            table.add_row("  tried", *percents(tried, categories))
        console.print(
            f"In percent, {title}: computed from the distribution of answers, and tried on {len(questions)} questions"
        )
        console.print(table)
        console.print()
