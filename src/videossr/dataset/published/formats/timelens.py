"""Annotations of TimeLens (arXiv 2512.14698): sentences about a video, and when what they say happens in it.

TimeLens-100K has lines of `source`, `video_path`, `duration` and `events`, each with a `query` and a `span`; lists that
were filtered from it have the `query` and the `span` in the row itself. TimeLens-Bench has one table of `duration`,
`queries` and `spans` by the name of the video. A sentence with several intervals asks for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from videossr.dataset.published.formats.base import RowFields, RowFormat, Table, require, short, text_of
from videossr.dataset.published.formats.golds import gold_text
from videossr.dataset.published.formats.words import words
from videossr.errors import DataError
from videossr.question import VIDEO


def split(row: Table) -> Sequence[tuple[str, Table]]:
    """Return the questions of a row; a row that cannot be split is returned whole, for `read` to say why."""
    events, queries, spans = row.get("events"), row.get("queries"), row.get("spans")
    if isinstance(events, list) and events and all(isinstance(event, Mapping) for event in events):
        shared = {name: value for name, value in row.items() if name != "events"}
        return [(f"events[{place}]", {**shared, **event}) for place, event in enumerate(events)]
    if isinstance(queries, list) and isinstance(spans, list) and 0 < len(queries) == len(spans):
        shared = {name: value for name, value in row.items() if name not in ("queries", "spans")}
        pairs = zip(queries, spans, strict=True)
        return [
            (f"queries[{place}]", {**shared, "query": query, "span": span}) for place, (query, span) in enumerate(pairs)
        ]
    return [("", row)]


def read(row: Table) -> RowFields:
    """Read a row. Raises DataError."""
    for several in ("events", "queries"):
        if row.get(several) is not None:
            other = " and as many spans" if several == "queries" else ""
            raise DataError(f"{several} is {short(row[several])}, not a list of at least one{other}")
    query = re.sub(r"\s+", " ", text_of(row, "query")).strip(" .")
    require(row, "span")
    answer = gold_text("span", row["span"], "span")
    kind = "moments" if "," in answer else "span"
    source = text_of(row, "source", "")
    return RowFields(
        data_source=f"videossr/{kind}",
        system="",
        prompt=f"{VIDEO}\n{words()['timelens'][kind].format(query=query.replace(VIDEO, 'video'))}",
        answer=answer,
        videos=[text_of(row, "video_path")],
        extra={"duration": row.get("duration")},
        category=f"{kind}/{source}" if source else kind,
    )


TIMELENS = RowFormat(
    "TimeLens", tuple(frozenset({name}) for name in ("query", "events", "queries")), read, split, has_words=True
)
