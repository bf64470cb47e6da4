"""Compute the hash of a dataset from its contents, and refuse a dataset whose manifest states another one.

Results quote the hash of a dataset, so that two with the same hash have been asked the same questions. What a manifest
states is what somebody wrote there. `check_hash` is called before a run, an export, a gallery, a merge or a split, and
where a report shows frames.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping

from videossr.dataset import schema
from videossr.dataset.manifest import NAME, BuildSpec, Manifest, file_hashes, is_benchmark, read_manifest
from videossr.errors import DataError
from videossr.storage.parquet import count_rows
from videossr.storage.paths import AnyPath, file_hash

FROZEN = (
    "id", "task", "category", "data_source", "system", "prompt", "answer", "sources", "slots", "times_ms", "end_ms",
    "height", "width", "params", "pixels",
)  # fmt: skip
"""Columns of a sample that the hash of a benchmark covers: what is asked, the answer, and the pixels.

`sources` holds the hash of every video's JPEGs, `pixels` that of the frames as they are rendered. How a sample came to
be drawn (`seed`, `attempt`) is left out.
"""


def questions_hash(rows: Iterable[Mapping[str, object]]) -> str:
    """Hash the questions of a benchmark and the pixels they rest on.

    The hash does not depend on where the corpus lay, what else was in it, what its files were called, on the number of
    workers, or on how Parquet lays out the rows.

    Args:
        rows: of the samples, ascending by id, with the columns `FROZEN` at least.

    Returns:
        SHA-256 in hex.
    """
    digest = hashlib.sha256()
    for row in rows:
        frozen = {name: row[name] for name in FROZEN}
        digest.update(json.dumps(frozen, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def content_hash(made: Manifest, files: Mapping[str, str]) -> str:
    """Hash how a dataset was made and its samples, not how its source files are called or where they lie.

    Args:
        made: manifest of the dataset; its `hash` is left out.
        files: SHA-256 of its files, by name.

    Returns:
        SHA-256 in hex.
    """
    spec = {name: made[name] for name in BuildSpec.__annotations__ if name in made}  # type: ignore[literal-required]
    samples = {name: digest for name, digest in files.items() if name.startswith("samples-")}
    content = {**spec, "corpus": made["corpus"]["hash"], "samples": samples, "origin": made["origin"]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def dataset_hash(dataset: AnyPath, manifest: Manifest, files: Mapping[str, str] | None = None) -> str:
    """Compute the hash of a dataset from its files of samples: `questions_hash` of a benchmark, else `content_hash`.

    Args:
        dataset: its folder.
        manifest: its manifest, whose `hash` is not read.
        files: SHA-256 of its files of samples by name, and maybe of others, where they have been computed already.

    Returns:
        SHA-256 in hex.

    Raises:
        FileNotFoundError, DataError: a file of samples is missing or damaged.
    """
    if is_benchmark(manifest):
        return questions_hash(schema.sample_rows(dataset, manifest["files"], [*FROZEN]))
    if files is None:
        files = file_hashes(dataset, schema.sample_files(manifest["files"]))
    return content_hash(manifest, files)


def check_count(dataset: AnyPath, manifest: Manifest, rows: int) -> None:
    """Raise DataError where a dataset has another number of samples than its manifest states."""
    if rows != manifest["samples"]:
        raise DataError(f"{dataset} has {rows} samples, and its {NAME} states {manifest['samples']}: {_AGAIN}")


def check_hash(dataset: AnyPath, manifest: Manifest) -> None:
    """Raise DataError where a dataset is not what its manifest states: its samples, their number, or the hash."""
    files = file_hashes(dataset, schema.sample_files(manifest["files"]))
    for name, digest in files.items():
        if digest != manifest["files"][name]:
            raise DataError(f"{dataset / name} was altered since it was written: {_AGAIN}")
    check_count(dataset, manifest, sum(count_rows(dataset / name) for name in files))
    if (computed := dataset_hash(dataset, manifest, files)) != manifest["hash"]:
        raise DataError(
            f"{dataset} was altered since it was built: its contents have the hash {computed[:12]}, its {NAME} states "
            f"{manifest['hash'][:12]}: {_AGAIN}"
        )


_AGAIN = "copy the dataset again, or build it again"


def read_checked(dataset: AnyPath) -> Manifest:
    """Read the manifest of a dataset that others are made from or kept apart from.

    Raises DataError as `check_hash`, and where `videos.parquet` was altered or lacks a video that a sample shows.
    """
    manifest = read_manifest(dataset)
    check_hash(dataset, manifest)
    path = dataset / "videos.parquet"
    if not path.is_file() or file_hash(path) != manifest["files"].get(path.name):
        raise DataError(f"{path} is missing or was altered since it was written: {_AGAIN}")
    columns = schema.subset(schema.VIDEOS, ["content", "pack"])
    known = {(row["content"], row["pack"]) for row in schema.read_rows(path, columns)}
    for row in schema.sample_rows(dataset, manifest["files"], ["id", "sources"]):
        if not all((source["content"], source["pack"]) in known for source in row["sources"]):
            raise DataError(f"{path} lacks a video that sample {row['id']} shows: {_AGAIN}")
    return manifest
