"""What answers without looking score on a benchmark: as its law says, and as a trial on its very questions shows.

Exercised by `videossr bench chance demo/viubench`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from videossr.bench.scoring import metric_of, metric_value
from videossr.bench.viubench import rank
from videossr.models.answer_distribution import GUESSES, ExpectedScore, Guess, answer_distributions, task_of
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.rewards import scorer

ROUNDS = 10
"""Guesses at each question, where guesses are drawn."""


@dataclass(frozen=True, slots=True)
class BlindScore:
    """A way of guessing in one category.

    Attributes:
        category: the category.
        metric: how the benchmark scores it.
        guess: see `videossr.models.answer_distribution.Guess`.
        derived: its expected scores under the law of the answers.
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
    """Every guess in every category, in the paper's order. `progress` is told (questions tried, of how many)."""
    known = answer_distributions(questions)
    scores: dict[tuple[str, Guess], list[tuple[float, float]]] = defaultdict(list)
    metrics: dict[str, str] = {}
    for index in range(len(questions)):
        question, category = questions.question(index), questions.category(index)
        metrics[category] = metric_of(task_of(question.data_source))
        rng = np.random.Generator(np.random.PCG64DXSM([seed, index]))
        for guess in GUESSES:
            rounds = ROUNDS if guess in ("uniform", "law") else 1
            texts = [known[category].text(guess, rng, question.clocks[0]) for _ in range(rounds)]
            scores[category, guess].append(_mean(question, metrics[category], texts))
        progress(index + 1, len(questions))
    found = []
    for (category, guess), members in sorted(scores.items(), key=lambda item: rank(item[0][0])):
        values = np.array(members)
        score, smooth = values.mean(axis=0)
        error = float(values[:, 0].std() / max(1, len(values)) ** 0.5)
        derived = known[category].worth(guess)
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


def _mean(question: Question, metric: str, texts: list[str]) -> tuple[float, float]:
    scores = [scorer(question.data_source)(text, question.answer) for text in texts]
    by = [(metric_value(metric, each), each.smooth) for each in scores]
    return sum(score for score, _ in by) / len(by), sum(smooth for _, smooth in by) / len(by)
