"""Scores of a run as the paper counts them (paper, section on VIUBench), each with how sure it is.

Exercised by `videossr bench score RUN`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from videossr.bench.outcomes import Outcomes, outcomes
from videossr.bench.records import UNREAD, Prediction, Run
from videossr.bench.viubench import ability, rank
from videossr.errors import DataError
from videossr.rewards import is_scored
from videossr.tasks.base import answer_type_of, task_of

Denominator: TypeAlias = Literal["asked", "answered"]
"""`asked`: what failed or does not parse is wrong. `answered`: it is left out, as the released scripts do."""

RESAMPLES = 4000
SEED = 20251106

FEW_VIDEOS = 30
"""Videos below which the bootstrap's intervals are too narrow."""

PROVING = 6
"""Videos that it takes to prove anything: of fewer, all signs are alike by chance more often than once in 20 times."""

_AT_ONCE = 1 << 22
"""Random numbers that are held at once."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean in [0, 1], and its 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """The scores of a run in one category.

    Attributes:
        category, task: of the questions.
        metric: of its answer type, such as `miou`, `per_shape` or `exact`.
        ability: what it asks of a model; None where the paper names none.
        asked: questions of the category that were asked.
        answered: those that gave a text.
        parsed: those with a text that has the asked form.
        score: the category's metric; what failed or does not parse counts as wrong. None if nothing was answered.
        answered_score: the same over what parsed alone, as the released scripts count; None if nothing did.
        smooth, strict: mean of both rewards over all that were asked; None if nothing was answered.
    """

    category: str
    task: str
    metric: str
    ability: str | None
    asked: int
    answered: int
    parsed: int
    score: Estimate | None
    answered_score: Estimate | None
    smooth: Estimate | None
    strict: Estimate | None


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """All categories of a run, and their means.

    A mean is None where none of its questions was answered: that is no score. In all others, what failed is wrong.

    Attributes:
        run: name of the run.
        hash: content hash of the benchmark.
        categories: in the paper's order where they are the paper's, then by name.
        overall: mean of the categories; of questions that could not be read only where there are no others.
        tasks: mean of the categories of each task, by its name.
        abilities: mean of the categories of each ability (`fine-grained`, `spatial`, `temporal`), by its name.
        coverage: share of the benchmark's questions that gave a text.
        unparsed: share of the answers whose text does not have the asked form; None where there is no answer.
        outcomes: how the questions ended, in numbers.
        denominator: what `overall`, `tasks` and `abilities` are means of; a category in which nothing parsed counts 0.
        videos: how many different videos the questions are about: what the intervals rest on.
    """

    run: str
    hash: str
    categories: tuple[CategoryScore, ...]
    overall: Estimate | None
    tasks: dict[str, Estimate | None]
    abilities: dict[str, Estimate | None]
    coverage: float
    unparsed: float | None
    outcomes: Outcomes
    denominator: Denominator = "asked"
    videos: int = 0


@dataclass(frozen=True, slots=True)
class QuestionScore:
    """The mean scores of the answers to one question; all 0 where it failed.

    Attributes:
        score: by the metric of its task.
        smooth, strict: by both rewards.
        parsed: share of the texts that have the asked form.
    """

    score: float = 0.0
    smooth: float = 0.0
    strict: float = 0.0
    parsed: float = 0.0


ScoredPrediction: TypeAlias = tuple[Prediction, QuestionScore]


def metric_of(data_source: str) -> str:
    """Return the name of the metric of a data source; `exact` where nothing that is installed scores it."""
    return answer_type_of(data_source).metric if is_scored(data_source) else "exact"


def score_prediction(prediction: Prediction) -> QuestionScore:
    """Score one prediction.

    Raises ValueError that names the question when its gold answer or data source is no such thing, or its scorer fails.
    """
    if not prediction.texts:
        return QuestionScore()
    try:
        kind = answer_type_of(prediction.data_source)
        scores = [kind.score(text, prediction.answer) for text in prediction.texts]
        value = fmean(kind.value(scored) for scored in scores)
    except ValueError as error:
        raise DataError(f"question {prediction.id}: {error}") from error
    except Exception as error:  # the code of another package
        raise DataError(
            f"question {prediction.id}: the scorer of {prediction.data_source} failed: {type(error).__name__}: {error}"
        ) from error
    return QuestionScore(
        value,
        fmean(scored.smooth for scored in scores),
        fmean(scored.strict for scored in scores),
        fmean(scored.parsed for scored in scores),
    )


def score(run: Run, denominator: Denominator = "asked") -> Scoreboard:
    """Score what a run has predicted so far; nothing is asked again. Raises ValueError when it has predicted nothing.

    An interval says how far the figure would move with other videos: videos are drawn anew, not questions, since
    answers about one video are alike. See docs/concepts/scores.md.
    """
    if not run.predictions:
        raise DataError(f"{run.path} has no predictions yet: go on with its `videossr bench run`")
    categories: dict[str, list[ScoredPrediction]] = defaultdict(list)
    for prediction in run.predictions:
        categories[prediction.category].append((prediction, score_prediction(prediction)))
    resampler = Resampler(run.predictions)
    names = sorted(categories, key=rank)
    means = iter(resampler.means(*(values for name in names for values in _values(categories[name]))))
    scored: list[Counted] = []
    tasks: dict[str, list[Counted]] = defaultdict(list)
    abilities: dict[str, list[Counted]] = defaultdict(list)
    for name in names:
        of_category = [next(means) for _ in range(4)]
        category = _category(name, categories[name], of_category)
        counted = (category, of_category[0 if denominator == "asked" else 1])
        scored.append(counted)
        tasks[category.task].append(counted)
        if category.ability:
            abilities[category.ability].append(counted)
    answered = [
        question_score for members in categories.values() for prediction, question_score in members if prediction.texts
    ]
    return Scoreboard(
        run=run.name,
        hash=run.config.hash,
        categories=tuple(found for found, _ in scored),
        overall=_mean([counted for counted in scored if counted[0].category != UNREAD or len(scored) == 1]),
        tasks={name: _mean(parts) for name, parts in tasks.items()},
        abilities={name: _mean(parts) for name, parts in sorted(abilities.items())},
        coverage=len(answered) / run.config.size,
        unparsed=1 - fmean(question_score.parsed for question_score in answered) if answered else None,
        outcomes=outcomes(run),
        denominator=denominator,
        videos=resampler.videos,
    )


@dataclass(frozen=True)
class Resampled:
    """A mean, and its value in each resample (R,)."""

    value: float
    drawn: NDArray[np.float64]


Counted: TypeAlias = tuple[CategoryScore, Resampled]
"""A category, and its mean by the denominator that counts."""


def _mean(categories: Sequence[Counted]) -> Estimate | None:
    """Average categories; None where none of their questions was answered."""
    return estimate([mean for _, mean in categories]) if any(category.answered for category, _ in categories) else None


def percent(share: float) -> str:
    """Write a share in percent with one decimal, halves up, as the paper prints 1/16: 6.3."""
    return f"{math.floor(share * 1000 + 0.5 + 1e-9) / 10:.1f}"


def estimate(parts: Sequence[Resampled]) -> Estimate:
    """Average several means, with the interval that holds 95% of the resamples of their mean."""
    low, high = np.quantile(np.mean([part.drawn for part in parts], axis=0), [0.025, 0.975])
    return Estimate(fmean(part.value for part in parts), float(low), float(high))


def interval_basis(videos: int) -> str:
    """Say on how many videos the intervals of a table rest, and whether these are too few to trust them."""
    few = ": too few to trust them" if videos < FEW_VIDEOS else ""
    return f"the intervals rest on {videos:,} video{'s' * (videos != 1)}{few}"


def t_quantile(probability: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution with so many degrees of freedom."""
    from scipy.special import stdtrit  # takes half a second, and this module is imported by most commands

    return float(stdtrit(freedom, probability))


def widen(figure: Estimate, videos: int) -> Estimate:
    """Give a score a 95% interval from which something may be concluded, however few its videos are.

    Of fewer than six videos nothing follows, as in `videossr bench compare`: the interval is [0, 1]. Else the
    bootstrap's ends are moved away from the score by the factor that a mean of n values needs whose variance is
    estimated from them: t(n - 1) / 1.96 * sqrt(n / (n - 1)), which is 1.44 for six videos and 1.06 for 30 (after the
    expanded percentile interval of Hesterberg, What Teachers Should Know About the Bootstrap, 2015).

    Where all videos score alike the bootstrap has no interval. If the mean over all videos were m, one video would
    score no more than v with a probability of (1 - m) / (1 - v) at the most, and no less with one of m / v (Markov's
    inequality). So the ends are the m at which all n videos do so with a probability of 2.5%.

    Args:
        figure: the score, in [0, 1].
        videos: n, how many videos it is a mean of, at least 1.
    """
    if videos < PROVING:
        return Estimate(figure.value, 0.0, 1.0)
    if figure.high - figure.low <= 1e-9:
        share = 0.025 ** (1 / videos)
        return Estimate(figure.value, figure.value * share, 1 - (1 - figure.value) * share)
    factor = t_quantile(0.975, videos - 1) / NormalDist().inv_cdf(0.975) * math.sqrt(videos / (videos - 1))
    low = figure.value - (figure.value - figure.low) * factor
    high = figure.value + (figure.high - figure.value) * factor
    return Estimate(figure.value, max(0.0, low), min(1.0, high))


class Resampler:
    """Draws the videos of some predictions anew, as many as there are, the same for all categories (bootstrap).

    Seeded, so a figure never moves. A question whose video is not known stands for a video of its own.
    """

    def __init__(self, predictions: Sequence[Prediction]) -> None:
        names = [prediction.source or f"question {prediction.index}" for prediction in predictions]
        order = {name: at for at, name in enumerate(sorted(set(names)))}
        self._of = {prediction.index: order[name] for prediction, name in zip(predictions, names, strict=True)}
        self.videos = len(order)

    def means(self, *values: Mapping[int, float]) -> list[Resampled]:
        """Average each table, a value for some questions by their index. None of them may be empty.

        A resample without any question of a category leaves that category's mean as it is.
        """
        sums, counts = self._tables(values)
        means = [fmean(table.values()) for table in values]
        drawn = []
        for rng, size in self._rounds():
            places = rng.integers(self.videos, size=(size, self.videos)) + np.arange(size)[:, None] * self.videos
            often = np.bincount(places.ravel(), minlength=size * self.videos).reshape(size, self.videos)
            asked = often @ counts
            drawn.append(np.where(asked > 0, often @ sums / np.maximum(asked, 1), means))
        every = np.concatenate(drawn)
        return [Resampled(mean, every[:, at]) for at, mean in enumerate(means)]

    def flips(self, *values: Mapping[int, float]) -> NDArray[np.float64]:
        """Compute the means, (R, values), when the signs of a video's values are drawn anew (randomisation test)."""
        sums, counts = self._tables(values)
        drawn = [(2.0 * rng.integers(2, size=(size, self.videos)) - 1) @ sums for rng, size in self._rounds()]
        flipped: NDArray[np.float64] = np.concatenate(drawn) / counts.sum(axis=0)
        return flipped

    def _tables(self, values: Sequence[Mapping[int, float]]) -> NDArray[np.float64]:
        """Sum and number (2, videos, values) of the values of each video."""
        tables = np.zeros((2, self.videos, len(values)))
        for place, table in enumerate(values):
            for index, value in table.items():
                tables[:, self._of[index], place] += value, 1
        return tables

    def _rounds(self) -> Iterator[tuple[np.random.Generator, int]]:
        """Yield as many resamples at a time as fit into memory."""
        rng = np.random.default_rng(SEED)
        step = max(1, _AT_ONCE // self.videos)
        for start in range(0, RESAMPLES, step):
            yield rng, min(step, RESAMPLES - start)


def _values(members: Sequence[ScoredPrediction]) -> tuple[dict[int, float], ...]:
    """Collect what is averaged of a category: score, score of what parsed, smooth and strict reward."""
    marks = {prediction.index: question_score for prediction, question_score in members}
    # Texts that do not parse add nothing to a question's score: its mean over the others follows from their share.
    parsed = {
        index: question_score.score / question_score.parsed
        for index, question_score in marks.items()
        if question_score.parsed
    }
    return (
        {index: question_score.score for index, question_score in marks.items()},
        parsed or {min(marks): 0.0},
        {index: question_score.smooth for index, question_score in marks.items()},
        {index: question_score.strict for index, question_score in marks.items()},
    )


def _category(category: str, members: Sequence[ScoredPrediction], means: Sequence[Resampled]) -> CategoryScore:
    source = next((prediction.data_source for prediction, _ in members if prediction.data_source), "?")
    task = task_of(source)
    parsed = sum(question_score.parsed > 0 for _, question_score in members)
    answered = sum(bool(prediction.texts) for prediction, _ in members)
    score, answered_score, smooth, strict = (estimate([mean]) for mean in means)
    return CategoryScore(
        category=category,
        task=task,
        metric=metric_of(source),
        ability=ability(category, task, str(members[0][0].difficulty.get("perturbation", ""))),
        asked=len(members),
        answered=answered,
        parsed=parsed,
        score=score if answered else None,
        answered_score=answered_score if parsed else None,
        smooth=smooth if answered else None,
        strict=strict if answered else None,
    )
