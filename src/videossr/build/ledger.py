"""What became of every video and draw of a build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from videossr.build import table
from videossr.build.draft import Drawn, Failed
from videossr.sample import Reject
from videossr.video.pack import Entry

REJECTED = pa.schema(
    [
        ("content", pa.string()),
        ("path", pa.string()),
        ("column", pa.string()),
        ("attempt", pa.int32()),
        ("reason", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
    ]
)
"""What was not used: `column` is empty for a video excluded whole, `attempt` is empty for a gate."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One rejection: of a video as a whole (no column), by a gate (no attempt), or of a draw."""

    video: int
    column: str | None
    attempt: int | None
    reject: Reject


@dataclass
class Ledger:
    """Samples by their id, and rejections in the order in which they were found."""

    entries: Sequence[Entry]
    drawn: dict[str, Drawn] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, video: int, reject: Reject, column: str | None = None, attempt: int | None = None) -> None:
        self.refusals.append(Refusal(video, column, attempt, reject))

    def add(self, result: Drawn | Failed) -> None:
        job = result.job
        if isinstance(result, Failed):
            self.refuse(job.video, result.reject, job.column, job.attempt)
        elif result.sample.id in self.drawn:
            self.refuse(job.video, Reject("drawn_before", 1, 0), job.column, job.attempt)
        else:
            self.drawn[result.sample.id] = result

    def filled(self) -> Counter[str]:
        """How many samples each column has."""
        return Counter(drawn.job.column for drawn in self.drawn.values())

    def reasons(self) -> dict[str, int]:
        """`column: reason` -> how many rejections."""
        return dict(Counter(f"{refusal.column or 'excluded'}: {refusal.reject.reason}" for refusal in self.refusals))

    def write_rejected(self, folder: Path) -> None:
        """Write `rejected.parquet`."""
        rows = []
        for refusal in self.refusals:
            entry = self.entries[refusal.video]
            rows.append(
                {
                    "content": entry.content,
                    "path": entry.path,
                    "column": refusal.column,
                    "attempt": refusal.attempt,
                    "reason": refusal.reject.reason,
                    # Sums of floats may differ in their last digits from one processor to another.
                    "value": round(refusal.reject.value, 4),
                    "threshold": round(refusal.reject.threshold, 4),
                }
            )
        table.write_file(rows, folder / "rejected.parquet", REJECTED)
