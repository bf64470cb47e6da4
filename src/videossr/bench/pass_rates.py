"""Pass rates of n sampled answers to each question: how often they succeed, and how often they are all alike.

Where the answers to a question all get the same reward, its group has no variance and GRPO no gradient (paper, section
1 and figure 1: strong models answer most questions of annotated sets never or always). Everything is worked out from
the stored texts of a run. Exercised by `videossr bench probe DATASET --model chance --out PROBE`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np

from videossr.bench.intervals import wilson_share
from videossr.bench.records import Prediction, Run
from videossr.bench.scoring import Estimate
from videossr.errors import DataError
from videossr.rewards import Scores
from videossr.tasks.base import answer_type_of, task_of

NAME = "probe.json"
SAME = 1e-9
"""Rewards closer than this are the same: they differ by rounding, and a trainer would see no variance."""
BINS = 4
"""A setting of more than `VALUES` values is cut into this many parts of about as many questions."""
VALUES = 9


@dataclass(frozen=True, slots=True)
class QuestionGroup:
    """One question and the rewards of its n answers."""

    category: str
    task: str
    source: str
    difficulty: Mapping[str, float | str]
    scores: tuple[Scores, ...]
    overlap: bool

    def successes(self, least: float | None) -> int:
        """Count the answers that are strictly right; with `least`, those whose smooth reward, an IoU, is that much."""
        return sum(score.strict == 1 if least is None else score.smooth >= least for score in self.scores)

    @property
    def varied(self) -> bool:
        """Tell whether the smooth rewards differ."""
        rewards = [score.smooth for score in self.scores]
        return max(rewards) - min(rewards) > SAME


@dataclass(frozen=True, slots=True)
class Tally:
    """The successes among the answers to a question.

    Attributes:
        histogram: for k = 0 to n, the questions of which k answers succeed.
        rate: share of all answers that succeed.
        flat: share of the questions of which all answers succeed or none: no variance.
    """

    histogram: tuple[int, ...]
    rate: Estimate
    flat: Estimate


@dataclass(frozen=True, slots=True)
class Figures:
    """Pass rates of some questions that have something in common.

    Attributes:
        questions: those that have all n answers; the figures are of them.
        strict: where success is the exact answer.
        overlap: where success is an IoU of at least the probe's `success_iou`; for intervals alone, else None.
        smooth_flat: share of the questions whose smooth rewards are all the same.
        graded: share of the questions where no answer is strictly right and yet the smooth rewards differ: what the
            smooth reward gives a trainer to learn from, and the strict one does not.
        unparsed: share of the answers that do not have the asked form.
    """

    questions: int
    strict: Tally
    overlap: Tally | None
    smooth_flat: Estimate
    graded: Estimate
    unparsed: Estimate

    @property
    def success(self) -> Tally:
        """The success that a recipe goes by: the overlap where there is one, for a span is hardly ever exact."""
        return self.overlap or self.strict


@dataclass(frozen=True, slots=True)
class Bin:
    """The questions with one value of a setting, or with values from `low` to `high`; these are None for words."""

    label: str
    low: float | None
    high: float | None
    figures: Figures


BinsBySetting: TypeAlias = Mapping[str, tuple[Bin, ...]]


@dataclass(frozen=True, slots=True)
class PassRates:
    """All that a run of n answers a question tells.

    Attributes:
        run, model, hash: name of the run, spec of the model, content hash of the questions.
        complete: whether every question was asked.
        n: answers a question.
        success_iou: the IoU from which a predicted interval is a success in `Figures.overlap`.
        failed: for each category that has some, the questions with fewer than n answers; they are in no other figure.
        overall: of all questions.
        tasks, categories: of each task and category.
        settings: for each task and each setting in which its questions differ, the figures of each value.
    """

    run: str
    model: str
    hash: str
    complete: bool
    n: int
    success_iou: float
    failed: Mapping[str, int]
    overall: Figures
    tasks: Mapping[str, Figures]
    categories: Mapping[str, Figures]
    settings: Mapping[str, BinsBySetting]

    def to_json(self) -> str:
        """Write all figures, as `probe.json` has them."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


def measure_pass_rates(run: Run, success_iou: float = 0.5) -> PassRates:
    """Measure a run with several answers a question, complete or not.

    Raises ValueError where it has one answer a question, or no question has all its answers.
    """
    n = run.config.decoding.n
    if n < 2:
        raise DataError(f"{run.path}: this run has one answer a question; `videossr bench probe` samples several")
    groups = [_group(prediction) for prediction in run.predictions if len(prediction.texts) == n]
    if not groups:
        why = Counter(prediction.error for prediction in run.predictions if prediction.error).most_common(1)
        raise DataError(f"{run.path}: no question has its {n} answers{': ' + why[0][0] if why else ''}")
    tasks = _by(groups, "task")
    return PassRates(
        run=run.name,
        model=run.config.model,
        hash=run.config.hash,
        complete=run.manifest is not None,
        n=n,
        success_iou=success_iou,
        failed=dict(sorted(Counter(p.category for p in run.predictions if len(p.texts) != n).items())),
        overall=_figures(groups, n, success_iou),
        tasks={task: _figures(members, n, success_iou) for task, members in tasks.items()},
        categories={
            category: _figures(members, n, success_iou) for category, members in _by(groups, "category").items()
        },
        settings={
            task: {
                name: bins for name in _setting_names(members) if len(bins := _bins(members, name, n, success_iou)) > 1
            }
            for task, members in tasks.items()
        },
    )


def _group(prediction: Prediction) -> QuestionGroup:
    kind = answer_type_of(prediction.data_source)
    scores = tuple(kind.score(text, prediction.answer) for text in prediction.texts)
    return QuestionGroup(
        prediction.category,
        task_of(prediction.data_source),
        prediction.source,
        prediction.difficulty,
        scores,
        overlap=kind.overlap,
    )


def _by(groups: Sequence[QuestionGroup], name: str) -> dict[str, list[QuestionGroup]]:
    found: dict[str, list[QuestionGroup]] = defaultdict(list)
    for group in groups:
        found[getattr(group, name)].append(group)
    return dict(sorted(found.items()))


def _figures(groups: Sequence[QuestionGroup], n: int, success_iou: float) -> Figures:
    sources = [group.source for group in groups]
    overlaps = all(group.overlap for group in groups)
    return Figures(
        questions=len(groups),
        strict=_tally([group.successes(None) for group in groups], sources, n),
        overlap=_tally([group.successes(success_iou) for group in groups], sources, n) if overlaps else None,
        smooth_flat=wilson_share([not group.varied for group in groups], sources),
        graded=wilson_share([group.varied and not group.successes(None) for group in groups], sources),
        unparsed=wilson_share(
            [sum(not score.parsed for score in group.scores) / n for group in groups], sources, draws=n
        ),
    )


def _tally(successes: Sequence[int], sources: Sequence[str], n: int) -> Tally:
    counts = Counter(successes)
    return Tally(
        histogram=tuple(counts[k] for k in range(n + 1)),
        rate=wilson_share([count / n for count in successes], sources, draws=n),
        flat=wilson_share([count in (0, n) for count in successes], sources),
    )


def _setting_names(groups: Sequence[QuestionGroup]) -> list[str]:
    return sorted({name for group in groups for name in group.difficulty})


def _bins(groups: Sequence[QuestionGroup], name: str, n: int, success_iou: float) -> tuple[Bin, ...]:
    known = [group for group in groups if name in group.difficulty]
    return tuple(
        Bin(label, low, high, _figures([known[place] for place in places], n, success_iou))
        for label, low, high, places in _cut([group.difficulty[name] for group in known])
    )


def _cut(values: Sequence[float | str]) -> Iterator[tuple[str, float | None, float | None, list[int]]]:
    """Group values: yield label, least, largest and places of each word, or of each number or range of numbers."""
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        for word in sorted({str(value) for value in values}):
            yield word, None, None, [place for place, value in enumerate(values) if str(value) == word]
        return
    distinct = sorted(set(numbers))
    starts: Any = distinct
    if len(distinct) > VALUES:
        starts = np.unique(np.quantile(numbers, [part / BINS for part in range(BINS)], method="inverted_cdf"))
    members = np.searchsorted(starts, numbers, side="right") - 1
    for part in range(len(starts)):
        places = [int(place) for place in np.flatnonzero(members == part)]
        low, high = min(numbers[place] for place in places), max(numbers[place] for place in places)
        yield f"{low:g}" if low == high else f"{low:g} to {high:g}", float(low), float(high), places
