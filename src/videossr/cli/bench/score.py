"""`videossr bench score`: score a run as the paper does."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import App, Parameter

from videossr.bench.records import read_run
from videossr.bench.scoring import Denominator, score
from videossr.cli.bench.tables import print_details, print_failures, print_scores
from videossr.cli.console import console, safe

MEANINGS: dict[Denominator, str] = {"asked": "each counts as wrong", "answered": "they are in no score above"}
"""What failed questions are in the scores, by denominator."""

app = App(name="score", help_epilogue="Example: videossr bench score demo/runs/chance --paper")


@app.default
def command(
    run: str,
    /,
    *runs: str,
    denominator: Denominator = "asked",
    paper: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Score what was predicted, from what is stored: no model is asked. With several runs, one row each.

    Exit status 1 where a run has not one answer: that is no score.

    Args:
        run: Folder of a run, complete or not.
        runs: More of them.
        denominator: Of all questions that were asked, or of the answers that have the asked form, as the released
            scripts count.
        paper: Also show the rows that the paper publishes. They are of other videos.
        as_json: All of it as JSON.
    """
    found = [read_run(folder) for folder in (run, *runs)]
    boards = [score(each, denominator) for each in found]
    if as_json:
        console.out(json.dumps([asdict(board) for board in boards], indent=1))
    else:
        print_scores(list(zip(found, boards, strict=True)), paper=paper)
        for each, board in zip(found, boards, strict=True):
            console.print()
            if len(found) > 1:
                console.print(safe(board.run))
            print_details(board)
            print_failures(each, MEANINGS[denominator])
    if any(board.overall is None for board in boards):
        sys.exit(1)
