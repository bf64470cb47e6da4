"""Write and read `gates.parquet`: what the gates of every category measured of every video, admitted or not."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple

import pyarrow as pa

from videossr.corpus.entry import Entry
from videossr.dataset.schema import Row
from videossr.errors import DataError, NotFoundError
from videossr.measure import Measure
from videossr.storage.parquet import read_parquet
from videossr.storage.parsing import unpack_json
from videossr.storage.paths import AnyPath

NAME = "gates.parquet"

MEASURES = pa.schema(
    [
        ("content", pa.string()),
        ("path", pa.string()),
        ("category", pa.string()),
        ("gate", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("least", pa.bool_()),
        ("setting", pa.string()),
        ("either", pa.string()),
        ("passed", pa.bool_()),
    ]
)
"""A row a measure, by content, category, and the order in which the task gives them. See `videossr.measure.Measure`."""


def pack(measures: Iterable[Iterable[Measure]]) -> bytes:
    """Compress the measures of all categories of a video; `unpack` gives them back."""
    rows = [[astuple(measure) for measure in category] for category in measures]
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 6)


def unpack(data: bytes) -> list[list[Measure]]:
    """Return the measures that `pack` was given."""
    return [[Measure(*fields) for fields in category] for category in unpack_json(data)]


def rows(entry: Entry, gates: Mapping[str, Iterable[Measure]]) -> Iterator[Row]:
    """Yield the rows of `MEASURES` for one video, whose measures are `gates` by category."""
    for category, measures in sorted(gates.items()):
        for measure in measures:
            yield {
                "content": entry.content,
                "path": entry.path,
                "category": category,
                "gate": measure.gate,
                "value": measure.value,
                "threshold": measure.threshold,
                "least": measure.least,
                "setting": measure.setting,
                "either": measure.either,
                "passed": measure.passed,
            }


def located(dataset: AnyPath) -> AnyPath:
    """Return the path of the table. Raises NotFoundError that says what to do where there is none."""
    path = dataset / NAME
    if not path.is_file():
        raise NotFoundError(f"{dataset} has no {NAME}: name the folder of a dataset, or build it again (--rebuild)")
    return path


def read(dataset: AnyPath) -> pa.Table:
    """Read the table of a dataset, or of what a failed build has left; words are dictionary-encoded.

    Raises NotFoundError that says what to do where there is no table, ValueError when it is damaged.
    """
    path = located(dataset)
    words = [field.name for field in MEASURES if field.type == pa.string()]
    table = read_parquet(path, required=MEASURES, dictionary=words)
    if table.column_names != MEASURES.names:
        raise DataError(f"{path}: has the columns {', '.join(table.column_names)}, not {', '.join(MEASURES.names)}")
    return table.unify_dictionaries().combine_chunks()
