"""Compare two runs of a public benchmark by its own figures, question by question.

Exercised by `videossr bench compare RUN RUN`, and by the gains of `videossr report RUN... --layout paper`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from videossr.bench.comparison import ALPHA, chance_of
from videossr.bench.public.base import Benchmark, Rule
from videossr.bench.public.figures import Figure, FigureKey
from videossr.bench.public.scoring import (
    counted_predictions,
    figures_of,
    mark,
    open_benchmark,
    resampled,
    rule_of,
    rules_of,
)
from videossr.bench.records import Run
from videossr.bench.scoring import PROVING, Estimate, Resampler, estimate
from videossr.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class FigureChange:
    """A figure of a second run less that of a first one.

    Attributes:
        name, scope: of the figure, see `videossr.bench.public.figures.Figure`.
        first, second: the figure in each.
        change: second less first, and its 95% interval.
        p: how often noise makes so large a change, by drawing its sign anew for each video; None where the rule leaves
            answers out, so that the answers of the two runs are no pairs.
        real: whether it is larger than noise: six videos or more, an interval without 0, and p below 0.05.
    """

    name: str
    scope: str
    first: float
    second: float
    change: Estimate
    p: float | None
    real: bool


@dataclass(frozen=True, slots=True)
class PublicComparison:
    """Two runs of a public benchmark.

    Attributes:
        first, second: paths of the runs.
        benchmark, rule: registered name of the benchmark, and the rule by which both are scored.
        changes: the headline first.
        same_hash: whether both were asked in the same way.
        videos: number of different videos, on which all of this rests.
    """

    first: str
    second: str
    benchmark: str
    rule: str
    changes: tuple[FigureChange, ...]
    same_hash: bool
    videos: int


def compare_public(first: Run, second: Run, rule: str = "ours") -> PublicComparison:
    """Compare the figures of two runs.

    Raises:
        ConfigError: they are of different benchmarks, or the benchmark has no such rule.
        DataError: they were not asked the same questions, or one of them answered nothing.
    """
    name, benchmark = open_benchmark(first)
    other = second.config.benchmark.name if second.config.benchmark else "other questions"
    if name != other:
        raise ConfigError(f"{first.path} is a run of {name}, and {second.path} of {other}")
    rule_of(name, benchmark, rule)
    if not asked_alike(first, second):
        raise DataError(
            f"{first.path} and {second.path} were not asked the same questions: one of them is unfinished, was "
            "limited, or has other annotations or settings"
        )
    for run in (first, second):
        if not any(prediction.texts for prediction in run.predictions):
            raise DataError(f"{run.path}: no question was answered, so there is nothing to compare")
    resampler = Resampler(counted_predictions(second))
    changes = figure_changes(first, second, benchmark, rule, resampler)
    same = first.config.hash == second.config.hash
    return PublicComparison(str(first.path), str(second.path), name, rule, tuple(changes), same, resampler.videos)


def asked_alike(first: Run, second: Run) -> bool:
    """Tell whether two runs were asked the same questions with the same gold answers."""
    asked = [{p.index: (p.id, p.answer) for p in counted_predictions(run)} for run in (first, second)]
    return asked[0] == asked[1] and bool(asked[0])


def figure_changes(
    first: Run, second: Run, benchmark: Benchmark[object], rule: str, resampler: Resampler
) -> list[FigureChange]:
    """Compute by how much each figure of the second run is larger. Both were asked the same questions.

    Args:
        first: what is compared against.
        second: what is compared.
        benchmark: that both asked.
        rule: by which both are scored.
        resampler: of the counted predictions of the second run.
    """
    how = rules_of(benchmark)[rule]
    before, after = (_figures(run, benchmark, rule, how) for run in (first, second))
    found = []
    for key in after:
        if key not in before:
            continue
        old, new = (_parts(figures[key], how) for figures in (before, after))
        if not (all(old) and all(new) and old and new):
            continue
        mine, other = fmean(before[key].means(old)), fmean(after[key].means(new))
        change = Estimate(other - mine, other - mine, other - mine)
        p: float | None = None
        if [part.keys() for part in old] == [part.keys() for part in new]:
            differences = [
                {index: value - first_part[index] for index, value in second_part.items()}
                for first_part, second_part in zip(old, new, strict=True)
            ]
            change = estimate(resampled(after[key], differences, resampler))
            p = _chance(after[key], differences, resampler)
        real = p is not None and p < ALPHA and resampler.videos >= PROVING and not change.low <= 0 <= change.high
        found.append(FigureChange(*key, mine, other, change, p, real))
    return found


def _chance(figure: Figure, differences: Sequence[Mapping[int, float]], resampler: Resampler) -> float:
    """Estimate how often noise alone makes so large a change, by drawing its sign anew for each video."""
    weighted = [
        {index: value * figure.weights.get(index, 1.0) for index, value in part.items()} for part in differences
    ]
    return chance_of(fmean(fmean(part.values()) for part in weighted), resampler.flips(*weighted).mean(axis=1))


def _figures(run: Run, benchmark: Benchmark[object], rule: str, how: Rule) -> dict[FigureKey, Figure]:
    marked = [mark(prediction, how) for prediction in counted_predictions(run)]
    return {(figure.name, figure.scope): figure for figure in figures_of(run, benchmark, marked, rule)}


def _parts(figure: Figure, how: Rule) -> Sequence[Mapping[int, float]]:
    return figure.parts if how.counts_unread else [part for part in figure.answered if part]
