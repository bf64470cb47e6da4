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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from videossr.clock import Clock
from videossr.corpus.fingerprint import Packed
from videossr.errors import CorpusError
from videossr.sample import VideoKey
from videossr.storage.arrow_file import HEAD, is_compressed
from videossr.storage.parsing import parse_json
from videossr.storage.paths import AnyPath, atomic_write, is_local
from videossr.video.plan import MOST_FRAMES, Reason

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


@dataclass(frozen=True, slots=True)
class Entry:
    """One video of a corpus.

    Attributes:
        content: SHA-256 of the source file, in hex.
        pack: SHA-256 of this video's JPEGs, one after the other.
        path: of the source, relative to the indexed folder, with forward slashes.
        source_id: clips with the same one were cut from the same footage; None where it is not known.
        bytes: size of the source file.
        container, codec, pix_fmt, transfer: ffmpeg's names.
        source_width, source_height: of the decoded picture in its own pixels, before it is cropped and turned.
        crop: pixels of it that the container hides at the left, top, right and bottom edge, and that were cut off.
        rotation: degrees counter-clockwise by which it was turned; `mirrored` left to right before that.
        pixel_aspect: width over height of a source pixel, as (numerator, denominator).
        duration_ms: from the start of the first frame to the end of the last.
        fps: frames a second on average over that time.
        source_frames: how many frames the source has.
        time_base: seconds a tick, as (numerator, denominator).
        ticks: for each slot, the presentation time of its frame in the source.
        times_ms, end_ms: the clock of the slots.
        height, width: at which the frames are shown, at most; their JPEGs are larger, see
            `videossr.video.plan.stored_size`.
        offset: where the first JPEG starts in the pack file, in bytes.
        frame_bytes: size of each JPEG.
        fingerprints: the bytes of the fingerprint of each frame, see `videossr.corpus.fingerprint`.
    """

    content: str
    pack: str
    path: str
    source_id: str | None
    bytes: int
    container: str
    codec: str
    pix_fmt: str
    transfer: str
    source_width: int
    source_height: int
    crop: tuple[int, ...]
    rotation: int
    mirrored: bool
    pixel_aspect: tuple[int, ...]
    duration_ms: int
    fps: float
    source_frames: int
    time_base: tuple[int, ...]
    ticks: tuple[int, ...]
    times_ms: tuple[int, ...]
    end_ms: int
    height: int
    width: int
    offset: int
    frame_bytes: tuple[int, ...]
    fingerprints: Packed

    @property
    def key(self) -> VideoKey:
        """Return what names the video: the hash of its file and that of its frames."""
        return VideoKey(self.content, self.pack)

    @property
    def clock(self) -> Clock:
        """Return the times of the stored frames."""
        return Clock(self.times_ms, self.end_ms)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    @property
    def source_times(self) -> tuple[Fraction, ...]:
        """Seconds at which the source shows the frame of each slot, by the source's own clock."""
        return tuple(tick * Fraction(*self.time_base) for tick in self.ticks)


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file that is not in the corpus; `content` is None where it was not read."""

    path: str
    content: str | None
    reason: Reason
    detail: str
    value: float | None = None
    threshold: float | None = None

    @property
    def lasts(self) -> bool:
        """Tell whether the same bytes would be rejected again; if not, the next run reads the file once more."""
        return self.content is not None and self.reason not in ("hidden", "unreadable", "duplicate", "changed")


_LISTS = {"crop", "pixel_aspect", "time_base", "ticks", "times_ms", "frame_bytes"}
_TYPES = {
    "str": pa.string(),
    "str | None": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "Packed": pa.binary(),
}

SCHEMA = pa.schema(
    [(item.name, pa.list_(pa.int64()) if item.name in _LISTS else _TYPES[str(item.type)]) for item in fields(Entry)]
)


def shard_of(content: str) -> str:
    """Return which of `SHARDS` a video is in."""
    return content[:2]


def entry_of(row: Mapping[str, Any]) -> Entry:
    """Return the entry whose fields `row` holds as JSON and Arrow give them: lists for tuples, JSON hex for bytes."""
    values: dict[str, Any] = {name: tuple(value) if name in _LISTS else value for name, value in row.items()}
    if isinstance(values["fingerprints"], str):
        values["fingerprints"] = bytes.fromhex(values["fingerprints"])
    return Entry(**values)


def entry_json(row: Mapping[str, object]) -> str:
    """Return the fields of an entry as JSON, in one order, with hex for bytes."""
    return json.dumps(row, sort_keys=True, separators=(",", ":"), default=bytes.hex)


def rows_hash(rows: Iterable[Mapping[str, object]]) -> str:
    """Hash all facts of some videos, but not what their files are called and where their JPEGs lie."""
    digest = hashlib.sha256()
    for full in rows:
        row = {name: value for name, value in full.items() if name not in ("path", "offset")}
        digest.update(entry_json(row).encode())
    return digest.hexdigest()


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


class Pack:
    """A pack open for reading; that of another machine is read piece by piece.

    Raises CorpusError when it is not there or not whole.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = path
        self._last: Entry | None = None
        self._checked: set[str] = set()
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
        if is_compressed(data):
            raise self._damaged("has a compressed table")
        table = pa.ipc.open_stream(pa.py_buffer(data)[HEAD:]).read_all()
        if table.schema.remove_metadata() != SCHEMA:
            raise self._damaged("is of another version")
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
        """Return an entry whose JPEGs lie in the pack. Raises CorpusError for another one."""
        sizes = entry.frame_bytes
        inside = entry.offset >= 0 and min(sizes, default=0) > 0 and entry.offset + sum(sizes) <= self.size
        if inside and len(sizes) == len(entry.times_ms) <= MOST_FRAMES and min(entry.size) > 0:
            return entry
        raise CorpusError(
            f"{self.path}: the sizes of the frames of {entry.path} are wrong: copy the pack or index anew"
        )

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

    @property
    def hash(self) -> str:
        """`rows_hash` of the videos."""
        return str(self.table.schema.metadata[b"hash"].decode())

    @property
    def rejected(self) -> list[RejectedFile]:
        """List the files of this shard that were rejected."""
        rows = parse_json(self.table.schema.metadata[b"rejected"])
        return [RejectedFile(**row) for row in rows]

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
