"""Sequence: an order of any number of clips, as numbers from 1 with anything between them, such as `3, 1, 2`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from videossr.answers.base import AnswerType
from videossr.rewards import Scorer, Scores, order_closeness, outside_thoughts

_HEADING = re.compile(r"\b(?:order|answer|sequence)\b[^:\n]{0,40}:", re.IGNORECASE)


def parse_sequence(text: str, n: int) -> tuple[int, ...] | None:
    """Read a permutation of 1..n; None where a text does not say one and only one.

    Thoughts do not count, nor what stands around the last `<answer>`. If a heading such
    as `Correct order:` or `Answer:` is there, what follows the last one counts, else each line by itself. Numbers may
    have anything between them, as in `Clip 3 -> Clip 1 -> Clip 2`; n digits in a row, n <= 9, are n numbers.
    """
    said = outside_thoughts(text)
    *_, behind = _HEADING.split(said)
    pieces = [behind, *behind.splitlines(), *(said.splitlines() if behind is said else ())]
    found = {order for piece in pieces if (order := _permutation(piece, n)) is not None}
    return found.pop() if len(found) == 1 else None


def _permutation(text: str, n: int) -> tuple[int, ...] | None:
    """Read a text whose numbers are a permutation of 1..n."""
    runs = re.findall(r"\d+", text)
    if len(runs) == 1 and 1 < len(runs[0]) == n <= 9:
        runs = list(runs[0])
    if len(runs) != n or any(len(run) > 6 for run in runs):
        return None
    order = tuple(map(int, runs))
    return order if sorted(order) == list(range(1, n + 1)) else None


def score_sequence(answer: str, gold: str) -> Scores:
    """Score an order: smooth by the distance of each clip from its place, strict where every clip is in its place.

    Raises:
        ValueError: `gold` is not a permutation of 1..n, separated by commas.
    """
    fields = gold.split(",")
    truth = _permutation(gold, len(fields))
    if truth is None:
        raise ValueError(f"gold answer {gold!r} is not a permutation of 1..n such as '3,1,2'")
    order = parse_sequence(answer, len(truth))
    if order is None:
        return Scores(0.0, 0.0, parsed=False, parts=(0.0,) * len(truth))
    parts = tuple(float(mine == true) for mine, true in zip(order, truth, strict=True))
    return Scores(order_closeness(order, truth), min(parts), parsed=True, parts=parts)


@dataclass(frozen=True)
class Sequence(AnswerType):
    """An order of clips; the metric is the share of answers with every clip in its place."""

    name: str = "sequence"
    score: Scorer = score_sequence

    def parse(self, text: str, gold: str) -> tuple[int, ...] | None:
        """Read as many numbers as the gold answer has."""
        return parse_sequence(text, gold.count(",") + 1)


SEQUENCE = Sequence()
