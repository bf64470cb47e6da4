"""Rows of ms-swift: `messages`, `videos`, the `solution`, and perhaps `chat_template_kwargs` for its video reader.

Without a `solution`, as in data for supervised training, the assistant's turn is the gold answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from videossr.dataset.published.formats.base import (
    RowFields,
    RowFormat,
    Table,
    entries_of,
    list_of,
    require,
    short,
    text_of,
    turns_of,
    with_videos,
)
from videossr.dataset.published.formats.golds import gold_text
from videossr.errors import DataError

_TURNS = (["user"], ["system", "user"], ["user", "assistant"], ["system", "user", "assistant"])


def read(row: Table) -> RowFields:
    """Read a row. Raises DataError."""
    turns = turns_of(row, "messages", _TURNS)
    answer = turns.get("assistant") if row.get("solution") is None else row["solution"]
    if answer is None:
        raise DataError("there is no solution, nor a turn of the assistant")
    require(row, "videos")
    shown = row.get("chat_template_kwargs") or {}
    if not isinstance(shown, Mapping):
        raise DataError(f"chat_template_kwargs is {short(shown)}, not a table")
    videos = entries_of(list_of(row, "videos"), shown)
    source = text_of(row, "data_source", "")
    return RowFields(
        data_source=source,
        system=turns.get("system", ""),
        prompt=with_videos(turns["user"], videos),
        answer=gold_text(source.rpartition("/")[2], answer, "solution"),
        videos=videos,
    )


SWIFT = RowFormat("ms-swift", (frozenset({"messages"}),), read)
