"""What the verbs of `videossr bench` print of a run. Shown by `videossr bench score RUN`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Literal

from rich.table import Table

from videossr.bench.evaluation import Progress
from videossr.bench.outcomes import Outcomes
from videossr.bench.records import UNREAD, Prediction, Run
from videossr.bench.scoring import FEW_VIDEOS, Estimate, Scoreboard, interval_basis, percent
from videossr.bench.viubench import HEADINGS, published, rank
from videossr.cli.console import console, safe
from videossr.models.openai.errors import reason

REASONS = 5
"""Reasons of failure that are shown."""

GUESSES = {
    "uniform": "uniform guess",
    "law": "guess from the law",
    "constant": "best constant answer",
    "smooth": "best constant for the smooth reward",
}


def print_scores(boards: Sequence[tuple[Run, Scoreboard]], *, paper: bool = False) -> None:
    """The paper's table: a row for each run, with its interval below, then what answers without looking score."""
    categories = sorted({each.category for _, board in boards for each in board.categories} - {UNREAD}, key=rank)
    table = paper_table(categories)
    for _, board in boards:
        found = {
            each.category: each.score if board.denominator == "asked" else each.answered_score
            for each in board.categories
        }
        table.add_row(
            safe(board.run), *(_interval(found.get(category)) for category in categories), _interval(board.overall)
        )
    chance = next((run.manifest["chance"] for run, _ in boards if run.manifest and "chance" in run.manifest), {})
    for guess in ("uniform", "law", "constant") if chance else ():
        worths = {category: by_guess[guess]["score"] for category, by_guess in chance.items()}
        table.add_row(f"({GUESSES[guess]})", *percents(worths, categories))
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
    """What the progress bar says of a run beside how far it is."""
    score = f"score {state.score:.1%}" if state.score is not None else "no answer yet"
    return score + (f", {state.failed} failed" if state.failed else "")


def print_outcomes(runs: Sequence[tuple[str, Outcomes]]) -> None:
    """A line for each run, by its name: how many questions failed, and how many answers have another form."""
    for name, found in runs:
        console.print((f"{safe(name)}: " if len(runs) > 1 else "") + found.line(), soft_wrap=True)


def paper_table(categories: Iterable[str]) -> Table:
    """The head of the paper's table: nothing, the categories, overall. It fits on 80 signs a line."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    table.add_column("", overflow="fold")
    for category in categories:
        heading = HEADINGS[category].replace(" ", "\n") if category in HEADINGS else safe(category).replace("/", "\n")
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("overall", justify="right", no_wrap=True)
    return table


def print_details(board: Scoreboard) -> None:
    """How many were answered, both denominators and both rewards by category; the means by task and ability."""
    table = Table(box=None, pad_edge=False, collapse_padding=True)
    for heading in ("", "asked", "texts", "parsed", "score", "of\nparsed", "smooth", "strict", "metric"):
        justify: Literal["left", "right"] = "left" if heading in ("", "metric") else "right"
        table.add_column(heading, justify=justify, overflow="fold")
    for each in board.categories:
        counts = (str(each.asked), str(each.answered), str(each.parsed))
        found = (each.score, each.answered_score, each.smooth, each.strict)
        shown = (percent(mean.value) if mean else "-" for mean in found)
        table.add_row(safe(each.category), *counts, *shown, each.metric)
    console.print(table)
    for kind, means in (("task", board.tasks), ("ability", board.abilities)):
        for name, mean in means.items():
            console.print(f"  {kind} {safe(name)}: {line(mean)}")
    counted = "asked" if board.denominator == "asked" else "parsed, as the released scripts count"
    console.print(
        f"  overall, mean of {len(board.categories)} categories, of what was {counted}: {line(board.overall)}"
    )
    if board.unparsed is not None:
        form = f"not of the asked form {board.unparsed:.1%} of the answers"
        console.print(f"  coverage {board.coverage:.1%} of the benchmark, {form}")


def print_failures(run: Run, meaning: str = "each counts as wrong") -> None:
    """Print why questions failed, with an example of each reason, and how many questions are still open.

    Args:
        run: complete or not.
        meaning: what failed questions are in the figures above, where others were answered.
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
        console.print(f"{count} questions failed{means}.{again} Why they failed:", soft_wrap=True)
        for alike in sorted(failed.values(), key=len, reverse=True)[:REASONS]:
            example = alike[0]
            named = f"question {safe(example.id, 40)}, {safe(example.category, 40)}"
            console.print(f"  {len(alike)} x {safe(example.error)} ({named})", soft_wrap=True)
    if len(failed) > REASONS:
        console.print(f"  and {len(failed) - REASONS} other reasons")
    if left := run.config.wanted - len(run.predictions):
        part = ": the scores are those of a part of the benchmark" if answered else ""
        console.print(f"{left} questions are still open{part}", soft_wrap=True)


def _interval(found: Estimate | None) -> str:
    """Percent, and the interval on a line of its own; a dash where the resamples have none, as of one question."""
    if found is None:
        return "-"
    within = f"{100 * found.low:.0f}-{100 * found.high:.0f}" if found.low < found.high else "-"
    return f"{percent(found.value)}\n{within}"


def line(found: Estimate | None) -> str:
    """Percent, and the interval behind it."""
    if found is None:
        return "-"
    within = f"[{percent(found.low)}, {percent(found.high)}]" if found.low < found.high else "[-]"
    return f"{percent(found.value)} {within}"


def percents(values: Mapping[str, float], categories: Iterable[str], overall: float | None = None) -> list[str]:
    """A cell for each category, and one for their mean, if there is a value for each."""
    found = [values.get(category) for category in categories]
    known = [value for value in found if value is not None]
    if overall is None and len(known) == len(found):
        overall = fmean(known)
    return [percent(value) if value is not None else "-" for value in (*found, overall)]
