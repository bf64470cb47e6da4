"""Readers that the scoring scripts of several benchmarks share, for `videossr bench score --rule official`.

They are written from what the scripts do, not from their code. Gold answers are those of `videossr.answers.option`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence


def right_letter(gold: str) -> str:
    """Return the letter of the right option of a gold answer, whose label may stand in brackets.

    >>> right_letter("(B) a dog")
    'B'
    """
    return gold.lstrip("([")[0]


def first_character(text: str, gold: str) -> float | None:
    """Compare the first character of the stripped text with the right letter; an empty text is not counted."""
    said = text.strip()
    return float(said[0] == right_letter(gold)) if said else None


def first_in_brackets(text: str, gold: str) -> float | None:
    """Compare the first character of what stands before the first `)`, and behind a `(` where one is there.

    A text of which nothing is left cannot be read.
    """
    said = text.partition(")")[0]
    return first_character(said.split("(")[1] if "(" in said else said, gold)


def first_capital(text: str, letters: str, phrases: Sequence[str] = ("Best answer:", "Best option:")) -> str | None:
    """Find the first of some capital letters anywhere in a text, once phrases that hold one are taken out of it.

    So `A red car` and `Answer: B` say A.
    """
    for phrase in phrases:
        text = text.replace(phrase, "")
    match = re.search(f"[{letters}]", text)
    return match[0] if match else None


def capital_reader(
    letters: str, phrases: Sequence[str] = ("Best answer:", "Best option:")
) -> Callable[[str, str], float | None]:
    """Return what compares the first of some capitals in a text with the right letter, see `first_capital`.

    A text without one cannot be read.
    """

    def score(text: str, gold: str) -> float | None:
        said = first_capital(text, letters, phrases)
        return None if said is None else float(said == right_letter(gold))

    return score
