"""Gold answers as texts, from the values that rows give: numbers, lists, true and false, letters, options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from videossr.answers.option import labelled, parse_option
from videossr.answers.windows import window_answer
from videossr.dataset.published.formats.base import Table, list_of, short
from videossr.errors import DataError
from videossr.rewards import outside_thoughts, parse_choice

_LATEST = 1e9
"""Seconds that no video lasts; numbers beyond them would overflow."""

INTERVALS = ("span", "interval", "moments", "windows")
"""Answer types whose answers are intervals of seconds."""


def gold_text(kind: str, value: object, name: str = "answer") -> str:
    """Write a gold answer as its answer type reads it.

    A text is taken as it is, or what stands in its `<answer>`; true and false are yes and no. An interval may be
    `[14.5, 26.2]` or `{"time": [14.5, 26.2]}`, several are a list of such pairs, and an order or counts a list of whole
    numbers; all of these may be written as JSON in a text.

    Args:
        kind: name of the answer type; empty where it is not known.
        value: of the row.
        name: of its field, for messages.

    Raises:
        DataError: the value is none of these.
    """
    if isinstance(value, str):
        text = outside_thoughts(value).strip()
        if not text.startswith(("[", "{")):
            return text
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text
    if isinstance(value, Mapping) and kind in INTERVALS:
        value = value.get("time")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Sequence) and value and not isinstance(value, str | bytes):
        if kind in INTERVALS and _is_pair(value):
            return window_answer([(value[0], value[1])])
        if all(_is_pair(item) for item in value):
            return window_answer([(start, end) for start, end in value])
        if kind not in INTERVALS and all(isinstance(item, int) and not isinstance(item, bool) for item in value):
            return ",".join(map(str, value))
    raise DataError(f"{name} is {short(value)}, which is no answer" + f" of the type {kind}" * bool(kind))


def _is_pair(value: Any) -> bool:
    """Tell whether a value is two times in seconds."""
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(item, int | float) and not isinstance(item, bool) and 0 <= item < _LATEST for item in value)
    )


def options_of(row: Table) -> tuple[str, ...]:
    """Return the options of a row with their letters; none where it has no `options`. Raises DataError."""
    if not row.get("options"):
        return ()
    options = list_of(row, "options")
    if not all(isinstance(option, str) and option.strip() for option in options):
        raise DataError(f"options is {short(options)}, not a list of texts")
    labels = [option.split()[0] for option in options]
    letters = [parse_choice(label) if len(label) > 1 else None for label in labels]  # "A" alone may be a word
    if letters == [chr(ord("A") + place) for place in range(len(options))]:
        return tuple(" ".join(option.split()) for option in options)
    try:
        return labelled(options)
    except ValueError as error:
        raise DataError(str(error)) from error


def choice_text(answer: str, options: Sequence[str]) -> str:
    """Return the letter of a gold answer, which may be the letter or the text of one of the options.

    Raises:
        DataError: it is neither.
    """
    if not options:
        return answer
    letter = parse_option(answer, "\n".join([options[0], *options]))
    if letter is None:
        raise DataError(f"answer is {short(answer)}, which is none of the {len(options)} options")
    return letter.upper()
