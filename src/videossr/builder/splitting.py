"""Split a dataset into two that share no footage. Exercised by `videossr dataset split DATASET --out A B --share 0.9`.

Videos of the same source and near-duplicates go to one side, by however many steps they hang together. Samples that
show frames of several videos (donors) tie these videos together too, unless that ties so much that the first side
cannot get its share: then the samples that would show videos of both sides are left out of both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import zip_longest

from videossr.builder.decontamination import read_footage
from videossr.builder.derivation import parent_of, write_part
from videossr.corpus.duplicates import alike
from videossr.corpus.groups import DisjointSets, choose_groups
from videossr.dataset import gate_table, schema
from videossr.dataset.gate_table import MEASURES
from videossr.dataset.hashing import read_checked
from videossr.dataset.manifest import (
    NAME,
    BuildSpec,
    Manifest,
    Origin,
    altered_files,
    corpus_path,
    corpus_place,
    read_manifest,
)
from videossr.dataset.schema import VIDEOS, Row, subset
from videossr.errors import ConfigError
from videossr.storage.output_dir import OutputDir, check_apart
from videossr.storage.paths import AnyPath

CLOSE = 0.9
"""Part of the asked samples that the first side gets at the least before samples of several videos are left out."""


def split(dataset: AnyPath, outs: tuple[AnyPath, AnyPath], count: int) -> tuple[Manifest, Manifest]:
    """Write `count` samples of `dataset`, or as many fewer as keep footage together, into the first of `outs`.

    The others go into the second. Which, is decided by the hashes of the videos alone. Samples that show videos of both
    sides are in neither, but in `rejected.parquet` of the side of their first video, as ``both_sides``; there are none
    where whole groups can be divided so that the first side gets `CLOSE` of what was asked.

    A side that an earlier run has finished is left alone when it is what would be written, so that the same command
    goes on after a kill.

    Raises:
        ConfigError: there is nothing to divide, or a side would have no sample; nothing is written then.
        OutputError: one of `outs` is something else, or another run is at work there.
    """
    check_apart(*outs)
    outputs = [OutputDir(out, "dataset split", "dataset") for out in outs]
    for output in outputs:
        if not (output.path / NAME).exists():
            output.check_free()
    manifest = read_checked(dataset)
    measured = gate_table.located(dataset)
    if not 0 < count < manifest["samples"]:
        raise ConfigError(f"{dataset} has {manifest['samples']} samples: {count} of them leave none for one side")
    first = _first(dataset, manifest, count)
    paths = {
        row["content"]: row["path"]
        for row in schema.read_rows(dataset / "videos.parquet", subset(VIDEOS, ["content", "path"]))
    }
    origin = Origin(verb="split", of=[parent_of(manifest)])
    sides = [_Side(number, dataset, manifest, first, paths) for number in range(2)]
    complete = [
        _complete(output, origin, (row["id"] for row in side.rows(["id", "sources"])))
        for side, output in zip(sides, outputs, strict=True)
    ]
    made = []
    for side, output, finished in zip(sides, outputs, complete, strict=True):
        if finished is not None:
            made.append(finished)
            continue
        spec = BuildSpec(
            kind="dataset",
            recipe=manifest["recipe"],
            seed=manifest["seed"],
            templates=manifest["templates"],
            corpus={
                "hash": manifest["corpus"]["hash"],
                "path": corpus_path(output.path, corpus_place(dataset, manifest)),
            },
            excluded=manifest["excluded"],
            versions=manifest["versions"],
        )
        videos = schema.read_rows(dataset / "videos.parquet", VIDEOS)
        gates = schema.read_rows(measured, MEASURES)
        made.append(write_part(output, spec, origin, side.rows(), videos, gates, side.left_out()))
    return made[0], made[1]


@dataclass(frozen=True)
class _Side:
    """The samples of a dataset whose first video is on one side of a split.

    Attributes:
        number: 0 for the first side, 1 for the second.
        dataset, manifest: what is split.
        first: the videos of the first side.
        paths: of all videos, for records of what is left out.
    """

    number: int
    dataset: AnyPath
    manifest: Manifest
    first: Set[str]
    paths: Mapping[str, str]

    def rows(self, columns: list[str] | None = None) -> Iterator[Row]:
        """Yield the rows of the samples whose videos are all on this side; all columns when None."""
        return (row for row, across in self._divided(columns) if not across)

    def left_out(self) -> Iterator[Row]:
        """Yield a rejection for each sample that shows videos of the other side too."""
        for row, across in self._divided(["sources", "category", "attempt"]):
            if not across:
                continue
            content = row["sources"][0]["content"]
            yield {
                "content": content,
                "path": self.paths[content],
                "category": row["category"],
                "attempt": row["attempt"],
                "reason": "both_sides",
                "value": across,
                "threshold": 0,
                "twin": None,
            }

    def _divided(self, columns: list[str] | None) -> Iterator[tuple[Row, int]]:
        """Yield the rows of this side, each with the number of its videos that are on the other."""
        for row in schema.sample_rows(self.dataset, self.manifest["files"], columns):
            sides = [int(source["content"] not in self.first) for source in row["sources"]]
            if sides[0] == self.number:
                yield row, sum(side != self.number for side in sides)


def _complete(output: OutputDir, origin: Origin, ids: Iterable[str]) -> Manifest | None:
    """Return the manifest of a side that is complete, None where it is to be written.

    Raises OutputError unless the dataset in the folder has this origin and just the samples `ids`, all as written.
    """
    out = output.path
    if not (out / NAME).exists():
        return None
    manifest = read_manifest(out)
    if (
        manifest["origin"] != origin
        or altered_files(out, manifest)
        or any(
            wanted != recorded
            for wanted, recorded in zip_longest(
                ids, (row["id"] for row in schema.sample_rows(out, manifest["files"], ["id"]))
            )
        )
    ):
        output.refuse_complete(manifest["recipe"]["name"])
    output.remove_leftovers()
    return manifest


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
    for content, other in alike(read_footage(dataset)):
        loose.join(content, other)
        tight.join(content, other)
    for content, *donors in shown:
        for donor in donors:
            loose.of(donor)
            tight.join(content, donor)
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
    """Count the samples of each group."""
    sizes: Counter[str] = Counter()
    for content, number in samples.items():
        sizes[groups.of(content)] += number
    return sizes


def _chosen(groups: DisjointSets, samples: Mapping[str, int], count: int) -> tuple[set[str], int]:
    """Choose the groups of the first side; return them, and how many samples they have."""
    sizes = _sizes(groups, samples)
    chosen = choose_groups(sizes, count)
    return chosen, sum(sizes[group] for group in chosen)
