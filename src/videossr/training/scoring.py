"""Score sampled answers, and name question and scorer where that fails. `videossr.training.trainer` calls it."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence

from videossr.errors import ScoringError
from videossr.question import Question
from videossr.rewards import Scores as Rewards
from videossr.rewards import scorer
from videossr.training.config import GrpoConfig

_QUOTED = 200
"""Characters of an answer that an error quotes, at most."""


def score_answers(question: Question, texts: Sequence[str]) -> list[Rewards]:
    """Score each answer to a question. Raises ScoringError, see `score_text`."""
    return [score_text(question, text) for text in texts]


def score_text(question: Question, text: str) -> Rewards:
    """Score an answer to a question.

    Raises:
        ScoringError: the scorer fails, or gives a reward that is no finite number.
    """
    where = f"question {question.id}: the scorer of {question.data_source}"
    answer = f"for the answer {text[:_QUOTED]!r}, where {question.answer[:_QUOTED]!r} is right"
    try:
        scores = scorer(question.data_source)(text, question.answer)
        finite = math.isfinite(scores.smooth) and math.isfinite(scores.strict)
    except Exception as error:  # it may be another package's, and raise what it likes
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}, line {last.lineno}"
        raise ScoringError(f"{where} raised {type(error).__name__}: {error} ({place}) {answer}") from error
    if not finite:
        raise ScoringError(f"{where} gave {scores.smooth} (strict: {scores.strict}), no finite reward, {answer}")
    return scores


def reward_values(rewards: Sequence[Rewards], config: GrpoConfig) -> list[float]:
    """Return the reward of each answer that the run learns from, the smooth or the strict one."""
    return [reward.smooth if config.reward == "smooth" else reward.strict for reward in rewards]
