"""Record why videos and draws gave no sample, for `rejected.parquet` and the counts in the manifest of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from videossr.corpus.entry import Entry
from videossr.dataset.schema import Row
from videossr.sample import Rejection

REJECTED = pa.schema(
    [
        ("content", pa.string()),
        ("path", pa.string()),
        ("category", pa.string()),
        ("attempt", pa.int32()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("twin", pa.string()),
    ]
)
"""Columns of `rejected.parquet`: `category` is empty for a video excluded whole, `attempt` is empty for a gate.

`twin` is the path of the other video, where one is excluded or left out because of it.
"""


@dataclass(frozen=True, slots=True)
class RejectionRecord:
    """One rejection: of a video as a whole (no category), by a gate (no attempt), or of a draw.

    `twin` is the path of the video that a video is excluded for.
    """

    video: int
    category: str | None
    attempt: int | None
    reject: Rejection
    twin: str | None = None

    def row(self, entry: Entry) -> Row:
        """Return the row of `REJECTED`."""
        return {
            "content": entry.content,
            "path": entry.path,
            "category": self.category,
            "attempt": self.attempt,
            "reason": self.reject.reason,
            # Sums of floats may differ in their last digits from one processor to another.
            "value": round(self.reject.value, 4),
            "threshold": round(self.reject.threshold, 4),
            "twin": self.twin,
        }


def reasons(rejection_records: Iterable[RejectionRecord]) -> dict[str, int]:
    """Count records of rejections by ``category: reason``."""
    counts = Counter(f"{record.category or 'excluded'}: {record.reject.reason}" for record in rejection_records)
    return dict(counts)


def rejection_counts(rejected: Iterable[Row]) -> dict[str, int]:
    """Count rows of `REJECTED` by ``category: reason``, as the manifest of a dataset has them."""
    return dict(Counter(f"{row['category']}: {row['reason']}" for row in rejected))
