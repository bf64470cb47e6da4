"""Options and the gold answer of a row that names the right one by its letter."""

from __future__ import annotations

import re
from collections.abc import Sequence

from videossr.answers.option import LETTERS, labelled, one_line, option_answer, options_in
from videossr.bench.public.annotations import Record

_LABEL = re.compile(r"[(\[]?[A-Z][)\].:]\s*")


def lettered(options: Sequence[str]) -> tuple[str, ...]:
    """Return options with the labels A., B., C., …; those that all have them already stay as they are.

    >>> lettered(["A. a cat", "B. a dog"]) == lettered(["a cat", "a dog"])
    True
    """
    if all(option.lstrip().startswith(f"{letter}.") for letter, option in zip(LETTERS, options, strict=False)):
        return tuple(map(one_line, options))
    return labelled(options)


def gold_of(record: Record, options: Sequence[str], field: str) -> str:
    """Return the gold answer of a record whose field names the right one of these options by its letter.

    Raises:
        RowError: it names none of them.
    """
    letter = record.text(field).strip()
    place = LETTERS.find(letter) if len(letter) == 1 else -1
    if not 0 <= place < len(options):
        raise record.fault(f"{field} {letter!r:.40} is the letter of none of the {len(options)} options")
    return option_answer(options, place)


def inside_answer(record: Record, question: str, name: str) -> str:
    """Write the gold answer of a question that shows its options, from the field that holds the right letter.

    Where the question shows fewer than two options on lines of their own, the letter alone is the answer.

    Raises:
        RowError: the field is not the letter of an option.
    """
    letter = record.text(name).strip().upper()
    options = [_LABEL.sub("", option, count=1) for option in options_in(question)]
    if len(letter) != 1 or letter not in (LETTERS[: len(options)] or LETTERS):
        raise record.fault(f"{name} {letter!r:.80} is the letter of none of {len(options)} options")
    return option_answer(labelled(options), LETTERS.index(letter)) if options else letter
