"""Choice: the letter of one of several options, such as `B`."""

from __future__ import annotations

from dataclasses import dataclass

from videossr.answers.base import AnswerType
from videossr.rewards import Scorer, parse_choice, score_choice


@dataclass(frozen=True)
class Choice(AnswerType):
    """The letter of an option. Smooth and strict are alike; the metric is the share of right letters."""

    name: str = "choice"
    score: Scorer = score_choice

    def parse(self, text: str, gold: str) -> str | None:
        """Read the letter A..Z that a text chooses."""
        return parse_choice(text)


CHOICE = Choice()
