"""Which packs of a corpus must be written, and the writing of each as soon as it lacks nothing.

Exercised by `videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from videossr.corpus import pack
from videossr.corpus.corpus import pack_file
from videossr.corpus.decode_worker import Piece
from videossr.corpus.index_state import IndexState
from videossr.corpus.pack import SHARDS, Bytes, Entry, Pack, RejectedFile, shard_of
from videossr.corpus.sources import Input
from videossr.storage.paths import AnyPath


def packs_of(out: AnyPath) -> set[str]:
    """The packs of a corpus that are there."""
    folder = out / "packs"
    try:
        names = {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):  # an object store knows no empty folder
        return set()
    return {shard for shard in SHARDS if f"{shard}.pack" in names}


class PackBuilder:
    """The packs of a corpus in the making: what they lack, and the writing of each as soon as it lacks nothing.

    Attributes:
        gone: how many videos they hold of which there is no file any more.
    """

    def __init__(
        self, out: AnyPath, state: IndexState, files: Mapping[str, list[Input]], pattern: re.Pattern[str] | None
    ) -> None:
        """`files` are those of each content hash: one to take, and its copies; `pattern` finds the source id."""
        self._out = out
        self._shop = state
        self._pattern = pattern
        self._files: dict[str, dict[str, list[Input]]] = {shard: {} for shard in SHARDS}
        for content, same in files.items():
            self._files[shard_of(content)][content] = same
        self._there = packs_of(out)
        self._lacking: dict[str, set[str]] = {}
        self.gone = 0
        for shard, own in self._files.items():
            paths: dict[str, str] = {}
            if shard in self._there:
                old = Pack(pack_file(out, shard))
                paths = old.paths
                self.gone += len(set(old.contents) - own.keys())
            if any(paths.get(content) != same[0].path for content, same in own.items()):
                self._lacking[shard] = {c for c in own if c not in paths and state.read(c) is None}

    @property
    def complete(self) -> bool:
        """Whether there is nothing to write."""
        return not self._lacking

    def waiting(self) -> list[tuple[str, Input]]:
        """What is to be decoded: pack by pack, that of the largest file first, and in each the largest file first.

        So packs are finished one after the other, and no long video is left for the end.
        """
        ranked = {
            shard: sorted((-self._files[shard][content][0].size, content) for content in lacking)
            for shard, lacking in self._lacking.items()
            if lacking
        }
        order = sorted(ranked, key=lambda shard: ranked[shard][0])
        return [(content, self._files[shard][content][0]) for shard in order for _, content in ranked[shard]]

    def copies(self) -> list[RejectedFile]:
        """The files that have the same bytes as another one that is taken."""
        return [
            RejectedFile(copy.path, content, "duplicate", f"it has the same bytes as {same[0].path}")
            for own in self._files.values()
            for content, same in own.items()
            for copy in same[1:]
        ]

    def add(self, content: str, piece: Piece) -> None:
        """Take JPEGs that a worker has sent."""
        self._shop.add(content, piece)

    def keep(self, content: str, staged: Entry | RejectedFile) -> None:
        """Take what a worker returned. For a file that changed its copy is waiting then, if it has one."""
        shard = shard_of(content)
        own = self._files[shard]
        if isinstance(staged, RejectedFile) and staged.reason == "changed" and len(own[content]) > 1:
            own[content].pop(0)
            return
        if isinstance(staged, RejectedFile) and not staged.lasts:
            del own[content]
        else:
            self._shop.keep(content, staged)
        self._lacking[shard].remove(content)
        if not self._lacking[shard]:
            self._write(shard)

    def write_ready(self) -> None:
        """Write the packs that lack nothing at the start."""
        for shard in [shard for shard, lacking in self._lacking.items() if not lacking]:
            self._write(shard)

    def _write(self, shard: str) -> None:
        rows = {row.content: row for row in self._rows(shard)}
        new = self._files[shard].keys() - rows.keys()
        for content in new:
            staged = self._shop.read(content)
            assert staged is not None, f"{content} was kept"
            rows[content] = staged
        named = [self._named(rows[content]) for content in sorted(rows, key=str)]
        if named:
            old = Pack(pack_file(self._out, shard)) if shard in self._there else None
            entries = (row for row in named if isinstance(row, Entry))
            videos = ((entry, self._pieces(entry, old if entry.content not in new else None)) for entry in entries)
            pack.write(pack_file(self._out, shard), videos, [row for row in named if isinstance(row, RejectedFile)])
            self._there.add(shard)
        self._shop.drop(new)
        del self._lacking[shard]

    def _rows(self, shard: str) -> Iterator[Entry | RejectedFile]:
        """All that a pack tells now."""
        if shard in self._there:
            old = Pack(pack_file(self._out, shard))
            yield from old
            yield from old.rejected

    def _named(self, row: Entry | RejectedFile) -> Entry | RejectedFile:
        """The row under the path at which its file lies now."""
        assert row.content is not None
        same = self._files[shard_of(row.content)].get(row.content)
        path = same[0].path if same else row.path
        if isinstance(row, RejectedFile):
            return replace(row, path=path)
        match = self._pattern.search(path) if self._pattern else None
        return replace(row, path=path, source_id=match[1] if match else None)

    def _pieces(self, entry: Entry, old: Pack | None) -> Iterator[Bytes]:
        return self._shop.pieces(entry.content) if old is None else old.pieces(entry)
