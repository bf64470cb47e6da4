"""The interface of answer types. `videossr.answers.interval` is one; a task may declare another.

An answer type looks at texts, gold answers and clocks alone, never at a dataset. Packages add their own through the
entry-point group ``videossr.answers``, or by declaring it on a task.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from videossr.answers.checks import Check, GoldAnswer
from videossr.answers.panel import Drawing, GivenAnswer, GivenAnswers, Panel
from videossr.clock import Clock
from videossr.question import Question
from videossr.registry import Registry
from videossr.rewards import Scorer, Scores

Guess = Literal["uniform", "prior", "constant", "smooth"]
"""`uniform`: any well-formed answer alike. `prior`: drawn from the distribution of the gold answers. `constant`: always
the answer that the benchmark's metric rewards best. `smooth`: always the answer that the smooth reward rewards best."""

GUESSES: tuple[Guess, ...] = get_args(Guess)

ANSWERS = 400
"""Answers of a category, at most, that are held against each other where their distribution is not known."""


@dataclass(frozen=True, slots=True)
class ExpectedScore:
    """The mean score of a guess, in [0, 1]: by the metric of its answer type, and by the smooth reward."""

    score: float
    smooth: float


class AnswerDistribution(Protocol):
    """The distribution from which the gold answers of one category are drawn."""

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        """Guess the answer to a question whose clips have this clock. Constants draw nothing."""

    def expected_score(self, guess: Guess) -> ExpectedScore:
        """Compute what a guess scores on average, exactly; no question is looked at."""

    def checks(self, golds: Sequence[GoldAnswer]) -> Iterator[Check]:
        """Test whether gold answers follow the distribution."""


@dataclass(frozen=True)
class EmpiricalDistribution:
    """The distribution of some gold answers, where nothing else is known of it; `uniform` takes each of them once."""

    kind: AnswerType
    answers: tuple[str, ...]

    @cached_property
    def _probabilities(self) -> dict[Guess, dict[str, float]]:
        count = Counter(self.answers)
        probabilities = {answer: number / len(self.answers) for answer, number in count.items()}
        uniform = dict.fromkeys(probabilities, 1 / len(probabilities))
        exact = max(sorted(probabilities), key=lambda answer: self._expected_score({answer: 1.0}).score)
        smooth = max(sorted(probabilities), key=lambda answer: self._expected_score({answer: 1.0}).smooth)
        return {"uniform": uniform, "prior": probabilities, "constant": {exact: 1.0}, "smooth": {smooth: 1.0}}

    def _expected_score(self, probabilities: Mapping[str, float]) -> ExpectedScore:
        scored = [
            (probability / len(self.answers), self.kind.score(answer, gold))
            for answer, probability in probabilities.items()
            for gold in self.answers
        ]
        return ExpectedScore(
            math.fsum(weight * self.kind.value(scores) for weight, scores in scored),
            math.fsum(weight * scores.smooth for weight, scores in scored),
        )

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        """Guess an answer, see `AnswerDistribution.text`."""
        probabilities = self._probabilities[guess]
        return list(probabilities)[rng.choice(len(probabilities), p=normalize(probabilities.values()))]

    def expected_score(self, guess: Guess) -> ExpectedScore:
        """Compute what a guess scores, see `AnswerDistribution.expected_score`."""
        return self._expected_score(self._probabilities[guess])

    def checks(self, golds: Sequence[GoldAnswer]) -> Iterator[Check]:
        """Check nothing: the distribution was estimated from the same answers."""
        return iter(())


@dataclass(frozen=True, slots=True)
class EntryForm:
    """The form in which a person enters an answer: `parts` numbers or digits for counts and orders, otherwise 1."""

    kind: Literal["span", "counts", "order", "text"]
    parts: int = 1


@dataclass(frozen=True)
class AnswerType:
    """One kind of answer: how it is scored, summed up, guessed, checked and drawn.

    By itself it is a type of which nothing is known but how its answers are scored: `AnswerType("riddle", score)`. A
    type of which more is known is a frozen subclass that overrides some methods.

    Attributes:
        name: of the type.
        score: (model's text, gold answer) -> scores. It never raises for a model's text, and raises ValueError for a
            malformed gold answer.
        metric: name of the metric that `value` computes.
        overlap: whether the smooth score is an overlap, of which a share such as 0.5 is a success.
        slots: slots that a report shows of each clip, at most; None shares 24 among the clips.
    """

    name: str
    score: Scorer
    metric: str = "exact"
    overlap: bool = False
    slots: int | None = None

    def parse(self, text: str, gold: str) -> object | None:
        """Read a model's text as an answer of the form that `gold` has; None where it has another form."""
        return text.strip() if self.score(text, gold).parsed else None

    def value(self, scores: Scores) -> float:
        """Compute the metric of one scored answer, in [0, 1]; a category's is the mean over its answers."""
        return scores.strict

    def describe(self, scores: Sequence[Scores]) -> str:
        """Write the means of some scored answers for people."""
        return f"smooth {fmean(s.smooth for s in scores):.3f}, strict {fmean(s.strict for s in scores):.3f}"

    def distribution(self, questions: Sequence[Question]) -> AnswerDistribution:
        """Read the distribution of a category's gold answers off its questions."""
        return EmpiricalDistribution(self, tuple(question.answer for question in questions[:ANSWERS]))

    def guess(
        self, distribution: AnswerDistribution, guess: Guess, rng: np.random.Generator, question: Question
    ) -> str:
        """Guess the answer to a question, whose gold answer decides nothing but the form of a guess."""
        return distribution.text(guess, rng, question.clocks[0])

    def checks(self, golds: Sequence[GoldAnswer]) -> Iterator[Check]:
        """Look for what gives the answers of a category away; nothing is known of answers in general."""
        return iter(())

    def form(self, gold: str) -> EntryForm:
        """Return how a person enters an answer; nothing but the number of its parts is taken from `gold`."""
        return EntryForm("text")

    def panel(self, answers: GivenAnswers) -> Panel | None:
        """Sum up what a run said in a category, for a report; None where there is nothing to show but scores."""
        return None

    def draw(self, text: str, question: GivenAnswer) -> Drawing:
        """Draw one text that was said to a question."""
        return Drawing()


ANSWER_TYPES: Registry[AnswerType] = Registry("videossr.answers")
"""All installed answer types by their names, each of which is a data source too: `videossr/<name>`."""


def normalize(weights: Iterable[float]) -> NDArray[np.float64]:
    """Scale weights to probabilities (N,) that sum to 1 as closely as NumPy's generator asks."""
    values: NDArray[np.float64] = np.fromiter(weights, np.float64)
    values /= values.sum()
    return values
