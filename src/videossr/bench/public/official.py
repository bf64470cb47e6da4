"""Readers that the scoring scripts of several benchmarks share, for `videossr bench score --rule official`.

They are written from what the scripts do, not from their code. Gold answers are those of `videossr.answers.option`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


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


def first_capital(text: str, letters: str, phrases: Sequence[str] = ("Best answer:", "Best option:")) -> str | None:
    """Find the first of some capital letters anywhere in a text, once phrases that hold one are taken out of it.

    So `A red car` and `Answer: B` say A.
    """
    for phrase in phrases:
        text = text.replace(phrase, "")
    match = re.search(f"[{letters}]", text)
    return match[0] if match else None
