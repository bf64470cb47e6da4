"""The tables that the verbs of `videossr bench` print."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Literal

from rich.table import Table
from rich.text import Text

from videossr.bench.evaluation import Progress
from videossr.bench.outcomes import Outcomes
from videossr.bench.records import UNREAD, Prediction, Run
from videossr.bench.scoring import FEW_VIDEOS, Estimate, Scoreboard, interval_basis, percent
from videossr.bench.viubench import HEADINGS, published, rank
from videossr.cli.console import console, counted, lines, safe
from videossr.models.openai.errors import reason

REASONS = 5
"""Reasons of failure that are shown."""

GUESSES = {
    "uniform": "uniform guess",
    "prior": "guess from the prior",
    "constant": "best constant answer",
    "smooth": "best constant for the smooth reward",
}


def print_scores(boards: Sequence[tuple[Run, Scoreboard]], *, paper: bool = False) -> None:
    """Print the paper's table: a row for each run with its interval below, then the scores of blind baselines.

    Args:
        boards: each run with its scores.
        paper: also print the rows that the paper publishes.
    """
    categories = sorted({entry.category for _, board in boards for entry in board.categories} - {UNREAD}, key=rank)
    table = paper_table(categories)
    for _, board in boards:
        scores = {
            entry.category: entry.score if board.denominator == "asked" else entry.answered_score
            for entry in board.categories
        }
        table.add_row(
            safe(board.run), *(_interval(scores.get(category)) for category in categories), _interval(board.overall)
        )
    chance = next((run.manifest["chance"] for run, _ in boards if run.manifest and "chance" in run.manifest), {})
    for guess in ("uniform", "prior", "constant") if chance else ():
        expected = {category: by_guess[guess]["score"] for category, by_guess in chance.items()}
        table.add_row(f"({GUESSES[guess]})", *percents(expected, categories))
    for model in published() if paper else ():
        shares = {category: value / 100 for category, value in model.categories.items()}
        table.add_row(f"{model.model} †", *percents(shares, categories, model.overall / 100))
    console.print(table)
    print_outcomes([(board.run, board.outcomes) for _, board in boards])
    scored = [board.videos for _, board in boards if board.overall is not None]
    if scored and (videos := min(scored)) < FEW_VIDEOS:
        console.print(interval_basis(videos))
    if paper:
        console.print("† as the paper prints it, on other videos: not comparable, unless the released set was run")


def note(state: Progress) -> str:
    """Write the text behind the progress bar of a run: its score so far and how many questions failed."""
    score = f"score {state.score:.1%}" if state.score is not None else "no answer yet"
    return score + (f", {state.failed} failed" if state.failed else "")


def print_outcomes(runs: Sequence[tuple[str, Outcomes]]) -> None:
    """Print a line for each run: how many questions failed, and how many answers could not be parsed."""
    for name, counts in runs:
        console.print((f"{safe(name)}: " if len(runs) > 1 else "") + counts.line(), soft_wrap=True)


def paper_table(categories: Iterable[str]) -> Table:
    """Make the empty table of the paper: a column of names, the categories, overall. It fits on 80 characters."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("", overflow="fold")
    for category in categories:
        heading = HEADINGS[category].replace(" ", "\n") if category in HEADINGS else safe(category).replace("/", "\n")
        table.add_column(lines(heading), justify="right", overflow="fold")
    table.add_column("overall", justify="right", no_wrap=True)
    return table


def print_details(board: Scoreboard) -> None:
    """Print, by category, counts, both denominators and both rewards; then the means by task and ability."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for heading in ("", "asked", "texts", "parsed", "score", "of\nparsed", "smooth", "strict", "metric"):
        justify: Literal["left", "right"] = "left" if heading in ("", "metric") else "right"
        table.add_column(lines(heading), justify=justify, overflow="fold")
    for category in board.categories:
        counts = (str(category.asked), str(category.answered), str(category.parsed))
        means = (category.score, category.answered_score, category.smooth, category.strict)
        shown = (percent(mean.value) if mean else "-" for mean in means)
        table.add_row(safe(category.category), *counts, *shown, category.metric)
    console.print(table)
    for kind, scores in (("task", board.tasks), ("ability", board.abilities)):
        for name, mean in scores.items():
            console.print(f"  {kind} {safe(name)}: {line(mean)}")
    counted = "asked" if board.denominator == "asked" else "parsed, as the released scripts count"
    console.print(
        f"  overall, mean of {len(board.categories)} categories, of what was {counted}: {line(board.overall)}"
    )
    if board.unparsed is not None:
        console.print(
            f"  coverage {board.coverage:.1%} of the benchmark, {board.unparsed:.1%} of the answers cannot be parsed"
        )


def print_failures(run: Run, meaning: str = "each counts as wrong") -> None:
    """Print why questions failed, with an example of each reason, and how many questions are still open.

    Args:
        run: complete or not.
        meaning: how failed questions count in the figures above, where others were answered.
    """
    failed: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in run.predictions:
        if prediction.error:
            failed[reason(prediction.error)].append(prediction)
    count = sum(map(len, failed.values()))
    answered = count < len(run.predictions)
    if failed:
        means = f" ({meaning})" if answered else ""
        again = "" if run.config.answers else " The command that made this run asks them again."
        console.print(f"{counted(count, 'question')} failed{means}.{again} Why they failed:", soft_wrap=True)
        for alike in sorted(failed.values(), key=len, reverse=True)[:REASONS]:
            example = alike[0]
            named = f"question {safe(example.id, 40)}, {safe(example.category, 40)}"
            console.print(f"  {len(alike)} x {safe(example.error)} ({named})", soft_wrap=True)
    if len(failed) > REASONS:
        console.print(f"  and {len(failed) - REASONS} other reasons")
    if left := run.config.wanted - len(run.predictions):
        part = ": the scores are those of a part of the benchmark" if answered else ""
        console.print(f"{left} questions are still open{part}", soft_wrap=True)


def _interval(estimate: Estimate | None) -> Text:
    """Write percent, and the interval on a line of its own; a dash where there is none, as of one question."""
    if estimate is None:
        return lines("-")
    within = f"{100 * estimate.low:.0f}-{100 * estimate.high:.0f}" if estimate.low < estimate.high else "-"
    return lines(f"{percent(estimate.value)}\n{within}")


def line(estimate: Estimate | None) -> str:
    """Write percent, and the interval behind it."""
    if estimate is None:
        return "-"
    within = f"[{percent(estimate.low)}, {percent(estimate.high)}]" if estimate.low < estimate.high else "[-]"
    return f"{percent(estimate.value)} {within}"


def percents(values: Mapping[str, float], categories: Iterable[str], overall: float | None = None) -> list[str]:
    """Write a cell for each category, and one for the overall score.

    Args:
        values: scores from 0 to 1, by category.
        categories: the columns; one without a value gets a dash.
        overall: the overall score; by default the mean of `values` where every category has one.
    """
    cells = [values.get(category) for category in categories]
    known = [value for value in cells if value is not None]
    if overall is None and known and len(known) == len(cells):
        overall = fmean(known)
    return [percent(value) if value is not None else "-" for value in (*cells, overall)]
