"""Keeping datasets apart: which videos of a corpus are, or look like, those of other datasets (`--exclude`).

Videos are compared by the hash of the file, by source id where the index was given one, and by near-duplicate frames.
Donors count: a dataset lists every video that it shows frames of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from videossr.build import table
from videossr.sample import Reject
from videossr.store import Place
from videossr.video.fingerprint import NEAR_SHARE, Fingerprints, largest_share
from videossr.video.pack import Entry

VIDEOS = pa.schema(
    [
        ("content", pa.string()),
        ("pack", pa.string()),
        ("path", pa.string()),
        ("source_id", pa.string()),
        ("samples", pa.int32()),
        ("fingerprints", pa.list_(pa.uint64())),
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
        "fingerprints": list(entry.fingerprints),
    }


def exclude(entries: Sequence[Entry], datasets: Iterable[Place]) -> Mapping[int, Reject]:
    """Indices of the entries that some dataset uses already, each with what gave it away.

    Raises FileNotFoundError for a path that is no complete dataset.
    """
    contents: set[str] = set()
    sources: set[str] = set()
    known: list[Fingerprints] = []
    for dataset in datasets:
        for row in table.read_rows(dataset / "videos.parquet", ["content", "source_id", "fingerprints"]):
            contents.add(row["content"])
            known.append(np.array(row["fingerprints"], np.uint64))
            if row["source_id"] is not None:
                sources.add(row["source_id"])
    rejects: dict[int, Reject] = {}
    for index, entry in enumerate(entries):
        if entry.key.content in contents:
            rejects[index] = Reject("excluded_content", 1, 0)
        elif entry.source_id in sources:
            rejects[index] = Reject("excluded_source", 1, 0)
        elif (share := largest_share(np.array(entry.fingerprints, np.uint64), known)) >= NEAR_SHARE:
            rejects[index] = Reject("excluded_near", share, NEAR_SHARE)
    return rejects
