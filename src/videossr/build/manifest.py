"""What a dataset says of itself: `manifest.json`, written last: its presence means that the dataset is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points, version
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from videossr.store import Place, write_text

NAME = "manifest.json"
LIBRARIES = ("videossr", "numpy", "opencv-python-headless", "pyarrow", "simplejpeg")
"""The libraries whose versions decide the bytes of a dataset and of its rendered samples."""


class ColumnTable(TypedDict):
    """A column of a recipe, every knob written out."""

    task: str
    count: int
    knobs: dict[str, Any]


class RecipeTable(TypedDict):
    """A recipe, every default written out, as TOML and JSON hold it."""

    name: str
    summary: str
    max_pixels: int
    columns: dict[str, ColumnTable]


class CorpusTable(TypedDict):
    """Which corpus, and where it lay when the dataset was built, relative to the dataset."""

    hash: str
    path: str


class Making(TypedDict):
    """Everything that decides what a dataset holds."""

    kind: Literal["dataset"]
    recipe: RecipeTable
    seed: int
    wording: dict[str, Any]
    corpus: CorpusTable
    excluded: list[str]
    versions: dict[str, str]


class ColumnResult(TypedDict):
    """How many samples a column got, and how many videos passed its gate."""

    samples: int
    admitted: int


class Manifest(Making):
    """The making, and what came of it. `most_used` is how many samples a video serves at the most."""

    samples: int
    videos: int
    most_used: int
    columns: dict[str, ColumnResult]
    rejected: dict[str, int]
    files: dict[str, str]
    hash: str


def versions(tasks: Iterable[str]) -> dict[str, str]:
    """Versions of these libraries, and of the other packages that `tasks` come from."""
    points = (point for task in tasks for point in entry_points(group="videossr.tasks", name=task))
    owners = {point.dist.name for point in points if point.dist}
    return {library: version(library) for library in sorted({*LIBRARIES, *owners})}


def file_hashes(folder: Place, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of each file, by name."""
    return {name: _digest(folder / name) for name in sorted(names)}


def _digest(path: Place) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(made: Mapping[str, Any], making: Making) -> list[str]:
    """What `made` was made of otherwise; a corpus is the same wherever it lies."""
    return [
        name
        for name, value in making.items()
        if (value["hash"] != made[name]["hash"] if name == "corpus" else value != made[name])  # type: ignore[index]
    ]


def content_hash(made: Making, files: Mapping[str, str]) -> str:
    """SHA-256 over how a dataset was made and over its samples; not over what its sources are called or lie at."""
    making = {name: made[name] for name in Making.__annotations__ if name in made}  # type: ignore[literal-required]
    samples = {name: digest for name, digest in files.items() if name.startswith("samples-")}
    content = {**making, "corpus": made["corpus"]["hash"], "samples": samples}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_manifest(folder: Place, manifest: Manifest) -> None:
    """Write it, under a temporary name first."""
    write_text(folder / NAME, json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def read_manifest(folder: Place) -> Manifest:
    """The manifest of a complete dataset.

    Raises FileNotFoundError that says what to do when the folder holds none, and ValueError when it is damaged.
    """
    path = folder / NAME
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        what = "is not complete; run its `videossr build` again" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(f"{folder}: this dataset {what} (there is no {NAME})") from error
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != "dataset":
        raise ValueError(f"{folder} is not a dataset, says its {NAME}")
    try:
        return TypeAdapter(Manifest).validate_python(found)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        raise ValueError(f"{path}: damaged, or of another version: see {places}") from error
