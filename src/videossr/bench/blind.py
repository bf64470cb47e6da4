"""Score guesses on a benchmark: as the distribution of its answers says, and as a trial on its questions shows.

Exercised by `videossr bench chance demo/viubench`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from videossr.answers.base import GUESSES, AnswerType, ExpectedScore, Guess
from videossr.bench.viubench import rank
from videossr.models.answer_distribution import answer_distributions
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.tasks.base import answer_type_of

ROUNDS = 10
"""Guesses at each question, where guesses are drawn."""


@dataclass(frozen=True, slots=True)
class BlindScore:
    """A way of guessing in one category.

    Attributes:
        category: the category.
        metric: how the benchmark scores it.
        guess: see `videossr.answers.base.Guess`.
        derived: its expected scores under the distribution of the answers.
        simulated: its mean scores on the questions that are there.
        error: standard error of the simulated score, both of the guesses and of which questions are there.
        questions: how many are there.
    """

    category: str
    metric: str
    guess: Guess
    derived: ExpectedScore
    simulated: ExpectedScore
    error: float
    questions: int


def blind_scores(
    questions: QuestionSet, *, seed: int = 0, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[BlindScore]:
    """Score every guess in every category, in the paper's order. `progress` gets (questions tried, of how many)."""
    known = answer_distributions(questions)
    scores: dict[tuple[str, Guess], list[tuple[float, float]]] = defaultdict(list)
    metrics: dict[str, str] = {}
    for index in range(len(questions)):
        question, category = questions.question(index), questions.category(index)
        kind = answer_type_of(question.data_source)
        metrics[category] = kind.metric
        rng = np.random.Generator(np.random.PCG64DXSM([seed, index]))
        for guess in GUESSES:
            rounds = ROUNDS if guess in ("uniform", "prior") else 1
            texts = [kind.guess(known[category], guess, rng, question) for _ in range(rounds)]
            scores[category, guess].append(_mean(question, kind, texts))
        progress(index + 1, len(questions))
    found = []
    for (category, guess), members in sorted(scores.items(), key=lambda item: rank(item[0][0])):
        values = np.array(members)
        score, smooth = values.mean(axis=0)
        error = float(values[:, 0].std() / max(1, len(values)) ** 0.5)
        derived = known[category].expected_score(guess)
        found.append(
            BlindScore(
                category,
                metrics[category],
                guess,
                derived,
                ExpectedScore(float(score), float(smooth)),
                error,
                len(values),
            )
        )
    return found


def _mean(question: Question, kind: AnswerType, texts: list[str]) -> tuple[float, float]:
    """Average the metric and the smooth score of some answers to one question."""
    scores = [kind.score(text, question.answer) for text in texts]
    return (
        sum(kind.value(scored) for scored in scores) / len(scores),
        sum(scored.smooth for scored in scores) / len(scores),
    )
