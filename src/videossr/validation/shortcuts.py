"""Check for shortcuts: scores that need no look at the video, or a look at the wrong thing.

Guesses from other answers are reported. A solver that chains the pieces of a video by how their borders match may not
be right much more often than chance. What must not exist at all, such as an answer that depends on the length of the
clip or a count that shows in size or color, is tested by the answer type and by the task.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import factorial
from statistics import fmean

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.answers.base import AnswerType
from videossr.answers.checks import Check
from videossr.question import Clip
from videossr.rewards import Scores
from videossr.sample import Sample
from videossr.tasks.base import OpenTask
from videossr.validation.distributions import allowed, at_most, gold_answers

GRID = 16
"""Pixels of a side at which the borders of pieces are compared."""

MOST = 400
"""Samples of a category that the guesses are tried on."""


def guesses(category: str, kind: AnswerType, answers: Sequence[str]) -> Iterator[Check]:
    """Report the mean score of another sample's answer, and of the one that does best on the rest of the category."""
    answers = answers[:MOST]
    if len(answers) < 2:
        return
    chance = [kind.score(answers[place - 1], gold) for place, gold in enumerate(answers)]
    yield Check("chance", None, kind.describe(chance), category)
    tried, rest = answers[::2], answers[1::2]
    best = max(sorted(set(tried)), key=lambda guess: fmean(kind.score(guess, gold).smooth for gold in tried))
    text = f"{best}: {kind.describe([kind.score(best, gold) for gold in rest])}"
    yield Check("best constant", None, text, category)


def shortcut_checks(category: str, samples: Sequence[Sample], task: OpenTask) -> Iterator[Check]:
    """Run the checks of a category's answer type and those of its task."""
    for check in [*task.answer_type.checks(gold_answers(samples, task)), *task.checks(samples)]:
        yield replace(check, category=category)


def chain(clips: Sequence[Clip]) -> str:
    """Answer with an order from borders alone: the order of pieces whose ends and beginnings match best in sum.

    Exact, by dynamic programming over the sets of pieces placed so far.
    """
    ends = [
        [
            cv2.resize(frame, (GRID, GRID), interpolation=cv2.INTER_AREA).astype(np.int16)
            for frame in clip.frames[[0, -1]]
        ]
        for clip in clips
    ]
    n = len(ends)
    cost: NDArray[np.float64] = np.array([[np.abs(last - first).mean() for first, _ in ends] for _, last in ends])
    best: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {(1 << k, k): (0.0, (k,)) for k in range(n)}
    for _ in range(n - 1):
        longer: dict[tuple[int, int], tuple[float, tuple[int, ...]]] = {}
        for (placed, last), (total, path) in best.items():
            for piece in range(n):
                if placed >> piece & 1:
                    continue
                key, candidate = (placed | 1 << piece, piece), (total + cost[last, piece], (*path, piece))
                if key not in longer or candidate < longer[key]:
                    longer[key] = candidate
        best = longer
    _, path = min(best.values())
    return "".join(str(position + 1) for position in path)


def solver(category: str, results: Sequence[Scores], pieces: int, bound: float) -> Check:
    """Judge what `chain` scored on the puzzles of a category.

    Args:
        category: its name.
        results: one for each puzzle.
        pieces: how many a puzzle has.
        bound: share of puzzles beyond chance that may be right; with 1 the figures are only reported.

    Returns:
        A finding that fails when so many are right that the bound is broken beyond doubt.
    """
    right, chance = sum(scores.strict for scores in results), 1 / factorial(pieces)
    text = (
        f"borders chained by likeness: smooth {fmean(scores.smooth for scores in results):.3f}, "
        f"strict {right / len(results):.3f}, {len(results)} tried; chance {chance:.3f}"
    )
    if bound >= 1:
        return Check("jigsaw solver", None, f"{text}; the recipe sets no bound", category)
    share = min(1.0, chance + bound)
    most = allowed(len(results), share)
    text += f"; allowed {most / len(results):.3f}: {bound:g} beyond chance, and what luck may add"
    holds = at_most(right, len(results), share)
    if holds is False:
        text += f'. Leave out slots at the borders: "--categories.{category}.config.gap=2"'
    return Check("jigsaw solver", holds, text, category)
