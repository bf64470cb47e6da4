"""Interval: from when to when something lasts, in seconds, such as `14.5-26.2`."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from videossr.answers.base import AnswerType, EntryForm, ExpectedScore, Guess, normalize
from videossr.answers.checks import Check, GoldAnswer, chi_square, independent
from videossr.answers.panel import Drawing, Figure, GivenAnswer, GivenAnswers, Histogram, Mean, Panel
from videossr.clock import Clock
from videossr.errors import DataError
from videossr.question import Question
from videossr.rewards import Scorer, Scores, interval_overlap, parse_interval, parse_span, score_interval, score_span

GRID = 48
"""Slots into which a clip is cut, to tell the distribution of intervals from their seconds alone."""

SHARES = 24
"""A clip is cut this fine when the best constant share of it is looked for."""

MOST = 400
"""Gold answers of a category, at most, on which constant shares are tried."""

BINS = 10
"""Bins of an IoU histogram, each as wide; an IoU of 0 is apart from them."""


@dataclass(frozen=True)
class SpanDistribution:
    """An interval is a pair of slots, and so is a guess: seconds differ from clip to clip, shares do not.

    `spans` gives each (first, last) its probability. A uniform guess takes any two of the slots + 1 borders. The
    expected score is exact for slots of equal length; labels are rounded to tenths of a second, which it leaves out.
    """

    slots: int
    spans: Mapping[tuple[int, int], float]

    @cached_property
    def _every(self) -> NDArray[np.int64]:
        first, last = np.triu_indices(self.slots)
        return np.stack([first, last], axis=1)

    @cached_property
    def _gold(self) -> NDArray[np.int64]:
        return np.array(list(self.spans))

    @cached_property
    def _weights(self) -> NDArray[np.float64]:
        return normalize(self.spans.values())

    @cached_property
    def _expected(self) -> NDArray[np.float64]:
        """Expected overlap of every pair of slots with an interval of the distribution."""
        expected: NDArray[np.float64] = _overlap(self._every, self._gold) @ self._weights
        return expected

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        """Guess an answer, see `AnswerDistribution.text`."""
        if guess == "uniform":
            first, last = self._every[rng.integers(len(self._every))]
        elif guess == "prior":
            first, last = self._gold[rng.choice(len(self._gold), p=self._weights)]
        else:
            first, last = self._every[self._expected.argmax()]
        if len(clock) == self.slots:
            start, end = clock.span(int(first), int(last))
        else:
            start, end = (border / self.slots * clock.end_ms / 1000 for border in (first, last + 1))
        return f"{start:.3f}-{end:.3f}"

    def expected_score(self, guess: Guess) -> ExpectedScore:
        """Compute what a guess scores, see `AnswerDistribution.expected_score`."""
        if guess == "uniform":
            value = self._expected.mean()
        elif guess == "prior":
            at = {(int(first), int(last)): place for place, (first, last) in enumerate(self._every)}
            value = sum(weight * self._expected[at[span]] for span, weight in self.spans.items())
        else:
            value = self._expected.max()
        return ExpectedScore(float(value), float(value))

    def checks(self, golds: Sequence[GoldAnswer]) -> Iterator[Check]:
        """Test how long the intervals are, and where they start given how long they are.

        Answers whose truth has no span are left out.
        """
        spans = [gold.truth.spans[0] for gold in golds if gold.truth.spans]
        lengths = Counter(last - first + 1 for first, last in spans)
        by_length: dict[int, dict[int, float]] = defaultdict(dict)
        for (first, last), probability in self.spans.items():
            by_length[last - first + 1][first] = probability
        probabilities = {length: math.fsum(starts.values()) for length, starts in by_length.items()}
        yield chi_square("distribution of lengths", lengths, probabilities)
        expected: dict[int, float] = defaultdict(float)
        for length, count in lengths.items():
            for first, probability in by_length[length].items():
                expected[first] += count * probability / probabilities[length]
        known = Counter(first for first, last in spans if last - first + 1 in probabilities)
        yield chi_square(
            "distribution of positions", known, {first: value / known.total() for first, value in expected.items()}
        )


def uniform_spans(
    slots: int, least: int, most: int, starts_of: Callable[[int], range] | None = None
) -> dict[tuple[int, int], float]:
    """Compute the exact probability of each span: its length is uniform, then its place.

    Args:
        slots: of a clip.
        least: slots of a span, at the least.
        most: slots of a span, at the most.
        starts_of: the slots at which a span of a length may start; all that leave it inside the clip when None.

    Returns:
        The probability by (first slot, last slot).
    """
    spans = {}
    for length in range(least, most + 1):
        starts = range(slots - length + 1) if starts_of is None else starts_of(length)
        for first in starts:
            spans[first, first + length - 1] = 1 / (most - least + 1) / len(starts)
    return spans


@dataclass(frozen=True, slots=True)
class Spans:
    """The answered intervals of a category compared with the gold ones.

    Attributes:
        histogram: number of answers without an interval, with an IoU of 0, and in each of the `BINS` bins above it.
        start, end: mean of answered less gold time, in seconds; None where no answer is an interval.
        start_slots, end_slots: the same in slots of the clip.
        length: mean of the answered over the gold length.
        beyond: answers that end behind the clip's end; such a time is taken as the clip's end.
    """

    histogram: tuple[int, ...]
    start: Mean | None
    end: Mean | None
    start_slots: Mean | None
    end_slots: Mean | None
    length: Mean | None
    beyond: int


@dataclass(frozen=True)
class Interval(AnswerType):
    """An interval. Smooth and metric: its IoU with the gold one (paper, equation 5); strict: the same two numbers."""

    name: str = "interval"
    score: Scorer = score_interval
    metric: str = "miou"
    overlap: bool = True
    slots: int | None = 64

    def parse(self, text: str, gold: str) -> tuple[float, float] | None:
        """Read start and end in seconds."""
        return parse_interval(text)

    def value(self, scores: Scores) -> float:
        """Compute the IoU."""
        return scores.smooth

    def distribution(self, questions: Sequence[Question]) -> SpanDistribution:
        """Count the gold intervals on a grid of `GRID` slots."""
        spans = Counter(_on_grid(question) for question in questions)
        return SpanDistribution(GRID, {span: count / len(questions) for span, count in sorted(spans.items())})

    def checks(self, golds: Sequence[GoldAnswer]) -> Iterator[Check]:
        """Look for what the length of a clip tells of the interval.

        Reported: the mean score of one and the same share of every clip, the best on half of the answers tried on the
        others. Tested: where an interval lies, and how many slots it takes, must not follow from how long the clip is.
        """
        tried, rest = golds[:MOST:2], golds[1:MOST:2]
        if rest:
            cuts = [(start / SHARES, end / SHARES) for start in range(SHARES) for end in range(start + 1, SHARES + 1)]
            best = max(cuts, key=lambda cut: self._share_score(cut, tried))
            text = f"{best[0]:.2f}-{best[1]:.2f} of the clip: smooth {self._share_score(best, rest):.3f}"
            yield Check("best constant share", None, text)
        known = [gold for gold in golds if gold.truth.spans]
        durations = [gold.clock.end_ms for gold in known]
        spans = [gold.truth.spans[0] for gold in known]
        yield independent("duration tells the place", durations, [(first + last) / 2 for first, last in spans])
        yield independent("duration tells the length", durations, [last - first for first, last in spans])

    def _share_score(self, cut: tuple[float, float], golds: Sequence[GoldAnswer]) -> float:
        ends = ((gold, gold.clock.end_ms / 1000) for gold in golds)
        return fmean(self.score(f"{cut[0] * end:.3f}-{cut[1] * end:.3f}", gold.answer).smooth for gold, end in ends)

    def form(self, gold: str) -> EntryForm:
        """Return a form with a start and an end."""
        return EntryForm("span")

    def spans(self, answers: GivenAnswers) -> Spans:
        """Compare the answered with the gold intervals of a category."""
        histogram = [0] * (BINS + 2)
        offsets: list[dict[int, float]] = [{} for _ in range(5)]
        beyond = 0
        for answer in answers.counted:
            gold = parse_interval(answer.gold)
            found = [span for text in answer.texts if (span := self.parse(text, answer.gold))]
            histogram[0] += len(answer.texts) - len(found)
            if gold is None or not found:
                continue
            for span in found:
                overlap = interval_overlap(span, gold)
                histogram[1 if overlap <= 0 else 1 + max(1, math.ceil(overlap * BINS - 1e-9))] += 1
            end = answer.end_ms / 1000
            beyond += sum(span[1] > end for span in found)
            answered = np.minimum(found, end)
            seconds = (answered - gold).mean(axis=0)
            slots = np.subtract(slots_at(answer, answered), slots_at(answer, gold)).mean(axis=0)
            length = float(np.diff(answered, axis=1).mean()) / max(1e-3, gold[1] - gold[0])
            for offset, value in zip(offsets, (*seconds, *slots, length), strict=True):
                offset[answer.index] = float(value)
        start, stop, start_slots, stop_slots, length_ratio = answers.means(offsets)
        return Spans(tuple(histogram), start, stop, start_slots, stop_slots, length_ratio, beyond)

    def panel(self, answers: GivenAnswers) -> Panel:
        """Show how well the intervals overlap, and by how much their starts and ends are off."""
        found = self.spans(answers)
        return Panel(
            lead="How well the answered spans cover the gold ones, and by how much their start and end are off. “None” "
            "is an answer without a span; a bar at .3 counts overlaps above .2 and up to .3.",
            data=found,
            histogram=Histogram(
                title="IoU of the spans",
                names=("none", "0", *(f".{bin}" for bin in range(1, BINS)), "1"),
                counts=found.histogram,
                xlabel="IoU, up to",
                apart=2,
                caption="Number of answers by their IoU, up to",
            ),
            figures=(
                Figure("start", "s", found.start, signed=True),
                Figure("start", "slots", found.start_slots, digits=1, signed=True),
                Figure("end", "s", found.end, signed=True),
                Figure("end", "slots", found.end_slots, digits=1, signed=True),
                Figure("span", "length × gold", found.length),  # noqa: RUF001
                Figure("span", "beyond the clip", found.beyond),
            ),
            caption="Answered minus gold: below 0 is too early. A time behind the clip’s end is taken as its end.",  # noqa: RUF001
        )

    def draw(self, text: str, question: GivenAnswer) -> Drawing:
        """Draw the interval below the frames."""
        span = self.parse(text, question.gold)
        if span is None:
            return Drawing()
        first, last = slots_at(question, span)
        return Drawing(spans=((float(first), float(last)),))


INTERVAL = Interval()


@dataclass(frozen=True)
class Span(Interval):
    """An interval in any usual spelling, see `videossr.rewards.parse_span`; else as `Interval`."""

    name: str = "span"
    score: Scorer = score_span

    def parse(self, text: str, gold: str) -> tuple[float, float] | None:
        """Read start and end in seconds."""
        return parse_span(text)


SPAN = Span()


def slots_at(question: GivenAnswer, seconds: ArrayLike) -> NDArray[np.float64]:
    """Find where times lie in the slots of the clip: 2.5 is the middle of slot 2. Times outside it lie at its ends."""
    edges = np.array([*question.times_ms, question.end_ms]) / 1000
    places: NDArray[np.float64] = np.interp(np.asarray(seconds, float), edges, np.arange(len(edges)))
    return places


def _on_grid(question: Question) -> tuple[int, int]:
    """Find the (first, last) slot of a gold interval on the grid; the nearest slot where it lies beyond the clip."""
    span = parse_interval(question.answer)
    if span is None:
        raise DataError(f"question {question.id}: gold answer {question.answer!r} is not an interval of seconds")
    first, stop = (round(seconds * 1000 / question.clocks[0].end_ms * GRID) for seconds in span)
    first = min(max(first, 0), GRID - 1)
    return first, min(max(stop - 1, first), GRID - 1)


def _overlap(guesses: NDArray[np.int64], gold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the IoU (G, S) of (G, 2) and (S, 2) pairs of slots, both ends inclusive."""
    lengths = [np.diff(spans, axis=1)[:, 0] + 1 for spans in (guesses, gold)]
    both = np.maximum(0, np.minimum(guesses[:, None, 1], gold[:, 1]) - np.maximum(guesses[:, None, 0], gold[:, 0]) + 1)
    overlap: NDArray[np.float64] = both / (lengths[0][:, None] + lengths[1] - both)
    return overlap
