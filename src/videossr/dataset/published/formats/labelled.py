"""Rows in this package's own words: a video or frames, a prompt, an answer and its type.

{"video": "a.mp4", "prompt": "How many goals are scored?", "answer": 3, "answer_type": "number"}
"""

from __future__ import annotations

from videossr.answers.base import ANSWER_TYPES
from videossr.dataset.published.formats.base import (
    RowFields,
    RowFormat,
    Table,
    entries_of,
    list_of,
    require,
    text_of,
    with_videos,
)
from videossr.dataset.published.formats.golds import gold_text
from videossr.errors import DataError
from videossr.registry import suggest


def read(row: Table) -> RowFields:
    """Read a row. Raises DataError."""
    kind = text_of(row, "answer_type", "")
    if kind and kind not in ANSWER_TYPES.names():
        raise DataError(f"there is no answer_type {kind!r}{suggest(kind, ANSWER_TYPES.names())}")
    prompt = text_of(row, "prompt")
    require(row, "answer")
    videos = entries_of(_videos(row), row)
    return RowFields(
        data_source=f"videossr/{kind}" if kind else "",
        system=text_of(row, "system", ""),
        prompt=with_videos(prompt, videos),
        answer=gold_text(kind, row["answer"]),
        videos=videos,
        category=text_of(row, "category", kind),
    )


def _videos(row: Table) -> list[object]:
    """Return the clips of a row: of one of the fields `video`, `frames` and `videos`. Raises DataError."""
    given = [name for name in ("video", "frames", "videos") if row.get(name) is not None]
    if not given:
        raise DataError("there is no video, nor frames, nor videos")
    if len(given) > 1:
        raise DataError(f"it has both {' and '.join(given)}")
    return [*list_of(row, "videos")] if given == ["videos"] else [row[given[0]]]


LABELLED = RowFormat("videossr", (frozenset({"answer_type"}), frozenset({"prompt", "answer"})), read)
