"""`videossr build`: gates in parallel, quotas in hash order, draws in parallel; the same bytes from any workers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import tomli_w

from videossr.build import manifest as manifests
from videossr.build import table
from videossr.build.card import card
from videossr.build.draft import Drafter, Drawn, Failed
from videossr.build.exclude import VIDEOS, exclude, video_row
from videossr.build.recipe import Mixture
from videossr.build.select import Selection
from videossr.sample import Reject
from videossr.video.pack import Corpus, Entry
from videossr.wording import Wording
from videossr.workers import Pool

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


@dataclass(frozen=True)
class Progress:
    """What the callback of `build` is told: the phase, and how far it is."""

    phase: str
    done: int
    total: int
    rejected: int


@dataclass
class _Ledger:
    """What became of every video and draw."""

    entries: Sequence[Entry]
    drawn: dict[str, Drawn] = field(default_factory=dict)
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def reject(self, index: int, column: str | None, attempt: int | None, reject: Reject) -> None:
        entry = self.entries[index]
        self.rejected.append(
            {
                "content": entry.key.content,
                "path": entry.path,
                "column": column,
                "attempt": attempt,
                "reason": reject.reason,
                # Sums of floats may differ in their last digits from one processor to another.
                "value": round(reject.value, 4),
                "threshold": round(reject.threshold, 4),
            }
        )

    def add(self, result: Drawn | Failed) -> None:
        job = result.job
        if isinstance(result, Failed):
            self.reject(job.video, job.column, job.attempt, result.reject)
        elif result.sample.id in self.drawn:
            self.reject(job.video, job.column, job.attempt, Reject("drawn_before", 1, 0))
        else:
            self.drawn[result.sample.id] = result


def build(
    mixture: Mixture,
    corpus: Corpus,
    out: Path,
    *,
    wording: Wording,
    seed: int = 0,
    exclusions: Iterable[Path] = (),
    workers: int = 1,
    progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Make the dataset `out` and return its manifest. One that is there already, of the same making, is left alone.

    Raises ValueError when the corpus cannot serve the recipe, or when `out` holds something else.
    """
    exclusions = list(exclusions)
    making: dict[str, Any] = {
        "kind": "dataset",
        "recipe": mixture.resolved,
        "seed": seed,
        "wording": wording,
        "corpus": {"hash": corpus.hash, "path": os.path.relpath(corpus.path, out)},
        "excluded": [manifests.read_manifest(path)["hash"] for path in exclusions],
        "versions": manifests.versions(column.task for column in mixture.columns.values()),
    }
    if (out / manifests.NAME).exists():
        made = manifests.read_manifest(out)
        differs = [name for name, value in making.items() if name != "corpus" and made.get(name) != value]
        differs += ["corpus"] if made["corpus"]["hash"] != corpus.hash else []
        if differs:
            raise ValueError(f"{out} holds a dataset of other {', '.join(differs)}; choose another --out or delete it")
        return made
    if out.exists() and (strange := _strange(out)):
        raise ValueError(f"{out} is not an unfinished dataset (it holds {strange}); choose another --out")
    _check_density(mixture, corpus)

    ledger = _Ledger(corpus.videos)
    for index, reject in exclude(corpus.videos, exclusions).items():
        ledger.reject(index, None, None, reject)
    unusable = {row["content"] for row in ledger.rejected}
    usable = tuple(index for index, entry in enumerate(corpus.videos) if entry.key.content not in unusable)
    with Pool(Drafter(corpus, mixture, wording, seed, usable), workers) as pool:
        admitted = _gate(pool, ledger, mixture, usable, progress)
        _fill(pool, ledger, mixture, admitted, progress)

    rows = sorted(ledger.drawn.values(), key=lambda drawn: drawn.sample.id)
    sample_rows = [table.to_row(d.sample, d.question, d.pixels, seed, d.job.attempt) for d in rows]
    uses = Counter(key for drawn in rows for key in drawn.sample.sources)
    video_rows = [video_row(entry, uses[entry.key]) for entry in corpus.videos if uses[entry.key]]
    served = Counter(drawn.job.video for drawn in rows)
    filled = Counter(drawn.job.column for drawn in rows)

    out.mkdir(parents=True, exist_ok=True)
    for unfinished in out.glob("samples-*.parquet"):
        unfinished.unlink()
    files = table.write(sample_rows, out, "samples", table.SCHEMA)
    table.write_file(video_rows, out / "videos.parquet", VIDEOS)
    table.write_file(ledger.rejected, out / "rejected.parquet", REJECTED)
    (out / "config.toml").write_text(tomli_w.dumps(mixture.resolved), "utf-8")
    (out / "wording.toml").write_text(tomli_w.dumps(wording, multiline_strings=True), "utf-8")
    files += ["videos.parquet", "rejected.parquet", "config.toml", "wording.toml"]
    made = {
        **making,
        "samples": len(rows),
        "videos": len(video_rows),
        "most_used": max(served.values()),
        "columns": {name: {"samples": filled[name], "admitted": len(admitted[name])} for name in mixture.columns},
        "rejected": dict(Counter(f"{row['column'] or 'excluded'}: {row['reason']}" for row in ledger.rejected)),
        "files": manifests.file_hashes(out, files),
    }
    made["hash"] = manifests.content_hash(made)
    (out / "README.md").write_text(card(made), "utf-8")
    manifests.write_json(out / manifests.NAME, made)
    return made


def _strange(out: Path) -> str:
    """A file that `build` would not have written, or ''."""
    known = ("samples-", "videos.parquet", "rejected.parquet", "config.toml", "wording.toml", "README.md", ".")
    return next((path.name for path in sorted(out.iterdir()) if not path.name.startswith(known)), "")


def _check_density(mixture: Mixture, corpus: Corpus) -> None:
    """Refuse, before any work, a recipe that needs frames which no video of the corpus has."""
    kept = {len(entry.clock) for entry in corpus.videos}
    for name, task in mixture.tasks.items():
        slots, density = task.needs(mixture.knobs[name])
        if not any(frames % slots == 0 and frames >= slots * density for frames in kept):
            raise ValueError(
                f"columns.{name} needs videos of {slots * density} frames, or more in steps of {slots}; those of "
                f"{corpus.path} have {', '.join(map(str, sorted(kept)[:3])) or 'none'}. Index them anew:\n"
                f"  videossr index VIDEOS --out {corpus.path}-{slots * density} --frames {slots * density}"
            )


def _gate(
    pool: Pool[Drafter], ledger: _Ledger, mixture: Mixture, usable: Sequence[int], progress: Callable[[Progress], None]
) -> dict[str, set[int]]:
    """For each column, the videos that it admits."""
    admitted: dict[str, set[int]] = {column: set() for column in mixture.columns}
    results = pool.map(Drafter.gate, usable)
    for done, (index, gates) in enumerate(zip(usable, results, strict=True), start=1):
        for column, reject in gates.items():
            if reject is None:
                admitted[column].add(index)
            else:
                ledger.reject(index, column, None, reject)
        progress(Progress("gates", done, len(usable), len(ledger.rejected)))
    empty = [column for column, videos in admitted.items() if not videos]
    if empty:
        reasons = Counter(f"{row['column']}: {row['reason']}" for row in ledger.rejected if row["column"] in empty)
        told = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
        raise ValueError(f"no video of {len(usable)} is fit for {', '.join(empty)}: {told}")
    return admitted


def _fill(
    pool: Pool[Drafter],
    ledger: _Ledger,
    mixture: Mixture,
    admitted: dict[str, set[int]],
    progress: Callable[[Progress], None],
) -> None:
    """Draw until every quota is met. Draws that fail are made up for by further ones."""
    quotas = {name: column.count for name, column in mixture.columns.items()}
    most = {name: 16 + 4 * quota // len(admitted[name]) for name, quota in quotas.items()}
    selection = Selection(admitted, quotas, max(most.values()))
    while True:
        filled = Counter(drawn.job.column for drawn in ledger.drawn.values())
        jobs = selection.next_jobs(filled)
        if not jobs:
            break
        by_video = [list(group) for _, group in groupby(sorted(jobs), key=lambda job: job.video)]
        for results in pool.map(Drafter.draw, by_video):
            for result in results:
                ledger.add(result)
            progress(Progress("draws", len(ledger.drawn), sum(quotas.values()), len(ledger.rejected)))
    if short := {name: quota - filled[name] for name, quota in quotas.items() if filled[name] < quota}:
        told = ", ".join(f"{name} lacks {lack} of {quotas[name]}" for name, lack in short.items())
        raise ValueError(f"too few samples could be drawn: {told}. Add videos, or lower the counts (--limit)")
