"""Text of unknown origin made safe to show: on a terminal, on a page, in a Markdown or a CSV table.

Such text is a path, a name, an answer of a model, an error of a server. Raw, it could move the cursor, change colors,
reverse the direction of writing, end a table's cell, or be run as a formula.
"""

from __future__ import annotations

import re
import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories of characters that are not printed by themselves."""

_MARKUP = frozenset("\\`*_[]<>|~#")

_FORMULA = tuple("=+-@\t\r＝＋－＠")  # noqa: RUF001
"""Beginnings of a cell that a spreadsheet takes for a formula; it reads the wide forms as the others."""


def plain_text(text: str, most: int | None = None) -> str:
    """Make text safe to show: write characters that are not printed by themselves as escapes.

    These are control characters, marks that change the direction of the text around, and lone surrogates. Line ends
    and tabs stay.

    Args:
        text: text of unknown origin.
        most: the length in characters at which the text is cut; its full length is then written behind it.
    """
    start = text if most is None else text[:most]
    shown = start if start.isprintable() else "".join(map(_shown, start))
    return shown if len(start) == len(text) else f"{shown} … ({len(text):,} characters)"


def one_line(text: str, most: int | None = None) -> str:
    """Make text safe to show on one line: like `plain_text`, with line ends and tabs escaped too.

    Args:
        text: text of unknown origin.
        most: the length in characters from which on the text is cut.
    """
    short = text if most is None or len(text) <= most else text[:most] + "…"
    return plain_text(short.replace("\r", "\\r")).replace("\n", "\\n").replace("\t", "\\t")


def markdown_cell(text: str) -> str:
    """Escape text so that it neither ends a cell of a Markdown table nor starts markup."""
    return "".join(f"\\{letter}" if letter in _MARKUP else letter for letter in _flat(text))


def markdown_code(text: str) -> str:
    """Write text as code for a cell of a Markdown table, from which backticks and bars do not break out."""
    flat = _flat(text).replace("|", "\\|")
    runs = [len(run) for run in re.findall("`+", flat)]
    fence = "`" * (max(runs, default=0) + 1)
    return f"{fence} {flat} {fence}" if runs else f"`{flat}`"


def csv_cell(value: object) -> object:
    """Make a value safe for a cell of a CSV file: text on one line, and no formula. Numbers stay numbers."""
    if not isinstance(value, str):
        return value
    quote = "'" if value.startswith(_FORMULA) else ""
    return quote + one_line(value)


def _flat(text: str) -> str:
    return " ".join(plain_text(text).split())


def _shown(letter: str) -> str:
    """Return a character, or its escape where it is not printed by itself."""
    if letter in "\n\t" or unicodedata.category(letter) not in _UNSEEN:
        return letter
    return letter.encode("ascii", "backslashreplace").decode() if ord(letter) > 127 else f"\\x{ord(letter):02x}"
