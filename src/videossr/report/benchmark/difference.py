"""By how much each run of a benchmark differs from a baseline: from another run, or from a guess.

Made for `videossr report RUN RUN --out report.html`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from videossr.bench.comparison import compare
from videossr.bench.scoring import Estimate, widen
from videossr.report.benchmark.table import Benchmark, Scored


@dataclass(frozen=True, slots=True)
class Change:
    """A run's overall score minus that of a baseline.

    Attributes:
        change: the difference of the scores in [0, 1], with its 95% interval over videos; None where there is none.
        real: whether it is larger than noise, as `videossr bench compare` decides.
        note: which questions it is of, where they are not all that were asked; or why there is no difference.
    """

    change: Estimate | None
    real: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline of a comparison: its name, whether it is a run, and the change of every run, in order.

    The change of the baseline itself is None.
    """

    name: str
    is_run: bool
    changes: tuple[Change | None, ...]


def baselines(benchmark: Benchmark) -> list[Baseline]:
    """Compare every run with every other one, question by question, and with every guess.

    Returns:
        A baseline for each run, in their order, then for each guess whose overall score is known; none where there is
        one run and no guess.
    """
    runs = benchmark.runs
    changes: dict[tuple[int, int], Change | None] = {}
    for other in range(len(runs)):
        changes[other, other] = None
        for base in range(other):
            change = _compared(runs[base], runs[other])
            changes[base, other] = change
            changes[other, base] = _reverse(change)
    baselines = [
        Baseline(run.name, True, tuple(changes[base, other] for other in range(len(runs))))
        for base, run in enumerate(runs)
        if len(runs) > 1
    ]
    guesses = [(row, row.overall.asked) for row in benchmark.rows if row.kind == "guess"]
    return baselines + [
        Baseline(f"guess: {row.name}", False, _over(benchmark.runs, expected.value))
        for row, expected in guesses
        if expected is not None
    ]


def _compared(base: Scored, other: Scored) -> Change:
    try:
        found = compare(base.run, other.run, shared=True)
    except ValueError as error:  # they share no question
        return Change(None, note=str(error))
    if found.overall.change is None:
        return Change(None, note="one of them answered nothing")
    shared = f"of {found.overall.questions:,} shared questions" if found.left_out else ""
    return Change(found.overall.change, found.overall.real, shared)


def _reverse(change: Change) -> Change:
    if change.change is None:
        return change
    value, low, high = change.change.value, change.change.low, change.change.high
    return Change(Estimate(-value, -high, -low), change.real, change.note)


def _over(runs: Sequence[Scored], expected: float) -> tuple[Change, ...]:
    """Compute the changes from a score that is known without asking."""
    changes = []
    for run in runs:
        if (score := run.asked.overall) is None:
            changes.append(Change(None, note="it has no score"))
            continue
        change = Estimate(score.value - expected, score.low - expected, score.high - expected)
        sure = widen(score, run.videos("overall", "", "asked"))
        changes.append(Change(change, not sure.low <= expected <= sure.high))
    return tuple(changes)
