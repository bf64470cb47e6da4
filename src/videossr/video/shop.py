"""The unfinished work of `videossr index`: hashes of source files, and videos that wait for the rest of their pack.

Whatever is here has come whole from a worker. A line or a file that a kill cut short is taken for absent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from videossr.video.pack import Rejection, entry_of
from videossr.video.scan import File
from videossr.video.stage import Staged


class Shop:
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

    def hashes(self, files: Iterable[File]) -> dict[str, str]:
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

    def keep_hash(self, file: File, content: str) -> None:
        self._journal.write(json.dumps([file.path, file.size, file.stamp, content]) + "\n")
        self._journal.flush()

    def keep(self, content: str, staged: Staged | Rejection) -> None:
        """One line of JSON, then the JPEGs."""
        row = asdict(staged if isinstance(staged, Rejection) else staged.entry)
        jpegs = b"" if isinstance(staged, Rejection) else staged.jpegs
        (self._parts / content).write_bytes(json.dumps(row).encode() + b"\n" + jpegs)

    def read(self, content: str) -> Staged | Rejection | None:
        """What was kept for this content; None where nothing was, or not all of it is there."""
        try:
            line, _, jpegs = (self._parts / content).read_bytes().partition(b"\n")
            row = json.loads(line)
        except (FileNotFoundError, ValueError):
            return None
        if "reason" in row:
            return Rejection(**row)
        entry = entry_of(row)
        return Staged(entry, jpegs) if hashlib.sha256(jpegs).hexdigest() == entry.pack else None

    def drop(self, contents: Iterable[str]) -> None:
        """Forget what now is in a pack."""
        for content in contents:
            (self._parts / content).unlink(missing_ok=True)
