"""What a dataset says of itself: `manifest.json`, written last: its presence means that the dataset is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

NAME = "manifest.json"
LIBRARIES = ("videossr", "numpy", "opencv-python-headless", "pyarrow", "simplejpeg")
"""The libraries whose versions decide the bytes of a dataset and of its rendered samples."""


def versions(tasks: Iterable[str]) -> dict[str, str]:
    """Versions of these libraries, and of the other packages that `tasks` come from."""
    owners = {
        point.dist.name for name in tasks for point in entry_points(group="videossr.tasks", name=name) if point.dist
    }
    return {library: version(library) for library in sorted({*LIBRARIES, *owners})}


def file_hashes(folder: Path, names: list[str]) -> dict[str, str]:
    """SHA-256 of each file, by name."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sorted(names)}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON under a temporary name and rename it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", "utf-8")
    partial.replace(path)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a complete dataset.

    Raises FileNotFoundError that says what to do when the folder holds none.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / NAME).read_text("utf-8"))
    except FileNotFoundError as error:
        what = "is not complete; run its `videossr build` again" if folder.is_dir() else "does not exist"
        raise FileNotFoundError(f"{folder}: this dataset {what} (there is no {NAME})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / NAME}: not valid JSON: {error}") from error
    if manifest.get("kind") != "dataset":
        raise ValueError(f"{folder}: this is a {manifest.get('kind', 'folder')}, not a dataset")
    return manifest


def content_hash(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over what the dataset is: everything but where its corpus lies."""
    content = {**manifest, "corpus": manifest["corpus"]["hash"]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
