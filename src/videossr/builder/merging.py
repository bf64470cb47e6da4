"""Merge datasets into one. Exercised by `videossr dataset merge DATASET ... --out DATASET`."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from videossr.builder.decontamination import footage_row
from videossr.builder.derivation import parent_of, write_part
from videossr.builder.rejections import rejection_counts
from videossr.config import changes
from videossr.corpus.corpus import Corpus
from videossr.corpus.duplicates import NEAR_SHARE, DuplicatePair, Footage, find_twins
from videossr.dataset import gate_table, schema
from videossr.dataset.gate_table import MEASURES
from videossr.dataset.hashing import read_checked
from videossr.dataset.manifest import (
    NAME,
    BuildSpec,
    CategoryTable,
    Manifest,
    Origin,
    RecipeTable,
    altered_files,
    corpus_path,
    corpus_place,
    read_manifest,
)
from videossr.dataset.schema import VIDEOS, Row
from videossr.errors import ConfigError, DataError, OutputError
from videossr.sample import VideoKey
from videossr.storage.output_dir import OutputDir
from videossr.storage.paths import AnyPath
from videossr.storage.provenance import merge_versions

_TOLD = ["id", "sources", "category", "attempt"]
"""The columns of a sample that decide what is told of it."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The result of `merge`.

    Attributes:
        manifest: of the dataset.
        near: the videos that look like one of an earlier dataset.
        complete: whether the dataset was there already, so that nothing was written.
    """

    manifest: Manifest
    near: list[DuplicatePair]
    complete: bool


def merge(
    datasets: Sequence[AnyPath], out: AnyPath, *, corpus: AnyPath | None = None, drop_near: bool = False
) -> Merged:
    """Write the samples of all `datasets` into the new dataset `out`.

    A sample that several have is taken from the first. Where the datasets come from several corpora, the videos of each
    are compared with those of the ones before it: near-duplicates are returned, and with `drop_near` no sample shows
    one. What is left out is in `rejected.parquet`, as ``drawn_before`` or ``near_duplicate``.

    A dataset in `out` that the same merge has made is left alone, so that the same call can be made again after a kill.

    Args:
        datasets: two or more, of the same wording; where categories have the same name, of the same config.
        out: a new folder, or one that the same merge has begun or finished.
        corpus: that has the videos of all of them; needed where they come from several corpora.
        drop_near: leave out the samples that show a near-duplicate.

    Raises:
        ConfigError: there is one dataset only.
        DataError: the datasets do not fit together.
        OutputError: `out` is something else, or a dataset that was made otherwise; the message names what differs. Or
            another run is at work there.
        CorpusError: `corpus` lacks a video.
    """
    if len(datasets) < 2:
        raise ConfigError("merge needs two datasets or more")
    output = OutputDir(out, "dataset merge", "dataset")
    finished = _finished(output)
    manifests = [read_checked(dataset) for dataset in datasets]
    gates = [gate_table.located(dataset) for dataset in datasets]
    one_corpus = len({manifest["corpus"]["hash"] for manifest in manifests}) == 1
    videos, near = _videos(datasets, compare=not one_corpus)
    spec = BuildSpec(
        kind="dataset",
        recipe=_recipe(datasets, manifests),
        seed=manifests[0]["seed"],
        templates=manifests[0]["templates"],
        corpus={"hash": manifests[0]["corpus"]["hash"], "path": ""},
        excluded=[
            known for known in manifests[0]["excluded"] if all(known in manifest["excluded"] for manifest in manifests)
        ],
        versions=merge_versions(manifest["versions"] for manifest in manifests),
    )
    if corpus is not None:
        opened = Corpus(corpus)
        opened.check_hash()
        for content, row in videos.items():
            opened.entry(VideoKey(content, row["pack"]))
        spec["corpus"] = {"hash": opened.hash, "path": corpus_path(out, opened.path)}
    elif one_corpus:
        spec["corpus"]["path"] = corpus_path(out, corpus_place(datasets[0], manifests[0]))
    else:
        raise DataError(
            f"{datasets[0]} and others come from different corpora: name one that has the videos of all with --corpus "
            "(`videossr corpus merge` makes it)"
        )
    dropped = near if drop_near else {}
    rows = (row for row, rejection in _rows(datasets, manifests, videos, dropped) if rejection is None)
    left_out = (
        rejection for _, rejection in _rows(datasets, manifests, videos, dropped, _TOLD) if rejection is not None
    )
    origin = Origin(verb="merge", of=[parent_of(manifest) for manifest in manifests])
    if finished is not None:
        _check_same(output, finished, _decisive(origin, spec["corpus"]["hash"], rejection_counts(left_out)))
        output.remove_leftovers()
        return Merged(finished, list(near.values()), complete=True)
    ordered = (videos[content] for content in sorted(videos))
    made = write_part(output, spec, origin, rows, ordered, _gates(gates), left_out)
    return Merged(made, list(near.values()), complete=False)


def _finished(output: OutputDir) -> Manifest | None:
    """Return the manifest of the dataset that is in the folder already; None where the folder can take a new one.

    Raises OutputError where it holds something else, or a damaged dataset.
    """
    if not (output.path / NAME).exists():
        output.check_free()
        return None
    try:
        return read_manifest(output.path)
    except DataError as error:
        raise OutputError(
            f"{error}. Choose another --out, or delete {output.path} if it is a damaged dataset"
        ) from error


def _decisive(origin: Origin | None, corpus: str, rejected: Mapping[str, int]) -> dict[str, Any]:
    """Lay out what decides a merged dataset: its parts, its corpus, and how many samples are left out and why."""
    parts = {str(number): part for number, part in enumerate(origin["of"], 1)} if origin else {}
    return {
        "origin": {"verb": origin and origin["verb"], "of": parts},
        "corpus": corpus,
        "rejected": rejected,
    }


def _check_same(output: OutputDir, finished: Manifest, wanted: Mapping[str, Any]) -> None:
    """Raise OutputError unless a finished dataset is what a merge would write, each file as it was written."""
    recorded = _decisive(finished["origin"], finished["corpus"]["hash"], finished["rejected"])
    output.refuse_differences(changes(recorded, wanted))
    if altered := altered_files(output.path, finished):
        raise OutputError(
            f"{output.path} holds a dataset of which {', '.join(altered)} is missing or altered since it was merged. "
            f"Choose another --out, or delete {output.path}"
        )


def _recipe(datasets: Sequence[AnyPath], manifests: Sequence[Manifest]) -> RecipeTable:
    """Return the categories of all recipes. Raises DataError where they, or the templates, contradict each other."""
    categories: dict[str, CategoryTable] = {}
    home: dict[str, AnyPath] = {}
    for dataset, manifest in zip(datasets, manifests, strict=True):
        if manifest["templates"] != manifests[0]["templates"]:
            raise DataError(
                f"{dataset} and {datasets[0]} are worded differently: build one with the other's templates.toml"
            )
        for name, category in manifest["recipe"]["categories"].items():
            known = categories.setdefault(name, category)
            if {**known, "count": 0} != {**category, "count": 0}:
                raise DataError(
                    f"categories.{name} has another config in {dataset} than in {home[name]}: build one of them with "
                    "another name for it"
                )
            home.setdefault(name, dataset)
    names = "+".join(dict.fromkeys(manifest["recipe"]["name"] for manifest in manifests))
    return {
        "name": names,
        "summary": " ".join(dict.fromkeys(manifest["recipe"]["summary"] for manifest in manifests)).strip(),
        "max_pixels": max(manifest["recipe"]["max_pixels"] for manifest in manifests),
        "categories": categories,
    }


def _videos(datasets: Sequence[AnyPath], *, compare: bool) -> tuple[dict[str, Row], dict[str, DuplicatePair]]:
    """Return, by content, the row of each video, and those that are near to a video of an earlier dataset."""
    videos: dict[str, Row] = {}
    sets: list[list[Footage]] = []
    for dataset in datasets:
        sets.append([])
        for row in schema.read_rows(dataset / "videos.parquet", VIDEOS):
            content = row["content"]
            if content not in videos:
                videos[content] = row
                sets[-1].append(footage_row(dataset, row))
            elif row["pack"] != videos[content]["pack"]:
                raise DataError(
                    f"{dataset} has video {content[:12]} ({row['path']}) in another decoded form than a dataset "
                    "before it: build both from corpora of the same configuration"
                )
    return videos, find_twins(sets) if compare else {}


def _gates(tables: Sequence[AnyPath]) -> Iterator[Row]:
    """Yield what the gates measured, by content; of a video and category that several tables have, from the first."""

    def numbered(number: int) -> Iterator[tuple[str, int, Row]]:
        return ((row["content"], number, row) for row in schema.read_rows(tables[number], MEASURES))

    sources = map(numbered, range(len(tables)))
    for _, members in groupby(heapq.merge(*sources, key=lambda item: item[:2]), key=lambda item: item[0]):
        home: dict[str, int] = {}
        yield from (row for _, number, row in members if home.setdefault(row["category"], number) == number)


def _rows(
    datasets: Sequence[AnyPath],
    manifests: Sequence[Manifest],
    videos: dict[str, Row],
    dropped: dict[str, DuplicatePair],
    columns: list[str] | None = None,
) -> Iterator[tuple[Row, Row | None]]:
    """Yield all rows by their ids, or some columns of them, each with its row of `rejected.parquet` if left out."""
    sources = (
        ((row["id"], number, row) for row in schema.sample_rows(dataset, manifest["files"], columns))
        for number, (dataset, manifest) in enumerate(zip(datasets, manifests, strict=True))
    )
    last = ""
    for sample_id, _, row in heapq.merge(*sources, key=lambda item: item[:2]):
        shown = [source["content"] for source in row["sources"]]
        nearest = max(shown, key=lambda content: dropped[content].share if content in dropped else 0.0)
        if sample_id == last:
            video = videos[shown[0]]
            verdict = {"reason": "drawn_before", "value": 1.0, "threshold": 0.0, "twin": None}
        elif (twin := dropped.get(nearest)) is not None:
            video = videos[nearest]
            value = round(twin.share, 4)
            verdict = {"reason": "near_duplicate", "value": value, "threshold": NEAR_SHARE, "twin": twin.twin}
        else:
            last = sample_id
            yield row, None
            continue
        source = {"content": video["content"], "path": video["path"]}
        yield row, source | {"category": row["category"], "attempt": row["attempt"]} | verdict
