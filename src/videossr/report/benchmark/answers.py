"""What the answers of a run look like, task by task: spans, counts, orders, and what makes questions hard.

Plain numbers for the page of `videossr report RUN --out report.html`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from videossr.bench.records import Prediction, Run
from videossr.bench.scoring import Denominator, Estimate, QuestionScore, Resampler, estimate, score_prediction
from videossr.report.page import plain_text
from videossr.rewards import interval_overlap, parse_counts, parse_interval, parse_order

BINS = 10
"""Bins of an IoU histogram, each as wide; an IoU of 0 is apart from them."""

_DISTINCT = 6
"""A numeric setting with more values than this is cut at its quantiles."""

_QUANTILES = 4

_CATEGORIES = 12
"""A setting of texts with more values than this says nothing by its values."""


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One question of a run: what was said, and what it is worth."""

    prediction: Prediction
    mark: QuestionScore

    @property
    def texts(self) -> tuple[str, ...]:
        """What was said; one empty text where the question failed."""
        return self.prediction.texts or ("",)


class Answers:
    """The answers of a run in one category, and the means over them."""

    def __init__(self, predictions: Sequence[Prediction]) -> None:
        self.every = [ScoredAnswer(prediction, score_prediction(prediction)) for prediction in predictions]
        self._resampler = Resampler(predictions)

    @property
    def counted(self) -> list[ScoredAnswer]:
        """All of them; none where not one question was answered, for then there is nothing to count."""
        return self.every if any(answer.prediction.texts for answer in self.every) else []

    @property
    def known(self) -> list[ScoredAnswer]:
        """Those of `counted` whose gold answer is known: a question that could not even be read has none."""
        return [answer for answer in self.counted if answer.prediction.answer]

    def videos(self, denominator: Denominator) -> int:
        """Count the videos that the questions are about: all of them, or those with an answer of the asked form."""
        counting = [each for each in self.every if denominator == "asked" or each.mark.parsed]
        return len({each.prediction.source or each.prediction.index for each in counting})

    def means(self, tables: Sequence[Mapping[int, float]]) -> list[Estimate | None]:
        """The mean of each: a value for some questions, by their index; with the interval that scores have."""
        found = iter(self._resampler.means(*filled) if (filled := [table for table in tables if table]) else [])
        return [estimate([next(found)]) if table else None for table in tables]


def by_category(run: Run, categories: Iterable[str]) -> dict[str, Answers]:
    """The answers of a run in each of the categories; a category of which nothing was asked has none."""
    members: dict[str, list[Prediction]] = {category: [] for category in categories}
    for prediction in run.predictions:
        members[prediction.category].append(prediction)
    return {category: Answers(predictions) for category, predictions in members.items()}


# ---- Grounding


@dataclass(frozen=True, slots=True)
class Spans:
    """How the spans of a category lie against the gold ones.

    Attributes:
        histogram: number of answers without a span, with an IoU of 0, and in each of the `BINS` bins above it.
        start, end: mean of answered less gold time, in seconds; None where no answer is a span.
        start_slots, end_slots: the same in slots of the clip.
        length: mean of the answered over the gold length.
        beyond: answers that end behind the clip's end; such a time is taken as the clip's end.
    """

    histogram: tuple[int, ...]
    start: Estimate | None
    end: Estimate | None
    start_slots: Estimate | None
    end_slots: Estimate | None
    length: Estimate | None
    beyond: int


def spans(answers: Answers) -> Spans:
    """How the spans of a grounding category lie."""
    histogram = [0] * (BINS + 2)
    offsets: list[dict[int, float]] = [{} for _ in range(5)]
    beyond = 0
    for answer in answers.counted:
        prediction = answer.prediction
        gold = parse_interval(prediction.answer)
        found = [span for text in answer.texts if (span := parse_interval(text))]
        histogram[0] += len(answer.texts) - len(found)
        if gold is None or not found:
            continue
        for span in found:
            overlap = interval_overlap(span, gold)
            histogram[1 if overlap <= 0 else 1 + max(1, math.ceil(overlap * BINS - 1e-9))] += 1
        end = prediction.end_ms / 1000
        beyond += sum(span[1] > end for span in found)
        said = np.minimum(found, end)
        differences = (
            said - gold,
            np.subtract(slots_at(prediction, said), slots_at(prediction, gold)),
        )
        values = (*differences[0].mean(axis=0), *differences[1].mean(axis=0), _length_ratio(said, gold))
        for offset, value in zip(offsets, values, strict=True):
            offset[prediction.index] = float(value)
    start, stop, start_slots, stop_slots, length = answers.means(offsets)
    return Spans(tuple(histogram), start, stop, start_slots, stop_slots, length, beyond)


def _length_ratio(said: NDArray[np.float64], gold: tuple[float, float]) -> float:
    return float(np.diff(said, axis=1).mean()) / max(1e-3, gold[1] - gold[0])


def slots_at(prediction: Prediction, seconds: ArrayLike) -> NDArray[np.float64]:
    """Where times lie in the slots of the clip: 2.5 is the middle of slot 2. Times outside it lie at its ends."""
    edges = np.array([*prediction.times_ms, prediction.end_ms]) / 1000
    places: NDArray[np.float64] = np.interp(np.asarray(seconds, float), edges, np.arange(len(edges)))
    return places


# ---- Counting


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often each count was said for each gold count of one shape.

    Attributes:
        golds: the gold counts, the rows.
        table: for each row, how often 0, 1, ... `most` was said, then more than that, then no counts at all.
        exact: share of right counts.
        bias: mean of said less gold count, over what was said, where more than twice `most` counts as that.
    """

    golds: tuple[int, ...]
    most: int
    table: tuple[tuple[int, ...], ...]
    exact: float
    bias: Estimate | None


def confusions(answers: Answers) -> list[Confusion]:
    """One for each shape that is counted, in the order of the answer."""
    asked = answers.known
    golds = [[int(part) for part in answer.prediction.answer.split(",")] for answer in asked]
    said = [[parse_counts(text, len(gold)) for text in answer.texts] for answer, gold in zip(asked, golds, strict=True)]
    found = []
    for shape in range(min(map(len, golds), default=0)):
        most = max(gold[shape] for gold in golds)
        tally: Counter[tuple[int, int]] = Counter()
        biases: dict[int, float] = {}
        for answer, gold, texts in zip(asked, golds, said, strict=True):
            counts = [min(each[shape], 2 * most) for each in texts if each]
            tally.update((gold[shape], min(count, most + 1)) for count in counts)
            tally[gold[shape], most + 2] += len(texts) - len(counts)
            if counts:
                biases[answer.prediction.index] = fmean(counts) - gold[shape]
        rows = tuple(sorted({gold[shape] for gold in golds}))
        table = tuple(tuple(tally[gold, count] for count in range(most + 3)) for gold in rows)
        exact = sum(tally[gold, gold] for gold in rows) / tally.total()
        found.append(Confusion(rows, most, table, exact, answers.means([biases])[0]))
    return found


# ---- Jigsaw


@dataclass(frozen=True, slots=True)
class Displacement:
    """Where pieces were put against where they belong.

    Attributes:
        matrix: for each true place, how often a piece of it was put at each place.
        steps: how many pieces were put 1 - n ... n - 1 places behind their own.
        none: answers that are no order.
    """

    matrix: tuple[tuple[int, ...], ...]
    steps: tuple[int, ...]
    none: int


def displacement(answers: Answers) -> Displacement:
    """Of a jigsaw category, whose matrix has the size of its longest order."""
    asked = answers.known
    n = max((len(answer.prediction.answer.strip()) for answer in answers.every), default=0)
    matrix, steps, none = np.zeros((n, n), int), np.zeros(max(0, 2 * n - 1), int), 0
    for gold_order, text in ((answer.prediction.answer.strip(), text) for answer in asked for text in answer.texts):
        gold = [int(digit) for digit in gold_order]
        order = parse_order(text, len(gold))
        if order is None:
            none += 1
            continue
        place = {clip: at for at, clip in enumerate(order)}
        for true, clip in enumerate(gold):
            matrix[true, place[clip]] += 1
            steps[place[clip] - true + n - 1] += 1
    return Displacement(
        tuple(tuple(int(count) for count in row) for row in matrix), tuple(int(count) for count in steps), none
    )


# ---- Difficulty


@dataclass(frozen=True, slots=True)
class DifficultyCurve:
    """What one setting does to the scores of a category.

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
    scores = tuple(tuple(run.means([_marks(each) for each in row])) for run, row in zip(runs, groups, strict=True))
    return DifficultyCurve(name, bins, scores, tuple(tuple(map(len, row)) for row in groups))


def _marks(answers: Sequence[ScoredAnswer]) -> dict[int, float]:
    """What each is worth, by the question's index; nothing where not one of them was answered."""
    if not any(answer.prediction.texts for answer in answers):
        return {}
    return {answer.prediction.index: answer.mark.score for answer in answers}


def _grouping(values: Sequence[float | str]) -> tuple[tuple[str, ...], Callable[[float | str], int]] | None:
    """Names of the groups, and the group of a value; None where there is one group, or no useful one."""
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
    return tuple(f"{min(each):.3g}-{max(each):.3g}" if len(each) > 1 else f"{each[0]:.3g}" for each in members), group
