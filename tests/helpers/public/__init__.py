"""Folders of public benchmarks in their published schemas, with invented text and videos that are made here.

Each module is named after a benchmark and has a function `write(folder)`, a `Folder`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pyarrow as pa
import pyarrow.parquet as pq

from tests.helpers import clips


@dataclass(frozen=True)
class Folder:
    """The folder of a benchmark, which a fixture fills."""

    root: Path

    def text(self, name: str, text: str) -> None:
        """Write a text file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def json(self, name: str, value: object) -> None:
        """Write a JSON file."""
        self.text(name, json.dumps(value))

    def json_lines(self, name: str, rows: Sequence[object], *, end: str = "\n") -> None:
        """Write a file of JSON lines; `end` stands behind the last one."""
        self.text(name, "\n".join(map(json.dumps, rows)) + end)

    def parquet(self, name: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema | None = None) -> None:
        """Write a Parquet file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(rows), schema), path)

    def video(self, name: str, seconds: float = 4.0, seed: int = 0) -> None:
        """Make a video of 10 frames a second."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        clips.write(path, clips.pan(seed, round(seconds * clips.FPS)))

    def images(self, name: str, count: int, first: int = 1, seed: int = 0) -> None:
        """Make a folder of numbered images, `00001.jpg` and so on."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        for number, picture in enumerate(clips.pan(seed, count), first):
            cv2.imwrite(str(path / f"{number:05d}.jpg"), picture[..., ::-1])


def write(name: str, root: Path) -> Path:
    """Write the folder of a benchmark by its registered name, and return it."""
    importlib.import_module(f"tests.helpers.public.{name}").write(Folder(root))
    return root
