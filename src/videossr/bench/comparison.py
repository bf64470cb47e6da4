"""In what do two runs differ on the same questions, and is it more than noise?

Exercised by `videossr bench compare RUN RUN`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from videossr.bench.records import UNREAD, Prediction, Run
from videossr.bench.scoring import Estimate, Resampler, estimate, score_prediction
from videossr.bench.viubench import rank
from videossr.errors import DataError

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Difference:
    """A second run's score less a first one's, over the same questions.

    Attributes:
        category: the category; empty for the mean of all categories.
        questions: pairs of answers; questions that could not be read are none, unless there are no others.
        first, second: both scores; what failed or does not parse counts as wrong. None where nothing was answered.
        change: second less first, and its bootstrap 95% interval; None where one of them answered nothing.
        p: None there too, else how often noise makes so large a change: were both models alike, it would be as good a
            guess which of them gave which answers to a video's questions. 1 / 4001 is the least that can be told.
        real: whether it is larger than noise: its interval leaves out 0, and p is below 0.05; for a category, below
            what that becomes when so many categories are looked at (Holm 1979).
    """

    category: str
    questions: int
    first: float | None
    second: float | None
    change: Estimate | None
    p: float | None
    real: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, category by category.

    Attributes:
        first, second: names of the runs.
        categories: in the paper's order, then by name.
        overall: the mean of the categories.
        left_out: questions that only one of the runs was asked.
        same_hash: whether both were asked of the same benchmark, by its content hash.
        videos: how many different videos the questions are about: what all this rests on.
    """

    first: str
    second: str
    categories: tuple[Difference, ...]
    overall: Difference
    left_out: int
    same_hash: bool
    videos: int


def compare(first: Run, second: Run, *, shared: bool = False) -> Comparison:
    """Pair the answers to the same questions, and draw the videos that they are about anew, as `score` does.

    Args:
        first: what is compared against.
        second: what is compared.
        shared: leave out questions that only one of them was asked, instead of refusing.

    Raises ValueError when one of them answered nothing, when they were asked other questions, or when one question has
    two gold answers.
    """
    pairs = _pair(first, second, shared)
    mine, theirs, facts = pairs.first, pairs.second, pairs.facts
    scores = {key: (score_prediction(mine[key]).score, score_prediction(theirs[key]).score) for key in facts}
    categories: dict[str, list[int | str]] = defaultdict(list)
    for key in facts:
        categories[facts[key].category].append(key)
    names = sorted(categories, key=rank)
    resampler = Resampler([*facts.values()])
    changes = [{facts[key].index: scores[key][1] - scores[key][0] for key in categories[name]} for name in names]
    means, flipped = resampler.means(*changes), resampler.flips(*changes)
    answered = {name: [any(side[key].texts for key in categories[name]) for side in (mine, theirs)] for name in names}
    chances = {name: chance_of(means[at].value, flipped[:, at]) for at, name in enumerate(names) if all(answered[name])}
    holds = dict(zip(chances, _holm([*chances.values()]), strict=True))
    shares = {name: [fmean(scores[key][side] for key in categories[name]) for side in (0, 1)] for name in names}
    found = []
    for name, mean in zip(names, means, strict=True):
        before, after = (share if said else None for share, said in zip(shares[name], answered[name], strict=True))
        change = estimate([mean]) if name in chances else None
        real = change is not None and holds[name] and not change.low <= 0 <= change.high
        found.append(Difference(name, len(categories[name]), before, after, change, chances.get(name), real))
    change, p = estimate(means), chance_of(fmean(mean.value for mean in means), flipped.mean(axis=1))
    overall = Difference(
        category="",
        questions=len(facts),
        first=fmean(share for share, _ in shares.values()),
        second=fmean(share for _, share in shares.values()),
        change=change,
        p=p,
        real=p < ALPHA and not change.low <= 0 <= change.high,
    )
    return Comparison(first.name, second.name, tuple(found), overall, pairs.left_out, pairs.same_hash, resampler.videos)


@dataclass(frozen=True)
class _Pairs:
    """The predictions of two runs about the same questions, by the place or id of the question.

    Attributes:
        first, second: those of each run.
        facts: for each question that is compared, the prediction of a run that could read it, if one could.
        left_out: questions that only one of the runs was asked.
        same_hash: whether the runs are of the same dataset.
    """

    first: Mapping[int | str, Prediction]
    second: Mapping[int | str, Prediction]
    facts: Mapping[int | str, Prediction]
    left_out: int
    same_hash: bool


def _pair(first: Run, second: Run, shared: bool) -> _Pairs:
    """Pair the predictions of two runs. Raises DataError as `compare` says."""
    same = first.config.hash == second.config.hash
    mine, theirs = (_by_question(run, by_place=same) for run in (first, second))
    both = [key for key in mine if key in theirs]
    left_out = len(mine.keys() ^ theirs.keys())
    if left_out and not shared:
        raise DataError(
            f"{first.path} and {second.path} were not asked the same questions: they share {len(both)}, and {left_out} "
            f"were asked in one of them alone{'; --shared compares those that they share' if both else ''}"
        )
    # A question that only one of them could read counts as wrong there; what none could read tells nothing.
    facts = {key: theirs[key] if mine[key].category == UNREAD else mine[key] for key in both}
    facts = {key: prediction for key, prediction in facts.items() if prediction.category != UNREAD} or facts
    if not facts:
        raise DataError(f"{first.path} and {second.path} share no question")
    for run, answers in ((first, mine), (second, theirs)):
        if not any(answers[key].texts for key in facts):
            raise DataError(
                f"{run.path}: none of the {len(facts)} questions was answered, so there is nothing to compare; "
                "`videossr bench score` tells why"
            )
    for key in facts:
        if UNREAD in (mine[key].category, theirs[key].category):
            continue
        if (mine[key].id, mine[key].answer, mine[key].category) != (
            theirs[key].id,
            theirs[key].answer,
            theirs[key].category,
        ):
            raise DataError(
                f"question {mine[key].id} is not the same in {first.path} and {second.path}: its answer is "
                f"{mine[key].answer!r} ({mine[key].category}) there, "
                f"{theirs[key].answer!r} ({theirs[key].category}) here"
            )
    return _Pairs(mine, theirs, facts, left_out, same)


def _by_question(run: Run, *, by_place: bool) -> dict[int | str, Prediction]:
    """Index predictions by their place in the questions that both runs share, else by their ids, which must differ."""
    found: dict[int | str, Prediction] = {(p.index if by_place else p.id): p for p in run.predictions}
    if len(found) < len(run.predictions):
        raise DataError(f"{run.path}: several questions have one id, so they cannot be told apart in another set")
    return found


def chance_of(change: float, flipped: NDArray[np.float64]) -> float:
    """Estimate how often noise alone makes so large a change: how often it is reached when signs are drawn anew."""
    reached = np.abs(flipped) >= abs(change) - 1e-12
    return float((1 + reached.sum()) / (1 + len(flipped)))


def _holm(chances: Sequence[float]) -> list[bool]:
    """Tell which changes are real, so that in 19 of 20 comparisons of equal models none is called so (Holm 1979)."""
    real = [False] * len(chances)
    for place, at in enumerate(sorted(range(len(chances)), key=lambda at: chances[at])):
        if chances[at] >= ALPHA / (len(chances) - place):
            break
        real[at] = True
    return real
