"""Keeping datasets apart: which videos of a corpus are, or look like, those of other datasets (`--exclude`).

Videos are compared by the hash of the file, by source id where the index was given one, and by near-duplicate frames.
Donors count: a dataset lists every video that it shows frames of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from videossr.corpus.duplicates import NEAR_SHARE, near_duplicates
from videossr.corpus.fingerprint import Fingerprints, Packed, unpack
from videossr.corpus.pack import Entry
from videossr.dataset import schema
from videossr.errors import DataError
from videossr.sample import Rejection
from videossr.storage.paths import AnyPath

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


def video_row(entry: Entry, samples: int) -> dict[str, Any]:
    """A row of `videos.parquet`."""
    return {
        "content": entry.key.content,
        "pack": entry.key.pack,
        "path": entry.path,
        "source_id": entry.source_id,
        "samples": samples,
        "fingerprints": entry.fingerprints,
    }


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a video is excluded, and `twin`: the path of the video of another dataset that gave it away."""

    reject: Rejection
    twin: str


def _unpacked(dataset: AnyPath, data: Packed) -> Fingerprints:
    try:
        return unpack(data)
    except ValueError as error:
        raise DataError(f"{dataset}: {error}") from error


def find_excluded(entries: Sequence[Entry], datasets: Iterable[AnyPath]) -> Mapping[int, Exclusion]:
    """Indices of the entries that some dataset uses already, each with what gave it away.

    Raises FileNotFoundError for a path that is no complete dataset.
    """
    contents: dict[str, str] = {}
    sources: dict[str, str] = {}
    paths: list[str] = []
    prints: list[Fingerprints] = []
    for dataset in datasets:
        for row in schema.read_rows(dataset / "videos.parquet", ["content", "source_id", "path", "fingerprints"]):
            contents.setdefault(row["content"], row["path"])
            paths.append(row["path"])
            prints.append(_unpacked(dataset, row["fingerprints"]))
            if row["source_id"] is not None:
                sources.setdefault(row["source_id"], row["path"])
    found: dict[int, Exclusion] = {}
    compared: list[int] = []
    for index, entry in enumerate(entries):
        if entry.key.content in contents:
            found[index] = Exclusion(Rejection("excluded_content", 1, 0), contents[entry.key.content])
        elif entry.source_id is not None and entry.source_id in sources:
            found[index] = Exclusion(Rejection("excluded_source", 1, 0), sources[entry.source_id])
        elif paths:
            compared.append(index)
            prints.append(unpack(entry.fingerprints))
    sets = [int(number >= len(paths)) for number in range(len(prints))]
    for twin in near_duplicates(prints, sets):
        reject = Rejection("excluded_near", twin.share, NEAR_SHARE)
        found.setdefault(compared[twin.video - len(paths)], Exclusion(reject, paths[twin.other]))
    return dict(sorted(found.items()))
