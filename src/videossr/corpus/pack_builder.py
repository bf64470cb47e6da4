"""Find the packs of a corpus that must be written, and write each as soon as all its videos are decoded.

Exercised by `videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from videossr.corpus import pack
from videossr.corpus.corpus import pack_file
from videossr.corpus.decode_worker import Piece
from videossr.corpus.entry import Entry, RejectedFile
from videossr.corpus.index_state import IndexState
from videossr.corpus.pack import SHARDS, Bytes, Pack, shard_of
from videossr.corpus.sources import Input
from videossr.storage.paths import AnyPath


def packs_of(out: AnyPath) -> set[str]:
    """Return the names of the packs that a corpus has."""
    folder = out / "packs"
    try:
        names = {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):  # an object store knows no empty folder
        return set()
    return {shard for shard in SHARDS if f"{shard}.pack" in names}


class PackBuilder:
    """Write the packs of a corpus while its videos are decoded.

    Attributes:
        gone: number of videos in the packs whose file is no longer among the sources.
    """

    def __init__(
        self, out: AnyPath, state: IndexState, files: Mapping[str, list[Input]], source_ids: Mapping[str, str | None]
    ) -> None:
        """Compare the packs that are there with the files that are to be in them.

        Args:
            out: folder of the corpus.
            state: videos that earlier runs have decoded, and those that this run will decode.
            files: for each content hash the file to take, and behind it its copies.
            source_ids: of the paths of the files, where they are known.
        """
        self._out = out
        self._state = state
        self._source_ids = source_ids
        self._files: dict[str, dict[str, list[Input]]] = {shard: {} for shard in SHARDS}
        for content, same in files.items():
            self._files[shard_of(content)][content] = same
        self._written = packs_of(out)
        self._lacking: dict[str, set[str]] = {}
        self.gone = 0
        for shard, wanted in self._files.items():
            paths: dict[str, str] = {}
            if shard in self._written:
                old = Pack(pack_file(out, shard))
                paths = old.paths
                self.gone += len(set(old.contents) - wanted.keys())
            if any(paths.get(content) != same[0].path for content, same in wanted.items()):
                self._lacking[shard] = {
                    content for content in wanted if content not in paths and state.result(content) is None
                }

    @property
    def complete(self) -> bool:
        """Say whether all packs are as they should be."""
        return not self._lacking

    def waiting(self) -> list[tuple[str, Input]]:
        """Return what is to be decoded: pack by pack, that of the largest file first, and in each the largest first.

        In this order packs are finished one after the other, and no long video is left for the end.
        """
        ranked = {
            shard: sorted((-self._files[shard][content][0].size, content) for content in lacking)
            for shard, lacking in self._lacking.items()
            if lacking
        }
        order = sorted(ranked, key=lambda shard: ranked[shard][0])
        return [(content, self._files[shard][content][0]) for shard in order for _, content in ranked[shard]]

    def copies(self) -> list[RejectedFile]:
        """Return the files that have the same bytes as another one that is taken, as rejections."""
        return [
            RejectedFile(copy.path, content, "duplicate", f"it has the same bytes as {same[0].path}")
            for wanted in self._files.values()
            for content, same in wanted.items()
            for copy in same[1:]
        ]

    def add_jpegs(self, content: str, piece: Piece) -> None:
        """Store JPEGs that a worker has sent."""
        self._state.add_jpegs(content, piece)

    def add_result(self, content: str, result: Entry | RejectedFile) -> None:
        """Store what a worker returned for a video, and write its pack if nothing else is missing in it.

        Where the file has changed since it was hashed and has a copy, the copy is among `waiting` now.
        """
        shard = shard_of(content)
        wanted = self._files[shard]
        if isinstance(result, RejectedFile) and result.reason == "changed" and len(wanted[content]) > 1:
            wanted[content].pop(0)
            return
        if isinstance(result, RejectedFile) and not result.lasts:
            del wanted[content]
        else:
            self._state.add_result(content, result)
        self._lacking[shard].remove(content)
        if not self._lacking[shard]:
            self._write(shard)

    def write_ready(self) -> None:
        """Write the packs of which all videos are decoded already."""
        for shard in [shard for shard, lacking in self._lacking.items() if not lacking]:
            self._write(shard)

    def _write(self, shard: str) -> None:
        rows = {row.content: row for row in self._rows(shard)}
        new = self._files[shard].keys() - rows.keys()
        for content in new:
            result = self._state.result(content)
            assert result is not None, f"{content} was recorded"
            rows[content] = result
        named = [self._named(rows[content]) for content in sorted(rows, key=str)]
        if named:
            old = Pack(pack_file(self._out, shard)) if shard in self._written else None
            entries = (row for row in named if isinstance(row, Entry))
            videos = ((entry, self._pieces(entry, old if entry.content not in new else None)) for entry in entries)
            pack.write(pack_file(self._out, shard), videos, [row for row in named if isinstance(row, RejectedFile)])
            self._written.add(shard)
        self._state.drop(new)
        del self._lacking[shard]

    def _rows(self, shard: str) -> Iterator[Entry | RejectedFile]:
        """Yield all rows of a pack as it is now, those of rejected files last."""
        if shard in self._written:
            old = Pack(pack_file(self._out, shard))
            yield from old
            yield from old.rejected

    def _named(self, row: Entry | RejectedFile) -> Entry | RejectedFile:
        """Return the row with the path at which its file lies now."""
        assert row.content is not None
        same = self._files[shard_of(row.content)].get(row.content)
        if not same:
            return row
        path = same[0].path
        if isinstance(row, RejectedFile):
            return replace(row, path=path)
        return replace(row, path=path, source_id=self._source_ids.get(path))

    def _pieces(self, entry: Entry, old: Pack | None) -> Iterator[Bytes]:
        return self._state.pieces(entry.content) if old is None else old.pieces(entry)
