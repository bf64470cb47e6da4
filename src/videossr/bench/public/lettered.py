"""Options and the gold answer of a row that names the right one by its letter.

Whatever labels are published, an option is shown, and kept in the gold answer, as `A. text`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from videossr.answers.option import LETTERS, MARK, labelled, option_answer, options_in, single_line
from videossr.bench.public.annotations import Record

_MARKED = rf"{MARK}(?![A-Z][.)])"
"""A label; `A.M.` and the like are none."""

_LABEL = re.compile(rf"\s*{_MARKED}\s*(.*)", re.DOTALL)
_BETWEEN = re.compile(rf"[\"']?[,;\s]+[\"']?(?={_MARKED})")


def split_label(option: str) -> tuple[str, str]:
    """Split an option into its letter, which may lack, and its text.

    >>> split_label("(A)red")
    ('A', 'red')
    """
    match = _LABEL.fullmatch(option)
    return (match[1], match[2]) if match else ("", option)


def split_options(line: str) -> list[str]:
    """Split options that are published as one text, before the labels B, C, … in turn.

    >>> split_options("A. red, B.blue; C. both")
    ['A. red', 'B.blue', 'C. both']
    """
    found: list[str] = []
    start = 0
    for match in _BETWEEN.finditer(line):
        if match[1] == LETTERS[len(found) + 1 : len(found) + 2]:
            found.append(line[start : match.start()])
            start = match.end()
    return [option.strip("\"' ") for option in (*found, line[start:])]


def lettered(options: Sequence[str]) -> tuple[str, ...]:
    """Return options with the labels A., B., C., …, in the place of those that all of them may have already.

    >>> lettered(["(A)a cat", "(B)a dog"]) == lettered(["a cat", "a dog"])
    True

    Raises:
        ValueError: there are more options than letters.
    """
    parts = [split_label(option) for option in options]
    if all(label == letter for (label, _), letter in zip(parts, LETTERS, strict=False)):
        options = [text for _, text in parts]
    return tuple(map(single_line, labelled(options)))


def options_of(record: Record, options: Sequence[str]) -> tuple[str, ...]:
    """Return the options of a record as they are shown, see `lettered`. Raises RowError for too many."""
    try:
        return lettered(options)
    except ValueError as error:
        raise record.fault(str(error)) from error


def options_inside(question: str) -> tuple[str, ...]:
    """Return the options that a question shows at its end, with the labels A., B., C., …; none for fewer than two."""
    return lettered(options_in(question))


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
    options = options_inside(question)
    if len(letter) != 1 or letter not in (LETTERS[: len(options)] or LETTERS):
        raise record.fault(f"{name} {letter!r:.80} is the letter of none of {len(options)} options")
    return option_answer(options, LETTERS.index(letter)) if options else letter


def identity(record: Record, field: str) -> str:
    """Return a field that must be a text, or a whole number in its place, as a text. Raises RowError."""
    value = record.fields.get(field)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(record.integer(field)) if whole else record.text(field)
