"""Samples as Parquet rows, readable by `datasets.load_dataset("parquet", ...)`, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videossr.clock import Clock
from videossr.question import Question
from videossr.sample import Sample, VideoKey
from videossr.store import replacing

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("task", pa.string()),
        ("column", pa.string()),
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

ROWS_PER_FILE = 10_000
COMPRESSION = "zstd"


def to_row(sample: Sample, question: Question, pixels: str, seed: int, attempt: int) -> dict[str, Any]:
    """A row of `SCHEMA`."""
    height, width = sample.size
    return {
        "id": sample.id,
        "task": sample.task,
        "column": sample.column,
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


def to_sample(row: Mapping[str, Any]) -> Sample:
    """The sample of a row. Raises ValueError when the row's id is not the sample's."""
    sample = Sample(
        task=row["task"],
        column=row["column"],
        sources=tuple(VideoKey(source["content"], source["pack"]) for source in row["sources"]),
        slots=tuple((slot["source"], slot["frame"]) for slot in row["slots"]),
        clock=Clock(tuple(row["times_ms"]), row["end_ms"]),
        size=(row["height"], row["width"]),
        params=json.loads(row["params"]),
        answer=row["answer"],
    )
    if sample.id != row["id"]:
        raise ValueError(f"sample {row['id']}: its fields give the id {sample.id}; the row was altered")
    return sample


def write(rows: Sequence[Mapping[str, Any]], folder: Path, stem: str, schema: pa.Schema) -> list[str]:
    """Write rows as `stem-00000.parquet`, ... each complete or absent; the names of the files."""
    names = []
    for number, start in enumerate(range(0, max(len(rows), 1), ROWS_PER_FILE)):
        name = f"{stem}-{number:05d}.parquet"
        write_file(rows[start : start + ROWS_PER_FILE], folder / name, schema)
        names.append(name)
    return names


def write_file(rows: Sequence[Mapping[str, Any]], path: Path, schema: pa.Schema) -> None:
    """Write one Parquet file under a temporary name and rename it."""
    with replacing(path) as partial:
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), partial, compression=COMPRESSION)


def read_file(path: Path) -> list[dict[str, Any]]:
    """The rows of one file. Raises FileNotFoundError or ValueError that names it."""
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file: {error}") from error
    return rows
