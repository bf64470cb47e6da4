"""Write, read and compare `manifest.json` of a dataset. It is written last: its presence means that all is there."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from videossr.config import changes
from videossr.errors import DataError, NotFoundError
from videossr.registry import find_entry_points
from videossr.storage.identifiers import CategoryName, Count, FileName, Line, MergedName, PluginName, Sha256
from videossr.storage.parsing import load_json, wrong_keys
from videossr.storage.paths import AnyPath, file_hash, reaching, to_path, write_text
from videossr.storage.provenance import installed_versions

NAME = "manifest.json"
LIBRARIES = ("videossr", "numpy", "opencv-python-headless", "pyarrow", "simplejpeg")
"""The libraries whose versions decide the bytes of a dataset and of its rendered samples."""

TASK_CODE, PERTURBATION_CODE = "task ", "perturbation "
"""Beginnings of the keys of hashed code in `BuildSpec.versions`; the name of the task or perturbation follows."""


class CategoryTable(TypedDict):
    """A category of a recipe, every setting written out."""

    task: PluginName
    count: Count
    config: dict[str, Any]


class RecipeTable(TypedDict):
    """A recipe, every default written out, as TOML and JSON hold it; `benchmark` and `videos` where they are set."""

    name: MergedName
    summary: str
    max_pixels: Count
    benchmark: NotRequired[bool]
    videos: NotRequired[Count]
    categories: dict[CategoryName, CategoryTable]


class CorpusTable(TypedDict):
    """The corpus of a dataset, and where it lay when the dataset was built: relative to the dataset, or an address.

    A benchmark has a copy of its own; `source` is then the hash of the corpus that it was built from.
    """

    hash: Sha256
    path: str
    source: NotRequired[Sha256]


class BuildSpec(TypedDict):
    """Everything that decides the samples of a dataset."""

    kind: Literal["dataset"]
    recipe: RecipeTable
    seed: int
    templates: dict[str, Any]
    corpus: CorpusTable
    excluded: list[Sha256]
    versions: dict[Line, Line]


class CategoryResult(TypedDict):
    """The samples that a category got, and the videos that passed its gate; of those that serve it, if not built."""

    samples: Count
    admitted: Count


class Parent(TypedDict):
    """A dataset that samples were taken from; `corpus` is the hash of its corpus."""

    hash: Sha256
    samples: Count
    recipe: RecipeTable
    seed: int
    corpus: Sha256
    excluded: list[Sha256]
    versions: dict[Line, Line]
    origin: Origin | None


class Origin(TypedDict):
    """The datasets from which a dataset was made, whose templates it shares."""

    verb: Literal["merge", "split"]
    of: list[Parent]


class Manifest(BuildSpec):
    """A `BuildSpec`, and the dataset that came of it.

    `most_used` is how many samples a video serves at the most. A dataset with an `origin` was not built, but taken from
    others: its recipe says what it holds, and its `seed` is that of the first of them.
    """

    samples: Count
    videos: Count
    most_used: Count
    categories: dict[CategoryName, CategoryResult]
    rejected: dict[Line, Count]
    files: dict[FileName, Sha256]
    hash: Sha256
    origin: Origin | None


def versions(tasks: Iterable[str], perturbations: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of `LIBRARIES`, and of the other packages that tasks and perturbations come from."""
    used = {"videossr.tasks": {*tasks}, "videossr.perturbations": {*perturbations}}
    points = [point for group, names in used.items() for point in find_entry_points(group) if point.name in names]
    owners = {point.dist.name for point in points if point.dist}
    return installed_versions(sorted({*LIBRARIES, *owners}))


def is_benchmark(made: BuildSpec) -> bool:
    """Say whether a dataset has a copy of its packs and a hash of its questions, see `videossr.builder.bundle`."""
    return made["recipe"].get("benchmark", False)


def corpus_path(out: AnyPath, corpus: AnyPath) -> str:
    """Return where a corpus is, for the manifest of the dataset `out`.

    Returns:
        Its path relative to the dataset where both are local, its absolute path or its address otherwise.
    """
    if isinstance(out, Path) and isinstance(corpus, Path):
        return os.path.relpath(corpus.resolve(), out.resolve())
    return str(corpus.resolve() if isinstance(corpus, Path) else corpus)


def corpus_place(dataset: AnyPath, manifest: BuildSpec) -> AnyPath:
    """Return where the corpus of a dataset is, from what `corpus_path` has put into its manifest. Raises DataError."""
    path = manifest["corpus"]["path"]
    if "://" in path or Path(path).is_absolute():
        return to_path(path)
    if isinstance(dataset, Path):
        try:
            return (dataset.resolve() / path).resolve()
        except ValueError as error:  # a zero byte, or a surrogate that no name of a file has
            raise DataError(f"{dataset / NAME}: damaged: {path[:80]!r} is no path of a corpus") from error
    scheme, _, rest = str(dataset).partition("://")
    host, _, folder = rest.partition("/")
    return to_path(f"{scheme}://{host}{posixpath.normpath(posixpath.join('/', folder, path))}")


def file_hashes(folder: AnyPath, names: Iterable[str]) -> dict[str, str]:
    """Hash files of a folder. Returns the SHA-256 of each in hex, by name. Raises OSError."""
    return {name: file_hash(folder / name) for name in sorted(names)}


def altered_files(dataset: AnyPath, manifest: Manifest) -> list[str]:
    """Return the names of the files of a dataset that are missing, or not as they were written. Raises OSError."""
    present = [name for name in manifest["files"] if (dataset / name).is_file()]
    hashes = file_hashes(dataset, present)
    return [name for name, digest in manifest["files"].items() if hashes.get(name) != digest]


def differences(made: Mapping[str, Any], spec: BuildSpec) -> list[str]:
    """Say key by key in what a dataset was made otherwise than it is asked for now.

    A corpus is the same wherever it lies. Of changed code the name is given instead of two hashes.

    Args:
        made: manifest of a dataset, or the spec that a stopped build began with.
        spec: of the dataset that is asked for.

    Returns:
        One phrase a key, see `videossr.config.changes`; none where both are the same.
    """
    recorded, wanted = _decisive(made, spec), _decisive(spec, spec)
    versions_then, versions_now = recorded.get("versions", {}), wanted["versions"]
    changed_code = [
        name
        for name, code in versions_now.items()
        if name.startswith((TASK_CODE, PERTURBATION_CODE)) and versions_then.get(name, code) != code
    ]
    phrases = [
        f"the code of {name} (its file, or a module of its package that it imports) has changed"
        for name in changed_code
    ]
    versions_then.update({name: versions_now[name] for name in changed_code})
    return [*phrases, *changes(recorded, wanted)]


def _decisive(table: Mapping[str, Any], spec: BuildSpec) -> dict[str, Any]:
    """Return the keys of a spec that decide the samples, as JSON holds them, of a spec or of a manifest."""
    keys = {name: table[name] for name in spec if name in table}
    if isinstance(corpus := keys.get("corpus"), dict):
        keys["corpus"] = corpus.get("source", corpus.get("hash"))
    copied: dict[str, Any] = json.loads(json.dumps(keys))
    return copied


def write_manifest(folder: AnyPath, manifest: Manifest) -> None:
    """Write the manifest of a dataset, which makes the dataset complete. Raises OSError."""
    write_text(folder / NAME, json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def read_manifest(folder: AnyPath) -> Manifest:
    """Read the manifest of a complete dataset.

    Raises:
        NotFoundError: there is none; the message says what to do.
        DataError: it is damaged, of another version, or the folder is something else.
    """
    path = folder / NAME
    try:
        with reaching(folder):
            table = load_json(path)
    except NotADirectoryError as error:
        raise NotFoundError(f"{folder} is a file, no folder of a dataset; open_questions opens rows") from error
    except FileNotFoundError as error:
        what = "is not complete; run its `videossr build` again" if folder.is_dir() else "does not exist"
        raise NotFoundError(f"{folder}: this dataset {what} (there is no {NAME})") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}; copy it again, or build it again") from error
    if not isinstance(table, dict) or table.get("kind") != "dataset":
        but = ", but a corpus" if isinstance(table, dict) and "shards" in table else ""
        raise DataError(f"{folder} is not a dataset{but}, says its {NAME}")
    try:
        return TypeAdapter(Manifest).validate_python(table)
    except ValidationError as error:
        where = wrong_keys(error)
        raise DataError(
            f"{path}: damaged, or of another version: see {where}; copy it again, or build it again"
        ) from error
