"""Write and read packs: a file with the JPEGs of some videos one after the other, and at its end a table of them.

The table is an Arrow IPC file whose metadata lists the files that were rejected; 16 bytes behind it say where it
starts. So a pack can be moved, copied and merged by itself, and once its name exists all of it is there. Exercised by
`videossr index DIR --out CORPUS`.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import mmap
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from videossr.corpus.entry import SCHEMA, Entry, RejectedFile, entry_of, rows_hash, table_fault
from videossr.errors import CorpusError
from videossr.storage.arrow_file import HEAD, is_compressed
from videossr.storage.identifiers import Sha256
from videossr.storage.parquet import arrow_damage
from videossr.storage.parsing import parse_json
from videossr.storage.paths import AnyPath, atomic_write, check_regular, is_local
from videossr.video.plan import MOST_FRAMES

SHARDS = tuple(f"{number:02x}" for number in range(256))
"""Names of the packs of a corpus: a video is in the one that its content hash starts with."""

FORMAT = 5
"""Of packs, and of the corpus around them."""

_MAGIC = b"VSSRPACK"
_TAIL = struct.Struct("<Q32s8s")
"""Behind the table: its length, its SHA-256, and what tells that this is a pack."""
PIECE = 1 << 22
"""Bytes of a video's JPEGs that are held at once where they are copied or checked."""

Bytes: TypeAlias = bytes | memoryview

_GUESS = 1 << 18
"""Bytes fetched from the end of a remote pack at first, which most tables fit into."""


def shard_of(content: str) -> str:
    """Return which of `SHARDS` a video is in."""
    return content[:2]


def write(path: AnyPath, videos: Iterable[tuple[Entry, Iterable[Bytes]]], rejected: Sequence[RejectedFile]) -> None:
    """Write a pack of videos in the order of their content hash.

    Args:
        path: of the pack.
        videos: what is known of each, and its JPEGs one after the other, in pieces of any size.
        rejected: what the pack tells of files that it does not have.

    Raises:
        CorpusError: the JPEGs of a video are not what its entry says; then nothing is written.
    """
    with atomic_write(path) as partial, partial.open("wb") as file:
        entries, offset = [], 0
        for entry, pieces in videos:
            digest = hashlib.sha256()
            entries.append(asdict(entry) | {"offset": offset})
            for piece in pieces:
                digest.update(piece)
                offset += file.write(piece)
            if digest.hexdigest() != entry.pack:
                raise CorpusError(f"the frames of {entry.path} are damaged on their way into {path}")
        file.write(bytes(-offset % 64))
        _write_table(file, entries, rejected)


def _write_table(file: IO[bytes], rows: list[dict[str, Any]], rejected: Sequence[RejectedFile]) -> None:
    notes = {"hash": rows_hash(rows), "rejected": json.dumps([asdict(rejection) for rejection in rejected])}
    table = pa.Table.from_pylist(rows, SCHEMA.with_metadata(notes)).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue()
    file.write(data)
    file.write(_TAIL.pack(len(data), hashlib.sha256(data).digest(), _MAGIC))


class _Notes(TypedDict):
    """The metadata of the table of a pack: `rows_hash` of its rows, and the files that were rejected."""

    hash: Sha256
    rejected: list[RejectedFile]


_NOTES = TypeAdapter(_Notes)


class Pack:
    """A pack open for reading; that of another machine is read piece by piece.

    Raises CorpusError when it is not there or not whole.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = path
        self._last: Entry | None = None
        self._checked: set[str] = set()
        check_regular(path)
        try:
            self._data = self._map(path) if isinstance(path, Path) else None
            self.size: int = len(self._data) if self._data is not None else path.stat().st_size
        except FileNotFoundError as error:
            raise self._damaged("is missing") from error

    def read(self, start: int, stop: int) -> memoryview:
        """Return the bytes from `start` to before `stop`."""
        view = self._view(start, stop)
        if self._data is None:
            return view
        data = bytes(view)
        self._data.madvise(mmap.MADV_DONTNEED)  # else this process would come to hold the whole corpus
        return memoryview(data)

    def _view(self, start: int, stop: int) -> memoryview:
        """Return the same bytes, where possible in the place where the system maps the file."""
        if self._data is not None:
            return memoryview(self._data)[start:stop]
        assert not isinstance(self.path, Path)
        return memoryview(self.path.fs.cat_file(self.path.path, start=start, end=stop))

    @cached_property
    def table(self) -> pa.Table:
        """Read the table of the videos, with the columns of `SCHEMA`. Raises CorpusError."""
        guess = max(0, self.size - (self.size if is_local(self.path) else _GUESS))
        end = self._view(guess, self.size)
        length, digest, magic = _TAIL.unpack(end[-_TAIL.size :]) if len(end) >= _TAIL.size else (0, b"", b"")
        start = self.size - _TAIL.size - length
        if magic != _MAGIC or start < 0:
            raise self._damaged("is not a whole pack")
        data = end[start - guess : -_TAIL.size] if start >= guess else self._view(start, self.size - _TAIL.size)
        if hashlib.sha256(data).digest() != digest:
            raise self._damaged("has a damaged table")
        with arrow_damage(lambda what: self._damaged(f"has a damaged table ({what})")):
            if is_compressed(data):
                raise self._damaged("has a compressed table")
            table = pa.ipc.open_stream(pa.py_buffer(data)[HEAD:]).read_all()
            if fault := table_fault(table):
                raise self._damaged(fault)
        return table

    def _damaged(self, what: str) -> CorpusError:
        return CorpusError(f"{self.path} {what}: copy it again, or delete it and run its `videossr index` again")

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, index: int) -> Entry:
        return self._sound(entry_of(self.table.slice(index, 1).to_pylist()[0]))

    def __iter__(self) -> Iterator[Entry]:
        for batch in self.table.to_batches(max_chunksize=64):
            yield from map(self._sound, map(entry_of, batch.to_pylist()))

    def _sound(self, entry: Entry) -> Entry:
        """Return an entry that fits together and whose JPEGs lie in the pack. Raises CorpusError for another one."""
        sizes = entry.frame_bytes
        inside = entry.offset >= 0 and min(sizes, default=0) > 0 and entry.offset + sum(sizes) <= self.size
        if not (inside and len(sizes) == len(entry.times_ms) <= MOST_FRAMES and min(entry.size) > 0):
            raise CorpusError(
                f"{self.path}: the sizes of the frames of {entry.path} are wrong: copy the pack or index anew"
            )
        if not entry.fits_together():
            raise CorpusError(f"{self.path}: the times of {entry.path} are wrong: copy the pack or index anew")
        return entry

    @property
    def contents(self) -> list[str]:
        """Content hashes, ascending."""
        contents: list[str] = self.table["content"].to_pylist()
        return contents

    @property
    def paths(self) -> dict[str, str]:
        """Content hash -> path, of the videos and of what was rejected."""
        rejected = {str(row.content): row.path for row in self.rejected}
        return rejected | dict(zip(self.contents, self.table["path"].to_pylist(), strict=True))

    @property
    def slots(self) -> set[int]:
        """The different numbers of frames that the videos keep."""
        return set(pc.list_value_length(self.table["times_ms"]).unique().to_pylist())

    @cached_property
    def hash(self) -> str:
        """`rows_hash` of the videos, computed from the table. Raises CorpusError where the table states another one."""
        rows = (row for batch in self.table.to_batches(max_chunksize=64) for row in batch.to_pylist())
        if (computed := rows_hash(rows)) != self._notes["hash"]:
            raise self._damaged("was altered: its table is not the one that its hash was computed of")
        return computed

    @property
    def rejected(self) -> list[RejectedFile]:
        """List the files of this shard that were rejected. Raises CorpusError."""
        return self._notes["rejected"]

    @cached_property
    def _notes(self) -> _Notes:
        """Read what the table states beside its rows."""
        metadata = self.table.schema.metadata or {}
        try:
            rejected = parse_json(metadata[b"rejected"])
            return _NOTES.validate_python({"hash": metadata[b"hash"].decode(), "rejected": rejected})
        except (KeyError, ValueError) as error:
            raise self._damaged(f"has a damaged table ({type(error).__name__})") from error

    def position(self, content: str) -> int:
        """Return the row of a video, or that at which it would stand."""
        contents = self.table["content"]
        return bisect.bisect_left(range(len(self)), content, key=lambda row: contents[row].as_py())

    def find(self, content: str) -> Entry | None:
        """Return a video by its content hash, None where there is none. One that is asked for again is read once."""
        if self._last is None or self._last.content != content:
            row = self.position(content)
            if row == len(self) or self.table["content"][row].as_py() != content:
                return None
            self._last = self[row]
        return self._last

    def pieces(self, entry: Entry) -> Iterator[memoryview]:
        """Yield all JPEGs of a video, one after the other, in pieces of `PIECE` bytes.

        Raises CorpusError, after the last piece, when they are not those that were indexed.
        """
        digest, end = hashlib.sha256(), entry.offset + sum(entry.frame_bytes)
        for start in range(entry.offset, end, PIECE):
            piece = self.read(start, min(start + PIECE, end))
            digest.update(piece)
            yield piece
        if digest.hexdigest() != entry.pack:
            raise CorpusError(
                f"{self.path}: the frames of {entry.path} are damaged; copy the pack again or index into a new folder"
            )

    def jpegs(self, entry: Entry, indices: Sequence[int]) -> list[bytes]:
        """Return the JPEGs of the frames `indices` of a video; of a long video no others are held.

        Whether all frames of the video are those that were indexed is checked first, of a video of more than `PIECE`
        bytes only the first time.

        Raises:
            CorpusError: they are not.
        """
        starts = [0, *accumulate(entry.frame_bytes)]
        if entry.content in self._checked:
            return self._ranges([(entry.offset + starts[k], entry.offset + starts[k + 1]) for k in indices])
        jpegs = {index: bytearray() for index in indices}
        start = 0
        for piece in self.pieces(entry):
            stop = start + len(piece)
            for index in range(bisect.bisect_right(starts, start) - 1, bisect.bisect_left(starts, stop)):
                if index in jpegs:
                    jpegs[index] += piece[max(starts[index], start) - start : min(starts[index + 1], stop) - start]
            start = stop
        if start > PIECE:
            self._checked.add(entry.content)
        return [bytes(jpegs[index]) for index in indices]

    def _ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        if isinstance(self.path, Path):
            return [bytes(self.read(start, stop)) for start, stop in ranges]
        starts, stops = [start for start, _ in ranges], [stop for _, stop in ranges]
        ranges_read: list[bytes] = self.path.fs.cat_ranges(
            [self.path.path] * len(ranges), starts, stops, on_error="raise"
        )
        return ranges_read

    def _map(self, path: Path) -> mmap.mmap:
        with path.open("rb") as file:
            try:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise self._damaged("is empty") from error
