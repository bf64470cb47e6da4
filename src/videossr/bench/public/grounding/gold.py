"""Helpers of the grounding benchmarks: nested annotation files as one record a query, and gold windows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from itertools import zip_longest

from videossr.answers.windows import Window, read_windows, window_answer
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Rule
from videossr.rewards import interval_overlap

CATEGORY = "grounding"
"""Of the questions of benchmarks that have only one kind."""


_DASHED = re.compile(r"(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)")


def first_dashed(text: str, gold: str) -> float | None:
    """Score as the paper's released script does: the first `number - number`, against the first gold window.

    The ends may stand in either order. None where there is no such pair, as in `24.3s - 30.4s` or with a longer dash.
    """
    match = _DASHED.search(text)
    if match is None:
        return None
    start, end = sorted(map(float, match.groups()))
    return interval_overlap((start, end), read_windows(gold)[0])


RELEASED = Rule(
    "As the paper's released script counts: the first `number - number` against the first gold window; an answer "
    "without one leaves the denominator.",
    first_dashed,
    counts_unread=False,
)
"""The rule `released` of the four grounding benchmarks of the paper."""


def queries(data: Data, name: str, spans: str, sentences: str, **context: str) -> Iterator[Record]:
    """Yield a record for each query of a JSON object that holds, for each video, a list of spans and one of sentences.

    A record has the fields of its video, with only its own span and sentence in the two lists. Its context says which
    video it is about, and which query of it, from 1. What has no partner in the other list yields a record without it.
    """
    for video, entry in data.json_table(name).items():
        fields = entry if isinstance(entry, Mapping) else {}
        pairs = zip_longest(_items(fields.get(spans)), _items(fields.get(sentences)))
        for number, (span, sentence) in enumerate(pairs, 1):
            yield Record(
                f"{data.root / name}, {video}, query {number}",
                {**fields, spans: [span], sentences: [sentence]},
                {**context, "video": video, "query": str(number)},
            )


def _items(value: object) -> list[object]:
    """Return a list; one of a single nothing where it is missing or empty, so that its video is not passed over."""
    return value if isinstance(value, list) and value else [None]


def sentence(record: Record, name: str) -> str:
    """Return the one sentence of a list, with single blanks and without the period at its end. Raises RowError."""
    text = " ".join(record.texts(name)[0].split()).rstrip(" .")
    if not text:
        raise record.fault(f"{name} holds a blank text")
    return text


def gold_windows(record: Record, windows: tuple[Window, ...], length: float = math.inf) -> str:
    """Write the gold answer of some windows, whose ends are clipped to the length of the video. Raises RowError."""
    clipped = [(start, min(end, length)) for start, end in windows]
    for (start, end), window in zip(clipped, windows, strict=True):
        if not 0 <= start <= end:
            raise record.fault(f"window {window} does not start within the video and before its end")
    return window_answer(clipped)
