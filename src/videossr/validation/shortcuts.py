"""What could be scored without looking, or by a look at the wrong thing.

Chance and the best constant are reported. A solver that chains a jigsaw's pieces by how their borders match may not be
right much more often than chance. What must not exist at all, an answer that depends on the length of the clip or a
count that shows in size or color, is tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import factorial
from statistics import fmean

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from videossr.question import Clip
from videossr.rewards import Scores, scorer
from videossr.sample import JSON, Sample
from videossr.validation.distributions import ALPHA, allowed, at_most
from videossr.validation.finding import CheckResult

SHARES = 24
"""A clip is cut this fine when the best constant share of it is looked for."""

GRID = 16
"""Pixels of a side at which the borders of pieces are compared."""

MOST = 400
"""Samples of a category that the guesses are tried on."""


def guesses(category: str, task: str, answers: Sequence[str]) -> Iterator[CheckResult]:
    """Mean reward of another sample's answer, and of the one answer that does best on the rest of the category."""
    score = scorer(f"videossr/{task}")
    answers = answers[:MOST]
    if len(answers) < 2:
        return
    chance = [score(answers[place - 1], gold) for place, gold in enumerate(answers)]
    yield CheckResult("chance", category, None, _means(chance, task))
    tried, rest = answers[::2], answers[1::2]
    best = max(sorted(set(tried)), key=lambda guess: fmean(score(guess, gold).smooth for gold in tried))
    yield CheckResult("best constant", category, None, f"{best}: {_means([score(best, gold) for gold in rest], task)}")


def _means(scores: Sequence[Scores], task: str) -> str:
    """Smooth and strict means; for counting also each shape on its own, which is how the benchmark counts."""
    text = f"smooth {fmean(s.smooth for s in scores):.3f}, strict {fmean(s.strict for s in scores):.3f}"
    return text + f", each shape {fmean(fmean(s.parts) for s in scores):.3f}" if task == "counting" else text


def duration(category: str, samples: Sequence[Sample]) -> Iterator[CheckResult]:
    """What the text and the length of the clip tell of a segment.

    Reported: the mean reward of one and the same share of every clip, the best on half of the samples tried on the
    others. Tested: where a segment lies, and how many slots it takes, must not follow from how long the clip is.
    """
    tried, rest = samples[:MOST:2], samples[1:MOST:2]
    if rest:
        cuts = [(start / SHARES, end / SHARES) for start in range(SHARES) for end in range(start + 1, SHARES + 1)]
        best = max(cuts, key=lambda cut: _share_score(cut, tried))
        text = f"{best[0]:.2f}-{best[1]:.2f} of the clip: smooth {_share_score(best, rest):.3f}"
        yield CheckResult("best constant share", category, None, text)
    lengths = [sample.clock.end_ms for sample in samples]
    spans = [(sample.integer("first"), sample.integer("last")) for sample in samples]
    middles = [(first + last) / 2 for first, last in spans]
    yield _independent("duration tells the place", category, lengths, middles)
    yield _independent("duration tells the length", category, lengths, [last - first for first, last in spans])


def _share_score(cut: tuple[float, float], samples: Sequence[Sample]) -> float:
    score = scorer("videossr/grounding")
    ends = ((sample, sample.clock.end_ms / 1000) for sample in samples)
    return fmean(score(f"{cut[0] * end:.3f}-{cut[1] * end:.3f}", sample.answer).smooth for sample, end in ends)


def drawn_shapes(category: str, samples: Sequence[Sample]) -> Iterator[CheckResult]:
    """The count of a shape must not show in how large its instances are, or in their color."""
    counts, sizes, colors = [], [], []
    for sample in samples:
        shapes = sample.params["shapes"]
        assert isinstance(shapes, list)
        for name in sorted({str(_of(shape, "name")) for shape in shapes}):
            own = [shape for shape in shapes if _of(shape, "name") == name]
            counts.append(len(own))
            sizes.append(fmean(_number(_of(shape, "size")) for shape in own) / min(sample.size))
            colors.append(fmean(fmean(_numbers(_of(shape, "color"))) for shape in own))
    yield _independent("size tells the count", category, counts, sizes)
    yield _independent("color tells the count", category, counts, colors)


def chain(clips: Sequence[Clip]) -> str:
    """A jigsaw's answer from borders alone: the order of pieces whose ends and beginnings match best in sum.

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


def solver(category: str, results: Sequence[Scores], pieces: int, bound: float) -> CheckResult:
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
        return CheckResult("jigsaw solver", category, None, f"{text}; the recipe sets no bound")
    share = min(1.0, chance + bound)
    most = allowed(len(results), share)
    text += f"; allowed {most / len(results):.3f}: {bound:g} beyond chance, and what luck may add"
    holds = at_most(right, len(results), share)
    if holds is False:
        text += f'. Leave out slots at the borders: "--categories.{category}.config.gap=2"'
    return CheckResult("jigsaw solver", category, holds, text)


def _independent(check: str, category: str, causes: Sequence[float], effects: Sequence[float]) -> CheckResult:
    """Spearman's rank correlation must not be beyond chance."""
    if len(set(causes)) < 3 or len(set(effects)) < 3 or len(causes) < 10:
        return CheckResult(check, category, None, f"{len(causes)} values are too few to test")
    result = stats.spearmanr(causes, effects)
    text = f"Spearman {result.statistic:+.3f}, n {len(causes)}, p {result.pvalue:.3g}"
    return CheckResult(check, category, bool(result.pvalue >= ALPHA), text)


def _of(shape: JSON, name: str) -> JSON:
    if not isinstance(shape, dict):
        raise TypeError(f"a shape must be a table, got {shape!r}")
    return shape[name]


def _number(value: JSON) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {value!r}")
    return value


def _numbers(value: JSON) -> list[float]:
    return [_number(item) for item in value] if isinstance(value, list) else [_number(value)]
