"""What can be answered without looking: the law of a category's answers, guesses from it, and what they are worth.

Exercised by `videossr bench chance BENCH`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from videossr.clock import Clock
from videossr.config import parse
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import DataError
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.rewards import count_closeness, parse_interval, scorer
from videossr.tasks.base import TASKS
from videossr.tasks.counting import count_distribution
from videossr.tasks.grounding import span_distribution

Guess = Literal["uniform", "law", "constant", "smooth"]
"""`uniform`: any well-formed answer alike. `law`: drawn as the gold answers are. `constant`: always the answer that the
benchmark's metric rewards best. `smooth`: always the answer that the smooth reward rewards best."""

GUESSES: tuple[Guess, ...] = get_args(Guess)

GRID = 48
"""Slots into which a clip is cut, to tell the law of segments from their seconds alone."""

CHOICES = 400
"""Answers of a category, at most, that are held against each other where nothing is known of its task."""


@dataclass(frozen=True, slots=True)
class ExpectedScore:
    """What a guess scores on average: by the benchmark's metric of its task, and by the smooth reward."""

    score: float
    smooth: float


class AnswerDistribution(Protocol):
    """How the gold answers of one category are drawn."""

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        """One guess for a question with this clock. Constants draw nothing."""

    def worth(self, guess: Guess) -> ExpectedScore:
        """Its expected scores, exact under the law; no question is looked at."""


@dataclass(frozen=True)
class SpanDistribution:
    """Grounding. A segment is a pair of slots, and so is a guess: seconds differ from clip to clip, shares do not.

    `spans` gives each (first, last) its probability. A uniform guess takes any two of the slots + 1 borders.
    The worth is exact for slots of equal length; labels are rounded to tenths of a second, which it leaves out.
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
        return _normal(self.spans.values())

    @cached_property
    def _expected(self) -> NDArray[np.float64]:
        """Expected overlap of every pair of slots with a segment of the law."""
        expected: NDArray[np.float64] = _overlap(self._every, self._gold) @ self._weights
        return expected

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        if guess == "uniform":
            first, last = self._every[rng.integers(len(self._every))]
        elif guess == "law":
            first, last = self._gold[rng.choice(len(self._gold), p=self._weights)]
        else:
            first, last = self._every[self._expected.argmax()]
        if len(clock) == self.slots:
            start, end = clock.span(int(first), int(last))
        else:
            start, end = (border / self.slots * clock.end_ms / 1000 for border in (first, last + 1))
        return f"{start:.3f}-{end:.3f}"

    def worth(self, guess: Guess) -> ExpectedScore:
        if guess == "uniform":
            value = self._expected.mean()
        elif guess == "law":
            at = {(int(first), int(last)): place for place, (first, last) in enumerate(self._every)}
            value = sum(weight * self._expected[at[span]] for span, weight in self.spans.items())
        else:
            value = self._expected.max()
        return ExpectedScore(float(value), float(value))


@dataclass(frozen=True)
class CountDistribution:
    """Counting. `totals` gives each count of one shape its probability; a uniform guess takes any up to the most."""

    shapes: int
    totals: Mapping[int, float]

    @cached_property
    def _guesses(self) -> dict[Guess, dict[int, float]]:
        """For each guess, how probable it makes each count."""
        most = max(1, *self.totals)
        common = max(self.totals, key=lambda count: (self.totals[count], -count))
        closest = max(range(1, most + 1), key=lambda count: (self._worth({count: 1.0}).smooth, -count))
        uniform = dict.fromkeys(range(1, most + 1), 1 / most)
        return {"uniform": uniform, "law": dict(self.totals), "constant": {common: 1.0}, "smooth": {closest: 1.0}}

    def _worth(self, law: Mapping[int, float]) -> ExpectedScore:
        pairs = [(p * q, mine, true) for mine, p in law.items() for true, q in self.totals.items()]
        return ExpectedScore(
            math.fsum(weight for weight, mine, true in pairs if mine == true),
            math.fsum(weight * count_closeness(mine, true) for weight, mine, true in pairs),
        )

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        law = self._guesses[guess]
        return ",".join(map(str, rng.choice(list(law), size=self.shapes, p=_normal(law.values()))))

    def worth(self, guess: Guess) -> ExpectedScore:
        return self._worth(self._guesses[guess])


@dataclass(frozen=True)
class OrderDistribution:
    """Jigsaw. Every order of the pieces is as probable, the true one apart, unless `identity` says that it is drawn.

    A uniform guess may be the true order. The best constant is the reverse one: all others are as good in the metric,
    and it shares nothing with the order that is never drawn.
    """

    pieces: int
    identity: bool = False

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        order = list(range(1, self.pieces + 1))
        if guess in ("constant", "smooth"):
            return "".join(map(str, reversed(order)))
        while True:
            drawn = rng.permutation(order).tolist()
            if guess == "uniform" or self.identity or drawn != order:
                return "".join(map(str, drawn))

    def worth(self, guess: Guess) -> ExpectedScore:
        """The mean distance of a digit between two random orders is (n*n - 1) / 3n, and there are n of them."""
        n, count = self.pieces, math.factorial(self.pieces)
        mean = 1 - (n * n - 1) / 3 / (n * n // 2)
        if guess == "uniform" or self.identity:
            return ExpectedScore(1 / count, mean)
        if guess == "law":  # of all pairs, without those in which either is the identity
            return ExpectedScore(1 / (count - 1), (count * count * mean - 2 * count * mean + 1) / (count - 1) ** 2)
        return ExpectedScore(1 / (count - 1), count * mean / (count - 1))


@dataclass(frozen=True)
class ChoiceDistribution:
    """A task of which nothing is known: its answers are drawn from those that are there; uniform: each once."""

    data_source: str
    answers: tuple[str, ...]

    @cached_property
    def _laws(self) -> dict[Guess, dict[str, float]]:
        count = Counter(self.answers)
        law = {answer: number / len(self.answers) for answer, number in count.items()}
        uniform = dict.fromkeys(law, 1 / len(law))
        exact = max(sorted(law), key=lambda answer: self._worth({answer: 1.0}).score)
        smooth = max(sorted(law), key=lambda answer: self._worth({answer: 1.0}).smooth)
        return {"uniform": uniform, "law": law, "constant": {exact: 1.0}, "smooth": {smooth: 1.0}}

    def _worth(self, law: Mapping[str, float]) -> ExpectedScore:
        score = scorer(self.data_source)
        found = [(p / len(self.answers), score(mine, true)) for mine, p in law.items() for true in self.answers]
        return ExpectedScore(math.fsum(p * s.strict for p, s in found), math.fsum(p * s.smooth for p, s in found))

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        law = self._laws[guess]
        return list(law)[rng.choice(len(law), p=_normal(law.values()))]

    def worth(self, guess: Guess) -> ExpectedScore:
        return self._worth(self._laws[guess])


def task_of(data_source: str) -> str:
    """The task that a data source is of: `videossr/jigsaw` and the released `shuffled` are both `jigsaw`."""
    name = data_source.rpartition("/")[2]
    return "jigsaw" if name == "shuffled" else name


def answer_distributions(questions: QuestionSet) -> dict[str, AnswerDistribution]:
    """Return the distribution of each category: by the config of a built dataset, else that of the gold answers."""
    found: dict[str, AnswerDistribution] = {}
    if isinstance(questions, VideoSSRDataset):
        for category, table in questions.manifest["recipe"]["categories"].items():
            if table["task"] in _KNOWN:
                config = parse(
                    TASKS.get(table["task"]).Config, table["config"], f"manifest: categories.{category}.config"
                )
                found[category] = _KNOWN[table["task"]](config)
        if set(found) == set(questions.manifest["categories"]):
            return found
    asked: dict[str, list[Question]] = defaultdict(list)
    for index in range(len(questions)):
        category = questions.category(index)
        if category not in found:
            try:
                question = questions.question(index)
                scorer(question.data_source)(question.answer, question.answer)
            except Exception:  # a broken row is a failure of the run, and tells nothing of the law
                continue
            asked[category].append(question)
    return found | {category: distribution_of(members) for category, members in asked.items()}


def distribution_of(questions: Sequence[Question]) -> AnswerDistribution:
    """The law of a category as far as its gold answers tell."""
    source = questions[0].data_source
    answers = [question.answer for question in questions]
    task = task_of(source)
    if task == "grounding":
        spans = Counter(_slots(question) for question in questions)
        return SpanDistribution(GRID, {span: count / len(questions) for span, count in sorted(spans.items())})
    if task == "counting":
        counts = Counter(int(count) for answer in answers for count in answer.split(","))
        return CountDistribution(len(answers[0].split(",")), {n: m / counts.total() for n, m in sorted(counts.items())})
    if task == "jigsaw":
        return OrderDistribution(len(answers[0].strip()), identity="".join(sorted(answers[0].strip())) in answers)
    return ChoiceDistribution(source, tuple(answers[:CHOICES]))


_KNOWN: Mapping[str, Callable[[Any], AnswerDistribution]] = {
    "grounding": lambda config: SpanDistribution(config.frames, span_distribution(config)),
    "counting": lambda config: CountDistribution(
        len(config.shapes), count_distribution(config.slots_max, config.instances_max)
    ),
    "jigsaw": lambda config: OrderDistribution(config.pieces, config.identity),
}


def _slots(question: Question) -> tuple[int, int]:
    """The segment of a gold answer, on the grid; the nearest slot where it lies beyond the clip."""
    span = parse_interval(question.answer)
    if span is None:
        raise DataError(f"question {question.id}: gold answer {question.answer!r} is not an interval of seconds")
    first, stop = (round(seconds * 1000 / question.clocks[0].end_ms * GRID) for seconds in span)
    first = min(max(first, 0), GRID - 1)
    return first, min(max(stop - 1, first), GRID - 1)


def _overlap(guesses: NDArray[np.int64], gold: NDArray[np.int64]) -> NDArray[np.float64]:
    """(G, 2) and (S, 2) pairs of slots, both ends inclusive -> (G, S) intersection over union."""
    lengths = [np.diff(spans, axis=1)[:, 0] + 1 for spans in (guesses, gold)]
    both = np.maximum(0, np.minimum(guesses[:, None, 1], gold[:, 1]) - np.maximum(guesses[:, None, 0], gold[:, 0]) + 1)
    overlap: NDArray[np.float64] = both / (lengths[0][:, None] + lengths[1] - both)
    return overlap


def _normal(weights: Iterable[float]) -> NDArray[np.float64]:
    """Probabilities that sum to 1 as closely as the generator asks."""
    values: NDArray[np.float64] = np.fromiter(weights, np.float64)
    values /= values.sum()
    return values
