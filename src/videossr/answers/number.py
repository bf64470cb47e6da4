"""Number: one number, such as `3`, `-2.5` or `1,200`, wherever it stands in a text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from videossr.answers.base import AnswerType
from videossr.rewards import Scorer, Scores, boxed_or_whole

_NUMBER = re.compile(r"(?<![\w.,])[-\u2212]?(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.\d{1,15})?(?![.,]?\d)", re.ASCII)


def parse_number(text: str) -> float | None:
    r"""Read the number that a text names; None where it names none, or several different ones.

    Thoughts do not count, nor what stands around the last `<answer>`; where there is a `\boxed{...}`, only its content
    counts. A number has at most 15 digits before and behind its point, commas may stand between thousands, and a unit
    may follow: `about 1,200 m` is 1200. Neither `1,5` nor `1.2.3` nor `10-20` is one number, and words are none.
    """
    found = {_value(match) for piece in boxed_or_whole(text) for match in _NUMBER.findall(piece)}
    return found.pop() if len(found) == 1 else None


def number_closeness(answer: float, gold: float) -> float:
    """Compute 1 minus the error relative to the gold number, not below 0. Against 0, every wrong number scores 0."""
    if _is_same(answer, gold):
        return 1.0
    return max(0.0, 1 - abs(answer - gold) / abs(gold)) if gold else 0.0


def score_number(answer: str, gold: str) -> Scores:
    """Score a number: smooth by its relative error, strict where it is the gold number.

    Raises:
        ValueError: `gold` is not one number.
    """
    match = _NUMBER.fullmatch(gold.strip())
    if match is None:
        raise ValueError(f"gold answer {gold!r:.200} is not a number such as '3' or '-2.5'")
    truth = _value(match[0])
    number = parse_number(answer)
    if number is None:
        return Scores(0.0, 0.0, parsed=False)
    return Scores(number_closeness(number, truth), float(_is_same(number, truth)), parsed=True)


def _value(number: str) -> float:
    return float(number.replace(",", "").replace("\u2212", "-"))


def _is_same(one: float, other: float) -> bool:
    """Tell whether two numbers differ by no more than the rounding of floats."""
    return math.isclose(one, other, rel_tol=1e-9)


@dataclass(frozen=True)
class Number(AnswerType):
    """One number. Smooth: 1 minus its relative error; the metric is the share of exact ones."""

    name: str = "number"
    score: Scorer = score_number

    def parse(self, text: str, gold: str) -> float | None:
        """Read the number that a text names."""
        return parse_number(text)


NUMBER = Number()
