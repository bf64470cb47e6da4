"""Two datasets out of one, that share no footage. Exercised by `videossr dataset split DATASET --out A B --share 0.9`.

Videos of the same source and near-duplicates go to one side, by however many steps they hang together. Samples that
show frames of several videos (donors) tie these videos together too, unless that ties so much that the first side
cannot get its share: then the samples that would show videos of both sides are left out of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

from videossr.builder.derivation import parent_of, refuse_finished, write_part
from videossr.corpus.duplicates import alike
from videossr.corpus.groups import DisjointSets, choose_groups
from videossr.dataset import gate_table, schema
from videossr.dataset.manifest import (
    NAME,
    BuildSpec,
    Manifest,
    Origin,
    corpus_path,
    corpus_place,
    file_hashes,
    read_manifest,
)
from videossr.errors import ConfigError, OutputError
from videossr.storage.paths import UNFINISHED, AnyPath, check_apart, is_local

CLOSE = 0.9
"""Part of the asked samples that the first side gets at the least before samples of several videos are left out."""


def split(dataset: AnyPath, outs: tuple[AnyPath, AnyPath], count: int) -> tuple[Manifest, Manifest]:
    """Write `count` samples of `dataset`, or as many fewer as keep footage together, into the first of `outs`.

    The others go into the second. Which, is decided by the hashes of the videos alone. Samples that show videos of both
    sides are in neither, but in `rejected.parquet` of the side of their first video, as ``both_sides``; there are none
    where whole groups can be divided so that the first side gets `CLOSE` of what was asked.

    A side that an earlier run has finished is left alone when it is what would be written, so that the same command
    goes on after a kill.

    Raises ValueError when there is nothing to divide, a side would have no sample, or an `out` is something else;
    nothing is written then.
    """
    check_apart(outs)
    for out in outs:
        _refuse_foreign(out)
    manifest = read_manifest(dataset)
    measured = gate_table.located(dataset)
    if not 0 < count < manifest["samples"]:
        raise ConfigError(f"{dataset} has {manifest['samples']} samples: {count} of them leave none for one side")
    first = _first(dataset, manifest, count)
    paths = {row["content"]: row["path"] for row in schema.read_rows(dataset / "videos.parquet", ["content", "path"])}
    origin = Origin(verb="split", of=[parent_of(manifest)])

    def divided(
        side: int, columns: list[str] | None = None, *, crossing: bool = False
    ) -> Iterator[tuple[dict[str, Any], int]]:
        """The rows of a side, each with the number of its videos that are on the other."""
        for row in schema.sample_rows(dataset, manifest["files"], columns):
            sides = [int(source["content"] not in first) for source in row["sources"]]
            across = sum(each != side for each in sides)
            if sides[0] == side and bool(across) == crossing:
                yield row, across

    def rows(side: int, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        return (row for row, _ in divided(side, columns))

    def left_out(side: int) -> Iterator[dict[str, Any]]:
        for row, across in divided(side, ["sources", "category", "attempt"], crossing=True):
            content = row["sources"][0]["content"]
            yield {
                "content": content,
                "path": paths[content],
                "category": row["category"],
                "attempt": row["attempt"],
                "reason": "both_sides",
                "value": across,
                "threshold": 0,
                "twin": None,
            }

    done = [
        _finished(out, origin, (row["id"] for row in rows(side, ["id", "sources"]))) for side, out in enumerate(outs)
    ]
    made = []
    for side, out in enumerate(outs):
        if (there := done[side]) is not None:
            made.append(there)
            continue
        spec = BuildSpec(
            kind="dataset",
            recipe=manifest["recipe"],
            seed=manifest["seed"],
            templates=manifest["templates"],
            corpus={
                "hash": manifest["corpus"]["hash"],
                "path": corpus_path(out, corpus_place(dataset, manifest)),
            },
            excluded=manifest["excluded"],
            versions=manifest["versions"],
        )
        videos = schema.read_rows(dataset / "videos.parquet")
        gates = schema.read_rows(measured)
        made.append(write_part(out, spec, origin, rows(side), videos, gates, left_out(side)))
    return made[0], made[1]


def _refuse_foreign(out: AnyPath) -> None:
    """Before the other side is written. Raises ValueError where something else than a dataset lies."""
    if not is_local(out) or not out.exists() or (out / NAME).exists() or (out / UNFINISHED).exists():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise OutputError(f"{out} holds something that is not a dataset; choose another --out")


def _finished(out: AnyPath, origin: Origin, ids: Iterable[str]) -> Manifest | None:
    """The manifest of `out`, None where no dataset is. Raises ValueError unless it holds just the samples `ids`."""
    if not (out / NAME).exists():
        return None
    there = read_manifest(out)
    if (
        there["origin"] != origin
        or file_hashes(out, there["files"]) != there["files"]
        or any(
            one != other
            for one, other in zip_longest(ids, (row["id"] for row in schema.sample_rows(out, there["files"], ["id"])))
        )
    ):
        refuse_finished(out)
    return there


def _first(dataset: AnyPath, manifest: Manifest, count: int) -> set[str]:
    """Choose the videos of the first side.

    Raises ValueError when no choice leaves a sample on each side.
    """
    samples: Counter[str] = Counter()
    shown: Counter[tuple[str, ...]] = Counter()  # samples by all the videos that they show
    loose, tight = DisjointSets(), DisjointSets()  # without donors, and with them
    for row in schema.sample_rows(dataset, manifest["files"], ["sources"]):
        contents = tuple(source["content"] for source in row["sources"])
        samples[contents[0]] += 1
        shown[contents] += 1
    facts = schema.read_rows(dataset / "videos.parquet", ["content", "source_id", "fingerprints"])
    for one, other in alike((row["content"], row["source_id"], row["fingerprints"]) for row in facts):
        loose.join(one, other)
        tight.join(one, other)
    for own, *others in shown:
        for other in others:
            loose.of(other)
            tight.join(own, other)
    together, reached = _chosen(tight, samples, count)
    apart, _ = _chosen(loose, samples, count)
    choices = [(tight, together), (loose, apart)]
    for groups, chosen in choices if reached >= CLOSE * count else reversed(choices):
        first = {content for content in groups if groups.of(content) in chosen}
        if all(_left(shown, first)):
            return first
    sizes = _sizes(loose, samples)
    if not apart:
        raise ConfigError(
            f"{dataset} cannot be split so: of {len(sizes)} groups of videos that share a source or look alike, the "
            f"smallest has {min(sizes.values())} samples. Ask for more of them, or divide the corpus before building "
            "(videossr corpus split)"
        )
    raise ConfigError(
        f"{dataset} cannot be split so: with {count} samples asked for the first side, all samples of one side would "
        "show videos of both sides (donors), and would be left out. Ask for another --count or --share, nearer to one "
        "half, or divide the corpus before building (videossr corpus split)"
    )


def _left(shown: Mapping[tuple[str, ...], int], first: set[str]) -> tuple[int, int]:
    """Count the samples of each side that show videos of that side alone."""
    sides = [0, 0]
    for contents, number in shown.items():
        on = {content not in first for content in contents}
        if len(on) == 1:
            sides[on.pop()] += number
    return sides[0], sides[1]


def _sizes(groups: DisjointSets, samples: Mapping[str, int]) -> Counter[str]:
    """How many samples each group has."""
    sizes: Counter[str] = Counter()
    for content, number in samples.items():
        sizes[groups.of(content)] += number
    return sizes


def _chosen(groups: DisjointSets, samples: Mapping[str, int], count: int) -> tuple[set[str], int]:
    """The groups of the first side, and how many samples they have."""
    sizes = _sizes(groups, samples)
    chosen = choose_groups(sizes, count)
    return chosen, sum(sizes[group] for group in chosen)
