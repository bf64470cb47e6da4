"""Rows of EasyVideoR1 (arXiv 2604.16893): `problem`, `answer`, `videos`, `data_type`, `problem_type`, and `options`.

EasyVideoR1 puts the form of the answer behind each problem, by its type; so does this reader, in this package's words.
`preprocessed_video` names frames that were decoded before and pickled; the video itself is decoded instead.
"""

from __future__ import annotations

from collections.abc import Mapping

from videossr.dataset.published.formats.base import (
    RowFields,
    RowFormat,
    Table,
    list_of,
    require,
    short,
    text_of,
    with_videos,
)
from videossr.dataset.published.formats.golds import choice_text, gold_text, options_of
from videossr.dataset.published.formats.words import reply
from videossr.errors import DataError

TYPES: Mapping[str, str] = {
    "multiple choice": "choice",
    "boolean": "yes_no",
    "binary classification": "yes_no",
    "numerical": "number",
    "number": "number",
    "regression": "number",
    "temporal grounding": "span",
}
"""The answer type of a `problem_type`. All other types have answers that no rule of this package scores."""


def read(row: Table) -> RowFields:
    """Read a row. Raises DataError."""
    if (shown := text_of(row, "data_type", "video")) != "video":
        raise DataError(f"data_type is {short(shown)}; only videos can be shown")
    problem, problem_type = text_of(row, "problem"), text_of(row, "problem_type", "")
    kind = TYPES.get(problem_type.strip().lower().replace("_", " "), "")
    require(row, "answer")
    answer = gold_text(kind, row["answer"])
    options = options_of(row) if kind == "choice" else ()
    videos = _videos(row)
    lines = [with_videos(problem.strip(), videos), *options, *([reply(kind)] if kind else [])]
    name = kind or problem_type
    source = text_of(row, "data_source", "")
    return RowFields(
        data_source=f"videossr/{kind}" if kind else problem_type,
        system="",
        prompt="\n".join(lines),
        answer=choice_text(answer, options),
        videos=videos,
        category=f"{name}/{source}" if source and name else name,
    )


def _videos(row: Table) -> list[object]:
    """Return the videos of a row. Raises DataError."""
    if row.get("videos") or not row.get("preprocessed_video"):
        require(row, "videos")
        return [*list_of(row, "videos")]
    raise DataError(
        f"it has no videos but a preprocessed_video, {short(row['preprocessed_video'])}: a pickle, which may hold any "
        "program, is not opened; name the video itself in videos"
    )


EASYVIDEOR1 = RowFormat("EasyVideoR1", (frozenset({"problem"}), frozenset({"problem_type"})), read, has_words=True)
