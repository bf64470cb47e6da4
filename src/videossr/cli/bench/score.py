"""`videossr bench score`: score a run with the paper's metrics."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import App, Parameter

from videossr.bench.public.base import BENCHMARKS
from videossr.bench.public.figures import FigureKey
from videossr.bench.public.scoring import PublicScores, open_benchmark, rules_of, score_public
from videossr.bench.records import Run, read_run
from videossr.bench.scoring import Denominator, score
from videossr.cli.bench.public import print_public
from videossr.cli.bench.tables import print_details, print_failures, print_scores
from videossr.cli.console import console, safe
from videossr.errors import ConfigError

MEANINGS: dict[Denominator, str] = {"asked": "each counts as wrong", "answered": "they are in no score above"}
"""The way in which failed questions count in the scores, by denominator."""

app = App(
    name="score",
    help_epilogue="Example: videossr bench score demo/runs/chance --paper\n\n"
    "videossr bench score demo/runs/charades/charades/8 --rule clipped",
)


@app.default
def command(
    run: str,
    /,
    *runs: str,
    denominator: Denominator = "asked",
    rule: str | None = None,
    paper: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Score the stored answers of runs, a row for each; no model is called.

    Exit status 1 where a run has no answer at all, and so no score.

    Args:
        run: Folder of a run, complete or not.
        runs: More of them.
        denominator: Divide by all questions that were asked, or by the answers that could be parsed, as the released
            scripts do.
        rule: For runs of public benchmarks: official counts as the benchmark's own script does; `videossr bench list
            NAME` shows the rules of a benchmark. Of several runs, it scores those whose benchmark has it.
        paper: Also show the rows that the paper publishes. They are of other videos.
        as_json: Print everything as JSON.
    """
    scored = [read_run(folder) for folder in (run, *runs)]
    if any(scored_run.config.benchmark for scored_run in scored):
        if paper or denominator != "asked":
            raise ConfigError(
                "--paper and --denominator are not for runs of public benchmarks: both denominators are shown, and "
                "`videossr report RUN --layout paper` shows the paper's rows"
            )
        _score_public(scored, rule or "ours", as_json=as_json)
        return
    if rule is not None:
        raise ConfigError(f"--rule {rule}: it is for runs of public benchmarks, and {run} is none")
    boards = [score(scored_run, denominator) for scored_run in scored]
    if as_json:
        console.out(json.dumps([asdict(board) for board in boards], indent=1))
    else:
        print_scores(list(zip(scored, boards, strict=True)), paper=paper)
        for scored_run, board in zip(scored, boards, strict=True):
            console.print()
            if len(scored) > 1:
                console.print(safe(board.run))
            print_details(board)
            print_failures(scored_run, MEANINGS[denominator])
    if any(board.overall is None for board in boards):
        sys.exit(1)


def _score_public(runs: Sequence[Run], rule: str, *, as_json: bool) -> None:
    """Print the scores of runs of public benchmarks. Exit status 1 where one has no answer at all."""
    having = [rule in rules_of(open_benchmark(run)[1]) for run in runs]
    if not any(having):
        having = [True] * len(runs)  # the first of them tells which rules there are
    boards = [score_public(run, rule if has else "ours") for run, has in zip(runs, having, strict=True)]
    if as_json:
        console.out(json.dumps([asdict(board) for board in boards], indent=1))
    else:
        for run, board in zip(runs, boards, strict=True):
            print_public(board, safe(str(run.path)))
            print_failures(run)
            console.print()
        _show_remarks(runs, boards)
    if any(board.headline is None for board in boards):
        sys.exit(1)


def _show_remarks(runs: Sequence[Run], boards: Sequence[PublicScores]) -> None:
    """Print what the runs of each benchmark tell together."""
    by_benchmark: dict[str, list[tuple[Mapping[str, Any], Mapping[FigureKey, float]]]] = defaultdict(list)
    for run, board in zip(runs, boards, strict=True):
        settings = run.config.benchmark.settings if run.config.benchmark else {}
        figures = {(figure.name, figure.scope): figure.asked.value for figure in board.figures}
        by_benchmark[board.benchmark].append((settings, figures))
    for name, found in by_benchmark.items():
        for remark in BENCHMARKS.get(name)().remarks(found):
            console.print(remark)
