"""Write samples as Parquet rows, readable by `datasets.load_dataset("parquet", ...)`, and back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from videossr.clock import Clock
from videossr.errors import DataError
from videossr.question import Question
from videossr.sample import Sample, VideoKey
from videossr.storage.parquet import read_batches
from videossr.storage.parsing import parse_json
from videossr.storage.paths import AnyPath, atomic_write

Row: TypeAlias = dict[str, Any]
"""A row of a Parquet table: the values of its columns, by their names."""

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("category", pa.string()),
        ("data_source", pa.string()),
        ("system", pa.string()),
        ("prompt", pa.string()),
        ("answer", pa.string()),
        ("sources", pa.list_(pa.struct([("content", pa.string()), ("pack", pa.string())]))),
        ("slots", pa.list_(pa.struct([("source", pa.int32()), ("frame", pa.int32())]))),
        ("times_ms", pa.list_(pa.int64())),
        ("end_ms", pa.int64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("params", pa.string()),
        ("pixels", pa.string()),
        ("seed", pa.int64()),
        ("attempt", pa.int32()),
    ]
)
"""`params` is JSON; `pixels` is the fingerprint of the rendered frames; `seed` and `attempt` say how it was drawn."""

VIDEOS = pa.schema(
    [
        ("content", pa.string()),
        ("pack", pa.string()),
        ("path", pa.string()),
        ("source_id", pa.string()),
        ("samples", pa.int32()),
        ("fingerprints", pa.binary()),
    ]
)
"""The videos of a dataset: `videos.parquet`. `samples` counts those that show a frame of it."""

ROWS_PER_FILE = 10_000
COMPRESSION = "zstd"

_BATCH = 500
"""Rows that are Python objects at once."""


def to_row(sample: Sample, question: Question, pixels: str, seed: int, attempt: int) -> Row:
    """Return a row of `SCHEMA`."""
    height, width = sample.size
    return {
        "id": sample.id,
        "task": sample.task,
        "category": sample.category,
        "data_source": question.data_source,
        "system": question.system,
        "prompt": question.prompt,
        "answer": sample.answer,
        "sources": [{"content": key.content, "pack": key.pack} for key in sample.sources],
        "slots": [{"source": source, "frame": frame} for source, frame in sample.slots],
        "times_ms": list(sample.clock.times_ms),
        "end_ms": sample.clock.end_ms,
        "height": height,
        "width": width,
        "params": json.dumps(dict(sample.params), sort_keys=True, separators=(",", ":"), allow_nan=False),
        "pixels": pixels,
        "seed": seed,
        "attempt": attempt,
    }


def to_sample(row: Row) -> Sample:
    """Return the sample of a row. Raises DataError when the row is damaged, or its id is not the sample's."""
    try:
        sample = Sample(
            task=row["task"],
            category=row["category"],
            sources=tuple(VideoKey(source["content"], source["pack"]) for source in row["sources"]),
            slots=tuple((slot["source"], slot["frame"]) for slot in row["slots"]),
            clock=Clock(tuple(row["times_ms"]), row["end_ms"]),
            size=(row["height"], row["width"]),
            params=parse_json(row["params"]),
            answer=row["answer"],
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"sample {row.get('id')}: the row is damaged: {type(error).__name__}: {error}") from error
    if sample.id != row["id"]:
        raise DataError(f"sample {row['id']}: its fields give the id {sample.id}; the row was altered")
    return sample


def subset(schema: pa.Schema, columns: Iterable[str]) -> pa.Schema:
    """Return some columns of a schema, with their types."""
    return pa.schema([schema.field(name) for name in columns])


def tables(rows: Iterable[Mapping[str, object]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield the rows as tables of `ROWS_PER_FILE`, the last one shorter; few rows are Python objects at any time."""
    source = iter(rows)
    while batches := [
        pa.RecordBatch.from_pylist(batch, schema=schema)
        for _ in range(ROWS_PER_FILE // _BATCH)
        if (batch := list(islice(source, _BATCH)))
    ]:
        yield pa.Table.from_batches(batches, schema).combine_chunks()


def write_file(rows: Iterable[Mapping[str, object]], path: AnyPath, schema: pa.Schema) -> str:
    """Write one Parquet file, complete or absent; its SHA-256."""
    return write_tables(tables(rows, schema), path, schema)


def write_tables(parts: Iterable[pa.Table], path: AnyPath, schema: pa.Schema) -> str:
    """Write tables as `write_file` does rows; each becomes a row group."""
    with atomic_write(path) as partial:
        with pq.ParquetWriter(partial, schema, compression=COMPRESSION) as writer:
            for part in parts:
                writer.write_table(part)
        with partial.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def read_file(path: AnyPath, columns: Sequence[str] | pa.Schema | None = None) -> list[Row]:
    """Read the rows of one file. Raises FileNotFoundError or DataError that names it."""
    return list(read_rows(path, columns))


def read_rows(path: AnyPath, columns: Sequence[str] | pa.Schema | None = None) -> Iterator[Row]:
    """Yield the rows of one file, few at a time: of all columns or of some, by name or with their types.

    Raises as `read_file`.
    """
    for batch in read_batches(path, _BATCH, columns):
        yield from batch.to_pylist()


def sample_files(files: Iterable[str]) -> list[str]:
    """Return the names of the files of samples among all files of a dataset, in their order."""
    return sorted(name for name in files if name.startswith("samples-"))


def sample_rows(dataset: AnyPath, files: Iterable[str], columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Yield the samples of a dataset by their ids, few at a time; `files` are the names of all its files."""
    for name in sample_files(files):
        yield from read_rows(dataset / name, subset(SCHEMA, columns or SCHEMA.names))
