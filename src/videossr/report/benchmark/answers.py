"""The answers of a run by category, and how hard questions are: plain numbers for `videossr report RUN`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from videossr.answers.base import AnswerType
from videossr.answers.panel import GivenAnswer, GivenAnswers, Panel
from videossr.bench.records import Prediction, Run
from videossr.bench.scoring import Denominator, Estimate, QuestionScore, Resampler, estimate, score_prediction
from videossr.untrusted import plain_text

_DISTINCT = 6
"""A numeric setting with more values than this is cut at its quantiles."""

_QUANTILES = 4

_CATEGORIES = 12
"""A setting of texts with more values than this says nothing by its values."""


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One question of a run: the answers, and their scores."""

    prediction: Prediction
    mark: QuestionScore

    @property
    def given(self) -> GivenAnswer:
        """The question and what was said, as answer types take it."""
        prediction = self.prediction
        return GivenAnswer(
            index=prediction.index,
            gold=prediction.answer,
            texts=prediction.texts or ("",),
            failed=not prediction.texts,
            times_ms=tuple(prediction.times_ms),
            end_ms=prediction.end_ms,
        )


class Answers:
    """The answers of a run in one category, and the means over them."""

    def __init__(self, predictions: Sequence[Prediction]) -> None:
        self.every = [ScoredAnswer(prediction, score_prediction(prediction)) for prediction in predictions]
        self._resampler = Resampler(predictions)

    @property
    def counted(self) -> list[ScoredAnswer]:
        """All of them; none where not one question was answered, for then there is nothing to count."""
        return self.every if any(answer.prediction.texts for answer in self.every) else []

    def videos(self, denominator: Denominator) -> int:
        """Count the videos that the questions are about: all of them, or those with an answer of the asked form."""
        answers = [answer for answer in self.every if denominator == "asked" or answer.mark.parsed]
        return len({answer.prediction.source or answer.prediction.index for answer in answers})

    def panel(self, kind: AnswerType) -> Panel | None:
        """Sum up the answers as their type does; None where a report shows nothing of them but scores."""
        return kind.panel(GivenAnswers([answer.given for answer in self.every], self.means))

    def means(self, tables: Sequence[Mapping[int, float]]) -> list[Estimate | None]:
        """Average each table, a value for some questions by their index, with the interval that scores have."""
        found = iter(self._resampler.means(*filled) if (filled := [table for table in tables if table]) else [])
        return [estimate([next(found)]) if table else None for table in tables]


def by_category(run: Run, categories: Iterable[str]) -> dict[str, Answers]:
    """Group the answers of a run by category; a category of which nothing was asked has none."""
    members: dict[str, list[Prediction]] = {category: [] for category in categories}
    for prediction in run.predictions:
        members[prediction.category].append(prediction)
    return {category: Answers(predictions) for category, predictions in members.items()}


@dataclass(frozen=True, slots=True)
class DifficultyCurve:
    """The scores of a category by the values of one setting.

    Attributes:
        name: of the setting.
        bins: what each group of questions is called.
        scores: for each run, for each group: the mean of the category's metric, None where nothing was answered.
        counts: for each run, for each group: the number of answers.
    """

    name: str
    bins: tuple[str, ...]
    scores: tuple[tuple[Estimate | None, ...], ...]
    counts: tuple[tuple[int, ...], ...]


def difficulty_curves(runs: Sequence[Answers]) -> list[DifficultyCurve]:
    """Group the questions of a category by each setting, alike for all runs; leave out settings that never change."""
    names = dict.fromkeys(name for run in runs for answer in run.every for name in answer.prediction.difficulty)
    return [setting for name in names if (setting := _setting(name, runs)) is not None]


def _setting(name: str, runs: Sequence[Answers]) -> DifficultyCurve | None:
    having = [[answer for answer in run.counted if name in answer.prediction.difficulty] for run in runs]
    values = {answer.prediction.id: answer.prediction.difficulty[name] for answers in having for answer in answers}
    grouping = _grouping(list(values.values()))
    if grouping is None:
        return None
    bins, group = grouping
    groups: list[list[list[ScoredAnswer]]] = [[[] for _ in bins] for _ in runs]
    for row, answers in zip(groups, having, strict=True):
        for answer in answers:
            row[group(answer.prediction.difficulty[name])].append(answer)
    scores = tuple(
        tuple(run.means([_marks(members) for members in row])) for run, row in zip(runs, groups, strict=True)
    )
    return DifficultyCurve(name, bins, scores, tuple(tuple(map(len, row)) for row in groups))


def _marks(answers: Sequence[ScoredAnswer]) -> dict[int, float]:
    """Collect the scores of answers by the question's index; nothing where not one of them was answered."""
    if not any(answer.prediction.texts for answer in answers):
        return {}
    return {answer.prediction.index: answer.mark.score for answer in answers}


def _grouping(values: Sequence[float | str]) -> tuple[tuple[str, ...], Callable[[float | str], int]] | None:
    """Group values: return the groups' names and what finds a value's group; None where groups would say nothing."""
    distinct = set(values)
    numbers = sorted(value for value in distinct if isinstance(value, int | float))
    if len(distinct) < 2 or 0 < len(numbers) < len(distinct):
        return None
    if not numbers:
        texts = sorted(map(str, distinct))
        at = {text: place for place, text in enumerate(texts)}
        if len(texts) > _CATEGORIES:
            return None
        return tuple(plain_text(text, 24) for text in texts), lambda value: at[str(value)]
    if len(numbers) <= _DISTINCT:
        return tuple(f"{number:g}" for number in numbers), lambda value: numbers.index(float(value))
    cuts = np.quantile(
        [float(value) for value in values], np.linspace(0, 1, _QUANTILES + 1)[1:-1], method="inverted_cdf"
    )
    inner = np.array(sorted({float(cut) for cut in cuts} - {float(numbers[-1])}))

    def group(value: float | str) -> int:
        return int(np.searchsorted(inner, float(value), side="left"))

    members: list[list[float]] = [[] for _ in range(len(inner) + 1)]
    for number in numbers:
        members[group(number)].append(number)
    return tuple(
        f"{min(values):.3g}-{max(values):.3g}" if len(values) > 1 else f"{values[0]:.3g}" for values in members
    ), group
