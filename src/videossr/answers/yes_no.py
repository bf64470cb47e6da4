"""Yes or no, which the first word of a text tells: `Yes, it is.` says yes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from videossr.answers.base import AnswerType
from videossr.rewards import Scorer, Scores, boxed_or_whole

_WORD = r"\b(?:yes|no|true|false)\b"
_LEAD = r"\W*(?:(?:the|my|final|correct|right|answer|is)\b\W*){0,6}"
_FIRST = re.compile(rf"{_LEAD}({_WORD})(?!\W*(?:\b(?:and|or)\b)?\W*{_WORD})", re.IGNORECASE)


def parse_yes_no(text: str) -> Literal["yes", "no"] | None:
    r"""Read the yes or no that a text says; None where it says neither.

    Thoughts do not count, nor what stands around the last `<answer>`; where there is a `\boxed{...}`, only its content
    counts. The first word behind words such as `the answer is` tells, unless another yes or no follows it at once, as
    in `yes or no`. True is yes, and false is no.
    """
    matches = [_FIRST.match(piece) for piece in boxed_or_whole(text)]
    said = {match[1].lower() in ("yes", "true") if match else None for match in matches}
    word = said.pop() if len(said) == 1 else None
    return None if word is None else "yes" if word else "no"


def score_yes_no(answer: str, gold: str) -> Scores:
    """Score a yes or no: smooth and strict alike, 1 for the right one.

    Raises:
        ValueError: `gold` is neither yes nor no, true nor false.
    """
    if re.fullmatch(_WORD, gold.strip(), re.IGNORECASE) is None:
        raise ValueError(f"gold answer {gold!r:.200} is neither 'yes' nor 'no'")
    said = parse_yes_no(answer)
    right = float(said == parse_yes_no(gold))
    return Scores(right, right, parsed=said is not None)


@dataclass(frozen=True)
class YesNo(AnswerType):
    """Yes or no. Smooth and strict are alike; the metric is the share of right ones."""

    name: str = "yes_no"
    score: Scorer = score_yes_no
    metric: str = "accuracy"

    def parse(self, text: str, gold: str) -> str | None:
        """Read the yes or no that a text says."""
        return parse_yes_no(text)


YES_NO = YesNo()
