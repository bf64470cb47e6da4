"""Two datasets out of one, that share no footage. Exercised by `videossr dataset split DATASET --out A B --share 0.9`.

Samples stay together when they show a frame of the same video, as a donor too, or of clips of the same source, or of
near-duplicates: what hangs together so, by however many steps, goes to one side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from videossr.build import table
from videossr.build.manifest import (
    NAME,
    Making,
    Manifest,
    Origin,
    corpus_path,
    corpus_place,
    file_hashes,
    read_manifest,
)
from videossr.build.parts import ancestor, refuse_finished, write_part
from videossr.store import UNFINISHED, Place, is_local
from videossr.video.fingerprint import NEAR_SHARE, Fingerprints, shares


def split(dataset: Place, outs: tuple[Place, Place], count: int) -> tuple[Manifest, Manifest]:
    """Write `count` samples of `dataset`, or as many fewer as keep footage together, into the first of `outs`.

    The others go into the second. Which, is decided by the hashes of the videos alone.

    A side that an earlier run has finished is left alone when it is what would be written, so that the same command
    goes on after a kill.

    Raises ValueError when there is nothing to divide, or an `out` is something else.
    """
    one, other = (f"{out.resolve()}".rstrip("/") + "/" for out in outs)
    if one.startswith(other) or other.startswith(one):
        raise ValueError(f"{outs[0]} and {outs[1]} are the same folder, or one is in the other: name two with --out")
    for out in outs:
        _refuse_foreign(out)
    manifest = read_manifest(dataset)
    if not 0 < count < manifest["samples"]:
        raise ValueError(f"{dataset} has {manifest['samples']} samples: {count} of them leave none for one side")
    first = _first(dataset, manifest, count)
    origin = Origin(verb="split", of=[ancestor(manifest)])

    def rows(side: int, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        for row in table.sample_rows(dataset, manifest["files"], columns):
            if (row["sources"][0]["content"] not in first) == bool(side):
                yield row

    done = [
        _finished(out, origin, (row["id"] for row in rows(side, ["id", "sources"]))) for side, out in enumerate(outs)
    ]
    made = []
    for side, out in enumerate(outs):
        if (there := done[side]) is not None:
            made.append(there)
            continue
        making = Making(
            kind="dataset",
            recipe=manifest["recipe"],
            seed=manifest["seed"],
            wording=manifest["wording"],
            corpus={
                "hash": manifest["corpus"]["hash"],
                "path": corpus_path(out, corpus_place(dataset, manifest)),
            },
            excluded=manifest["excluded"],
            versions=manifest["versions"],
        )
        made.append(write_part(out, making, origin, rows(side), table.read_rows(dataset / "videos.parquet")))
    return made[0], made[1]


def _refuse_foreign(out: Place) -> None:
    """Before the other side is written. Raises ValueError where something else than a dataset lies."""
    if not is_local(out) or not out.exists() or (out / NAME).exists() or (out / UNFINISHED).exists():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise ValueError(f"{out} holds something that is not a dataset; choose another --out")


def _finished(out: Place, origin: Origin, ids: Iterable[str]) -> Manifest | None:
    """The manifest of `out`, None where no dataset is. Raises ValueError unless it holds just the samples `ids`."""
    if not (out / NAME).exists():
        return None
    there = read_manifest(out)
    if (
        there["origin"] != origin
        or file_hashes(out, there["files"]) != there["files"]
        or any(
            one != other
            for one, other in zip_longest(ids, (row["id"] for row in table.sample_rows(out, there["files"], ["id"])))
        )
    ):
        refuse_finished(out)
    return there


def _first(dataset: Place, manifest: Manifest, count: int) -> set[str]:
    """The videos of the first side. Raises ValueError when everything hangs together."""
    samples: Counter[str] = Counter()
    groups = _Groups()
    for row in table.sample_rows(dataset, manifest["files"], ["sources"]):
        contents = [source["content"] for source in row["sources"]]
        samples[contents[0]] += 1
        for content in contents:
            groups.join(contents[0], content)
    for one, other in _alike(dataset):
        groups.join(one, other)
    sizes: Counter[str] = Counter()
    for content, number in samples.items():
        sizes[groups.of(content)] += number
    chosen: set[str] = set()
    left = count
    for group, size in sorted(sizes.items()):  # by the least hash of a group, which is as good as chance
        if size <= left:
            chosen.add(group)
            left -= size
    if not chosen:
        raise ValueError(
            f"{dataset} cannot be split so: of {len(sizes)} groups of videos that hang together by donors, source or "
            f"likeness, the smallest has {min(sizes.values())} samples. Build two datasets, one with --exclude"
        )
    return {content for content in groups if groups.of(content) in chosen}


def _alike(dataset: Place) -> Iterator[tuple[str, str]]:
    """Pairs of videos of the same source, and of near-duplicates."""
    contents: list[str] = []
    prints: list[Fingerprints] = []
    sources: dict[str, str] = {}
    for row in table.read_rows(dataset / "videos.parquet"):
        if row["source_id"] is not None:
            yield row["content"], sources.setdefault(row["source_id"], row["content"])
        own = np.array(row["fingerprints"], np.uint64)
        for at in np.flatnonzero(shares(own, prints) >= NEAR_SHARE):
            yield row["content"], contents[at]
        contents.append(row["content"])
        prints.append(own)


class _Groups:
    """Sets of videos; each is called after the least hash in it."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._parent)

    def of(self, content: str) -> str:
        root = content
        while (above := self._parent.setdefault(root, root)) != root:
            root = above
        while content != root:  # the next time the way is short
            self._parent[content], content = root, self._parent[content]
        return root

    def join(self, one: str, other: str) -> None:
        low, high = sorted((self.of(one), self.of(other)))
        self._parent[high] = low
