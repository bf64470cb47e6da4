"""Do the answers of a dataset follow the distribution that they were drawn from? One result a test.

The tests belong to the distributions, see `videossr.answers`. Exercised by `videossr validate DATASET`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from scipy import stats

from videossr.answers.checks import ALPHA, Check, GoldAnswer
from videossr.sample import Sample
from videossr.tasks.base import OpenTask


def gold_answers(samples: Sequence[Sample], task: OpenTask) -> list[GoldAnswer]:
    """Collect what the checks of an answer type look at: the answers of samples, their clocks and truths."""
    return [GoldAnswer(sample.answer, sample.clock, task.truth(sample)) for sample in samples]


def distribution_checks(category: str, samples: Sequence[Sample], task: OpenTask, config: Any) -> Iterator[Check]:
    """Test the answers of a category against the distribution that its task declares.

    Args:
        category: its name.
        samples: all of its samples.
        task: their task; one that declares no distribution has no checks.
        config: of the category, an instance of the task's `Config`.
    """
    distribution = task.answer_distribution(config)
    if distribution is not None:
        for check in distribution.checks(gold_answers(samples, task)):
            yield replace(check, category=category)


def allowed(total: int, share: float) -> int:
    """Return how many of `total` cases may come of a probability of at most `share`, by a binomial test."""
    return int(stats.binom.isf(ALPHA, total, share))


def at_most(count: float, total: int, share: float) -> bool | None:
    """Tell whether `count` is `allowed`; None where there are so few cases that all of them would be."""
    most = allowed(total, share)
    return count <= most if most < total else None
