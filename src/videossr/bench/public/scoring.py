"""Score the run of a public benchmark by one of its rules; nothing is asked again.

Exercised by `videossr bench score RUN --rule official`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from videossr.bench.outcomes import Outcomes, outcomes
from videossr.bench.public.base import BENCHMARKS, OURS, Benchmark, Rule
from videossr.bench.public.figures import Figure, Marked
from videossr.bench.records import UNREAD, Prediction, Run
from videossr.bench.scoring import Estimate, Resampled, Resampler, estimate
from videossr.errors import ConfigError, DataError
from videossr.registry import suggest
from videossr.tasks.base import answer_type_of


@dataclass(frozen=True, slots=True)
class PublicFigure:
    """A figure of a run.

    Attributes:
        name, scope: see `videossr.bench.public.figures.Figure`.
        units: questions, or groups of them that count as a whole.
        asked: the figure over all of them, with its 95% interval; what failed or cannot be read is wrong.
        answered: over those alone whose answers could be read; None where there are none.
    """

    name: str
    scope: str
    units: int
    asked: Estimate
    answered: Estimate | None


@dataclass(frozen=True, slots=True)
class PublicScores:
    """All figures of a run, the headline first.

    Attributes:
        run: name of the run.
        benchmark: registered name of the benchmark.
        rule: by which it was scored.
        figures: none where nothing was answered.
        unread: answers that the rule cannot read.
        guess: expected share of right answers of a uniform guess; None where the answers are no options.
        outcomes: how the questions ended.
        coverage: share of the benchmark's questions that have an answer.
        videos: number of different videos, which the intervals rest on.
    """

    run: str
    benchmark: str
    rule: str
    figures: tuple[PublicFigure, ...]
    unread: int
    guess: float | None
    outcomes: Outcomes
    coverage: float
    videos: int

    @property
    def headline(self) -> PublicFigure | None:
        """Return the first figure; None where nothing was answered."""
        return self.figures[0] if self.figures else None


def rules_of(benchmark: Benchmark[object]) -> dict[str, Rule]:
    """Return the rules of a benchmark by name, the default one first."""
    return {"ours": OURS, **benchmark.rules}


def score_public(run: Run, rule: str = "ours") -> PublicScores:
    """Score what a run of a public benchmark has answered so far.

    Raises:
        ConfigError: the run is of no public benchmark, or the benchmark has no such rule.
        DataError: the run has no predictions yet.
    """
    name, benchmark = open_benchmark(run)
    how = rule_of(name, benchmark, rule)
    if not run.predictions:
        raise DataError(f"{run.path} has no predictions yet: go on with its `videossr bench run`")
    counted = counted_predictions(run)
    marked = [mark(prediction, how) for prediction in counted]
    answered = any(prediction.texts for prediction in counted)
    resampler = Resampler(counted or run.predictions)
    figures = figures_of(run, benchmark, marked, rule) if answered else []
    return PublicScores(
        run=run.name,
        benchmark=name,
        rule=rule,
        figures=tuple(_estimated(figure, resampler, how) for figure in figures if figure.units),
        unread=sum(not mark.read and bool(mark.text) for mark in marked),
        guess=_uniform_guess(counted),
        outcomes=outcomes(run),
        coverage=sum(bool(prediction.texts) for prediction in counted) / run.config.size,
        videos=resampler.videos,
    )


def open_benchmark(run: Run) -> tuple[str, Benchmark[object]]:
    """Return the name of the benchmark that a run asked, and the benchmark.

    Raises:
        ConfigError: it is none, or no installed package declares it; the message names the run.
    """
    if run.config.benchmark is None:
        raise ConfigError(f"{run.path} is the run of no public benchmark")
    name = run.config.benchmark.name
    try:
        kind: type[Benchmark[object]] = BENCHMARKS.get(name)
    except ConfigError as error:
        raise ConfigError(f"{run.path}: {error}") from error
    return name, kind()


def rule_of(name: str, benchmark: Benchmark[object], rule: str) -> Rule:
    """Return a rule of a benchmark. Raises ConfigError where it has no such rule."""
    rules = rules_of(benchmark)
    if rule not in rules:
        raise ConfigError(f"--rule {rule}: {name} has no such rule{suggest(rule, rules)}")
    return rules[rule]


def counted_predictions(run: Run) -> list[Prediction]:
    """Return the predictions that figures count: all but those of rows that cannot be read at all."""
    return [prediction for prediction in run.predictions if prediction.category != UNREAD]


def figures_of(run: Run, benchmark: Benchmark[object], marked: Sequence[Marked], rule: str) -> list[Figure]:
    """Sum scored answers up, see `Benchmark.figures`.

    Raises:
        DataError: the predictions lack what the benchmark's figures need, as those of another version may; the message
            names the run.
    """
    try:
        return list(benchmark.figures(marked, rule))
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise DataError(
            f"{run.path}: its predictions do not fit this version of the benchmark ({type(error).__name__}: {error}): "
            "run it again into another folder"
        ) from error


def mark(prediction: Prediction, rule: Rule) -> Marked:
    """Score one prediction by a rule.

    Raises:
        DataError: its gold answer or data source is no such thing.
    """
    text = prediction.texts[0] if prediction.texts else ""
    value: float | None = None
    parts: tuple[float, ...] = ()
    try:
        if prediction.texts and rule.score is not None:
            value = rule.score(text, prediction.answer)
        elif prediction.texts:
            kind = answer_type_of(prediction.data_source)
            scores = kind.score(text, prediction.answer)
            value, parts = kind.value(scores) if scores.parsed else None, scores.parts
    except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise DataError(f"question {prediction.id}: {type(error).__name__}: {error}") from error
    return Marked(
        index=prediction.index,
        id=prediction.id,
        category=prediction.category,
        answer=prediction.answer,
        groups=prediction.difficulty,
        text=text,
        value=value or 0.0,
        read=value is not None,
        parts=parts,
    )


def _estimated(figure: Figure, resampler: Resampler, rule: Rule) -> PublicFigure:
    """Compute a figure and its intervals."""
    kept = tuple(part for part in figure.answered if part)
    answered = estimate(resampled(figure, kept, resampler)) if kept else None
    asked = estimate(resampled(figure, figure.parts, resampler))
    return PublicFigure(
        figure.name, figure.scope, figure.units, asked if rule.counts_unread else (answered or asked), answered
    )


def resampled(figure: Figure, parts: Sequence[Mapping[int, float]], resampler: Resampler) -> list[Resampled]:
    """Average each part of a figure by the weights of its units, in the figure itself and in each resample."""
    if not figure.weights:
        return resampler.means(*parts)
    weights = [{index: figure.weights[index] for index in part} for part in parts]
    weighted = [{index: value * figure.weights[index] for index, value in part.items()} for part in parts]
    sums, totals = resampler.means(*weighted), resampler.means(*weights)
    return [
        Resampled(above.value / below.value, above.drawn / below.drawn)
        for above, below in zip(sums, totals, strict=True)
    ]


def _uniform_guess(predictions: Sequence[Prediction]) -> float | None:
    """Compute the expected share of right answers of a uniform guess among the options that gold answers list."""
    lines = [prediction.answer.count("\n") for prediction in predictions if prediction.data_source == "videossr/option"]
    numbers = [number for number in lines if number]
    return fmean(1 / number for number in numbers) if numbers else None
