"""Keep the unfinished work of `videossr index`: hashes of files, and videos that wait for the rest of their pack.

What is kept came whole from a worker. A line or a file that a kill cut short counts as absent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from pydantic import TypeAdapter

from videossr.corpus.decode_worker import Piece
from videossr.corpus.entry import Entry, RejectedFile, entry_json, entry_of
from videossr.corpus.pack import PIECE
from videossr.corpus.sources import Input
from videossr.storage.identifiers import Sha256
from videossr.storage.jsonl import JsonlWriter, read_jsonl
from videossr.storage.parsing import load_json

_REJECTED, _ENTRY = TypeAdapter(RejectedFile), TypeAdapter(Entry)


class _HashedFile(NamedTuple):
    """A line of `hashes.jsonl`; for `stamp` see `videossr.storage.paths.size_and_stamp`."""

    path: str
    size: int
    stamp: str
    content: Sha256


class IndexState:
    """The work that earlier runs have left in a staging directory, and what this run adds to it.

    A context manager, which closes its files.
    """

    def __init__(self, folder: Path) -> None:
        """Open the state in the staging directory `folder`, or begin it there."""
        self._parts = folder / "parts"
        self._parts.mkdir(exist_ok=True)
        self._hashes = folder / "hashes.jsonl"
        self._writer = JsonlWriter(self._hashes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def hashes(self, files: Iterable[Input]) -> dict[str, str]:
        """Return path -> content hash of those files that were hashed and have not changed since."""
        lines = read_jsonl(_HashedFile, self._hashes, skip_damaged=True)
        hashes = {(line.path, line.size, line.stamp): line.content for line in lines}
        keys = {file.path: (file.path, file.size, file.stamp) for file in files}
        return {path: hashes[key] for path, key in keys.items() if key in hashes}

    def add_hash(self, file: Input, content: str) -> None:
        """Record the content hash of a file. Raises OSError when the disk is full."""
        self._writer.append(_HashedFile(file.path, file.size, file.stamp, content))

    def add_jpegs(self, content: str, piece: Piece) -> None:
        """Append JPEGs of a video that is still being decoded; a piece that starts at 0 replaces all before it."""
        with self._jpegs(content).open("wb" if piece.start == 0 else "ab") as file:
            file.write(piece.data)

    def add_result(self, content: str, result: Entry | RejectedFile) -> None:
        """Record the facts of a video whose JPEGs are all here, or why it is rejected."""
        if isinstance(result, RejectedFile):
            self._jpegs(content).unlink(missing_ok=True)
        (self._parts / content).write_text(entry_json(asdict(result)), "utf-8")

    def result(self, content: str) -> Entry | RejectedFile | None:
        """Return what `add_result` recorded of this content; None where it is not there, or not whole."""
        try:
            row = load_json(self._parts / content)
            if "reason" in row:
                return _REJECTED.validate_python(row)
            entry = entry_of(row)
            _ENTRY.validate_python(asdict(entry))
            digest = hashlib.sha256()
            for piece in self.pieces(content):
                digest.update(piece)
        except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):  # JSON of another form, too
            return None
        return entry if entry.fits_together() and digest.hexdigest() == entry.pack else None

    def pieces(self, content: str) -> Iterator[bytes]:
        """Yield the JPEGs of a video, one after the other, in pieces of `PIECE` bytes."""
        with self._jpegs(content).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def drop(self, contents: Iterable[str]) -> None:
        """Remove the videos that now are in a pack."""
        for content in contents:
            (self._parts / content).unlink(missing_ok=True)
            self._jpegs(content).unlink(missing_ok=True)

    def _jpegs(self, content: str) -> Path:
        return self._parts / f"{content}.jpegs"
