"""The unfinished work of `videossr index`: hashes of source files, and videos that wait for the rest of their pack.

Whatever is here has come whole from a worker. A line or a file that a kill cut short is taken for absent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from videossr.corpus.decode_worker import Piece
from videossr.corpus.pack import PIECE, Entry, RejectedFile, entry_json, entry_of
from videossr.corpus.sources import Input


class IndexState:
    """What earlier runs have left in the folder, and what this one adds."""

    def __init__(self, folder: Path) -> None:
        self._parts = folder / "parts"
        self._parts.mkdir(exist_ok=True)
        self._hashes = folder / "hashes.jsonl"
        self._journal = self._hashes.open("a", encoding="utf-8")
        if self._journal.tell():
            self._journal.write("\n")  # behind a line that may have been cut short

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    def hashes(self, files: Iterable[Input]) -> dict[str, str]:
        """Path -> content hash of those files that were hashed and have not changed since."""
        hashed: dict[tuple[str, int, str], str] = {}
        for line in self._hashes.read_text("utf-8").splitlines():
            try:
                path, size, stamp, content = json.loads(line)
            except ValueError:
                continue
            hashed[path, size, stamp] = content
        keys = {file.path: (file.path, file.size, file.stamp) for file in files}
        return {path: hashed[key] for path, key in keys.items() if key in hashed}

    def keep_hash(self, file: Input, content: str) -> None:
        self._journal.write(json.dumps([file.path, file.size, file.stamp, content]) + "\n")
        self._journal.flush()

    def add(self, content: str, piece: Piece) -> None:
        """Take some JPEGs of a video that is still being decoded."""
        with self._jpegs(content).open("wb" if piece.start == 0 else "ab") as file:
            file.write(piece.data)

    def keep(self, content: str, staged: Entry | RejectedFile) -> None:
        """Take what is known of a video whose JPEGs have all been taken, or why there are none."""
        if isinstance(staged, RejectedFile):
            self._jpegs(content).unlink(missing_ok=True)
        (self._parts / content).write_text(entry_json(asdict(staged)), "utf-8")

    def read(self, content: str) -> Entry | RejectedFile | None:
        """What was kept for this content; None where nothing was, or not all of it is there."""
        try:
            row = json.loads((self._parts / content).read_text("utf-8"))
            if "reason" in row:
                return RejectedFile(**row)
            entry = entry_of(row)
            digest = hashlib.sha256()
            for piece in self.pieces(content):
                digest.update(piece)
        except (FileNotFoundError, ValueError):
            return None
        return entry if digest.hexdigest() == entry.pack else None

    def pieces(self, content: str) -> Iterator[bytes]:
        """The JPEGs of a video, one after the other, in pieces of `PIECE` bytes."""
        with self._jpegs(content).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def drop(self, contents: Iterable[str]) -> None:
        """Forget what now is in a pack."""
        for content in contents:
            (self._parts / content).unlink(missing_ok=True)
            self._jpegs(content).unlink(missing_ok=True)

    def _jpegs(self, content: str) -> Path:
        return self._parts / f"{content}.jpegs"
