"""`videossr build`: gates in parallel, quotas in hash order, draws in parallel; the same bytes from any workers."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import tomli_w

from videossr.build import table
from videossr.build.card import card
from videossr.build.draft import Drafter
from videossr.build.exclude import VIDEOS, exclude, video_row
from videossr.build.ledger import Ledger
from videossr.build.manifest import (
    NAME,
    Making,
    Manifest,
    content_hash,
    file_hashes,
    read_manifest,
    versions,
    write_manifest,
)
from videossr.build.recipe import Mixture
from videossr.build.select import Job, Selection
from videossr.store import write_text
from videossr.video.corpus import Corpus
from videossr.wording import Wording
from videossr.workers import Pool

BATCH = 16
"""Draws that a worker makes at once."""

UNFINISHED = ".unfinished"
"""Lies in the folder of a dataset from the start of its build to the end."""


@dataclass(frozen=True)
class Progress:
    """What the callback of `build` is told: the phase, and how far it is."""

    phase: str
    done: int
    total: int
    rejected: int


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
) -> Manifest:
    """Make the dataset `out` and return its manifest. One that is there already, of the same making, is left alone.

    What was rejected is in `rejected.parquet`, also when the build fails.

    Raises:
        ValueError: the corpus cannot serve the recipe, or `out` holds something else.
        CorpusError: a pack is damaged.
    """
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed must be from 0 to 2^63 - 1, got {seed}")
    exclusions = list(exclusions)
    making = Making(
        kind="dataset",
        recipe=mixture.resolved,
        seed=seed,
        wording=dict(wording),
        corpus={"hash": corpus.hash, "path": os.path.relpath(corpus.path.resolve(), out.resolve())},
        excluded=[read_manifest(path)["hash"] for path in exclusions],
        versions=versions(column.task for column in mixture.columns.values()),
    )
    if (out / NAME).exists():
        return _finished(out, making)
    if out.exists() and any(out.iterdir()) and not (out / UNFINISHED).exists():
        raise ValueError(f"{out} holds something that is not a dataset; choose another --out")
    _check_density(mixture, corpus)
    out.mkdir(parents=True, exist_ok=True)
    (out / UNFINISHED).touch()

    ledger = Ledger(corpus.videos)
    excluded = exclude(corpus.videos, exclusions)
    for video, reject in excluded.items():
        ledger.refuse(video, reject)
    usable = tuple(video for video in range(len(corpus.videos)) if video not in excluded)
    try:
        with Pool(Drafter(corpus, mixture, wording, seed, usable), workers) as pool:
            admitted = _gate(pool, ledger, mixture, usable, progress)
            _fill(pool, ledger, mixture, admitted, progress)
    finally:
        ledger.write_rejected(out)
    return _write(out, making, ledger, {name: len(videos) for name, videos in admitted.items()})


def _finished(out: Path, making: Making) -> Manifest:
    """The manifest of a dataset that is there already. Raises ValueError unless it is what would be made, and whole."""
    made = read_manifest(out)
    same = {**making, "corpus": making["corpus"]["hash"]}
    differs = [
        name for name, value in {**made, "corpus": made["corpus"]["hash"]}.items() if value != same.get(name, value)
    ]
    if differs:
        raise ValueError(f"{out} holds a dataset of other {', '.join(differs)}; choose another --out or delete it")
    there = [name for name in made["files"] if (out / name).is_file()]
    now = file_hashes(out, there)
    if altered := [name for name, digest in made["files"].items() if now.get(name) != digest]:
        raise ValueError(
            f"{out}: {', '.join(altered)} missing or altered since it was built; delete {out} to build anew"
        )
    return made


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
    pool: Pool[Drafter], ledger: Ledger, mixture: Mixture, usable: Sequence[int], progress: Callable[[Progress], None]
) -> dict[str, set[int]]:
    """For each column, the videos that it admits."""
    admitted: dict[str, set[int]] = {column: set() for column in mixture.columns}
    for done, (video, gates) in enumerate(zip(usable, pool.map(Drafter.gate, usable), strict=True), start=1):
        for column, reject in gates.items():
            if reject is None:
                admitted[column].add(video)
            else:
                ledger.refuse(video, reject, column)
        progress(Progress("gates", done, len(usable), len(ledger.refusals)))
    if empty := [column for column, videos in admitted.items() if not videos]:
        counts = ", ".join(f"{reason} ({count})" for reason, count in ledger.reasons().items())
        raise ValueError(f"no video is fit for {', '.join(empty)}. Rejected of {len(ledger.entries)} videos: {counts}")
    return admitted


def _fill(
    pool: Pool[Drafter],
    ledger: Ledger,
    mixture: Mixture,
    admitted: dict[str, set[int]],
    progress: Callable[[Progress], None],
) -> None:
    """Draw until every quota is met. Draws that fail are made up for by further ones."""
    quotas = {name: column.count for name, column in mixture.columns.items()}
    most = max(16 + 4 * quota // len(admitted[name]) for name, quota in quotas.items())
    selection = Selection(admitted, quotas, most)
    while jobs := selection.next_jobs(ledger.filled()):
        for results in pool.map(Drafter.draw, _batches(jobs)):
            for result in results:
                ledger.add(result)
            progress(Progress("draws", len(ledger.drawn), sum(quotas.values()), len(ledger.refusals)))
    filled = ledger.filled()
    if short := {name: quota - filled[name] for name, quota in quotas.items() if filled[name] < quota}:
        told = ", ".join(f"{name} lacks {lack} of {quotas[name]}" for name, lack in short.items())
        raise ValueError(f"too few samples could be drawn: {told}. Add videos, or lower the counts (--limit)")


def _batches(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """The jobs of one video together, which decodes it once, but never so many that Ctrl-C would have to wait."""
    for _, group in groupby(sorted(jobs), key=lambda job: job.video):
        own = list(group)
        yield from (own[start : start + BATCH] for start in range(0, len(own), BATCH))


def _write(out: Path, making: Making, ledger: Ledger, admitted: dict[str, int]) -> Manifest:
    """Write the files, the manifest last."""
    for unfinished in out.glob("samples-*.parquet"):
        unfinished.unlink()
    drawn = sorted(ledger.drawn.values(), key=lambda drawn: drawn.sample.id)
    rows = [table.to_row(d.sample, d.question, d.pixels, making["seed"], d.job.attempt) for d in drawn]
    uses = Counter(key for d in drawn for key in d.sample.sources)
    videos = [video_row(entry, uses[entry.key]) for entry in ledger.entries if uses[entry.key]]
    names = table.write(rows, out, "samples", table.SCHEMA)
    table.write_file(videos, out / "videos.parquet", VIDEOS)
    write_text(out / "config.toml", tomli_w.dumps(making["recipe"]))
    write_text(out / "wording.toml", tomli_w.dumps(making["wording"], multiline_strings=True))
    files = file_hashes(out, [*names, "videos.parquet", "rejected.parquet", "config.toml", "wording.toml"])
    filled = ledger.filled()
    made = Manifest(
        **making,
        samples=len(rows),
        videos=len(videos),
        most_used=max(Counter(d.job.video for d in drawn).values()),
        columns={name: {"samples": filled[name], "admitted": count} for name, count in admitted.items()},
        rejected=ledger.reasons(),
        files=files,
        hash=content_hash(making, files),
    )
    write_text(out / "README.md", card(made))
    write_manifest(out, made)
    (out / UNFINISHED).unlink()
    return made
