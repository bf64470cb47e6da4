"""What a dataset says of itself: `manifest.json`, written last: its presence means that the dataset is whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from videossr.config import changes
from videossr.errors import DataError
from videossr.storage.paths import AnyPath, file_hash, reaching, to_path, write_text
from videossr.storage.provenance import installed_versions

NAME = "manifest.json"
LIBRARIES = ("videossr", "numpy", "opencv-python-headless", "pyarrow", "simplejpeg")
"""The libraries whose versions decide the bytes of a dataset and of its rendered samples."""

TASK_CODE = "task "
"""What the key of a task's code begins with in `BuildSpec.versions`; the name of the task follows."""


class CategoryTable(TypedDict):
    """A category of a recipe, every setting written out."""

    task: str
    count: int
    config: dict[str, Any]


class RecipeTable(TypedDict):
    """A recipe, every default written out, as TOML and JSON hold it; `benchmark` and `videos` where they are set."""

    name: str
    summary: str
    max_pixels: int
    benchmark: NotRequired[bool]
    videos: NotRequired[int]
    categories: dict[str, CategoryTable]


class CorpusTable(TypedDict):
    """Which corpus, and where it lay when the dataset was built: relative to the dataset, or an address.

    A benchmark carries its own; `source` is then the hash of the corpus that it was built from.
    """

    hash: str
    path: str
    source: NotRequired[str]


class BuildSpec(TypedDict):
    """Everything that decides what a dataset holds."""

    kind: Literal["dataset"]
    recipe: RecipeTable
    seed: int
    templates: dict[str, Any]
    corpus: CorpusTable
    excluded: list[str]
    versions: dict[str, str]


class CategoryResult(TypedDict):
    """How many samples a category got, and how many videos passed its gate; of those that serve it, if not built."""

    samples: int
    admitted: int


class Parent(TypedDict):
    """A dataset that samples were taken from; `corpus` is the hash of its corpus."""

    hash: str
    samples: int
    recipe: RecipeTable
    seed: int
    corpus: str
    excluded: list[str]
    versions: dict[str, str]
    origin: Origin | None


class Origin(TypedDict):
    """How a dataset came from others, whose wording it shares."""

    verb: Literal["merge", "split"]
    of: list[Parent]


class Manifest(BuildSpec):
    """The making, and what came of it.

    `most_used` is how many samples a video serves at the most. A dataset with an `origin` was not built, but taken from
    others: its recipe says what it holds, and its `seed` is that of the first of them.
    """

    samples: int
    videos: int
    most_used: int
    categories: dict[str, CategoryResult]
    rejected: dict[str, int]
    files: dict[str, str]
    hash: str
    origin: Origin | None


def versions(tasks: Iterable[str]) -> dict[str, str]:
    """Return the versions of `LIBRARIES`, and of the other packages that `tasks` come from."""
    points = (point for task in tasks for point in entry_points(group="videossr.tasks", name=task))
    owners = {point.dist.name for point in points if point.dist}
    return installed_versions(sorted({*LIBRARIES, *owners}))


def is_benchmark(made: BuildSpec) -> bool:
    """Whether a dataset carries its packs and has a frozen hash, see `videossr.builder.bundle`."""
    return made["recipe"].get("benchmark", False)


def corpus_path(out: AnyPath, corpus: AnyPath) -> str:
    """Where `corpus` is, seen from the dataset `out` where both are local; its address otherwise."""
    if isinstance(out, Path) and isinstance(corpus, Path):
        return os.path.relpath(corpus.resolve(), out.resolve())
    return str(corpus.resolve() if isinstance(corpus, Path) else corpus)


def corpus_place(dataset: AnyPath, manifest: BuildSpec) -> AnyPath:
    """The same back: where the corpus of `dataset` is."""
    path = manifest["corpus"]["path"]
    if "://" in path or Path(path).is_absolute():
        return to_path(path)
    return (dataset.resolve() / path).resolve()


def file_hashes(folder: AnyPath, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file, by name."""
    return {name: file_hash(folder / name) for name in sorted(names)}


def differences(made: Mapping[str, Any], spec: BuildSpec) -> list[str]:
    """Say key by key in what `made` was made otherwise, see `videossr.config.changes`.

    A corpus is the same wherever it lies. Of changed code the name of the task is told instead of two hashes.
    """

    def decisive(table: Mapping[str, Any]) -> dict[str, Any]:
        found = {name: table[name] for name in spec if name in table}
        if isinstance(corpus := found.get("corpus"), dict):
            found["corpus"] = corpus.get("source", corpus.get("hash"))
        # The recipe as JSON holds it: the manifest that it is compared with was read from a file.
        copied: dict[str, Any] = json.loads(json.dumps(found))
        return copied

    there, now = decisive(made), decisive(spec)
    recorded = there.get("versions", {})
    changed = [
        name
        for name, code in now["versions"].items()
        if name.startswith(TASK_CODE) and recorded.get(name, code) != code
    ]
    recorded.update({name: now["versions"][name] for name in changed})
    return [
        *(
            f"the code of task {name.removeprefix(TASK_CODE)} (its file, or a module of its package that it imports) "
            "has changed"
            for name in changed
        ),
        *changes(there, now),
    ]


def content_hash(made: Manifest, files: Mapping[str, str]) -> str:
    """SHA-256 over how a dataset was made and over its samples; not over what its sources are called or lie at."""
    spec = {name: made[name] for name in BuildSpec.__annotations__ if name in made}  # type: ignore[literal-required]
    samples = {name: digest for name, digest in files.items() if name.startswith("samples-")}
    content = {**spec, "corpus": made["corpus"]["hash"], "samples": samples, "origin": made["origin"]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(folder: AnyPath, manifest: Manifest) -> None:
    """Write it, under a temporary name first."""
    write_text(folder / NAME, json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def read_manifest(folder: AnyPath) -> Manifest:
    """The manifest of a complete dataset.

    Raises FileNotFoundError that says what to do when the folder holds none, and ValueError when it is damaged.
    """
    path = folder / NAME
    try:
        with reaching(folder):
            text = path.read_text("utf-8")
        found = json.loads(text)
    except FileNotFoundError as error:
        what = "is not complete; run its `videossr build` again" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(f"{folder}: this dataset {what} (there is no {NAME})") from error
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != "dataset":
        told = ", but a corpus" if isinstance(found, dict) and "shards" in found else ""
        raise DataError(f"{folder} is not a dataset{told}, says its {NAME}")
    try:
        return TypeAdapter(Manifest).validate_python(found)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise DataError(f"{path}: damaged, or of another version: see {places}") from error
