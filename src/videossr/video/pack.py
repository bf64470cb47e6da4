"""A corpus on disk: frames as JPEGs one after the other in a few pack files, and what is known of each video.

    config.toml              how it was made
    packs/<shard>.pack       the JPEGs of every video whose content hash starts with <shard>
    videos-<shard>.parquet   one row a video
    rejected.parquet         one row a file that is not in the corpus, with the reason
    manifest.json            written last: its presence means that the corpus is complete

Exercised by `videossr build smoke --corpus CORPUS --out DATASET`.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from videossr.clock import Clock
from videossr.question import Frames
from videossr.sample import VideoKey
from videossr.video import jpeg

MANIFEST = "manifest.json"


class CorpusError(ValueError):
    """A corpus that is missing, incomplete or damaged, or lacks what was asked for; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One video of a corpus.

    Attributes:
        content: SHA-256 of the source file, in hex.
        pack: SHA-256 of this video's JPEGs, one after the other.
        path: of the source, relative to the indexed folder, with forward slashes.
        source_id: clips with the same one were cut from the same footage; None where it is not known.
        bytes: size of the source file.
        container, codec, pix_fmt: ffmpeg's names.
        source_width, source_height: of the decoded picture in its own pixels, before it is turned.
        rotation: degrees counter-clockwise by which it was turned; `mirrored` left to right before that.
        pixel_aspect: width over height of a source pixel, as (numerator, denominator).
        duration_ms: from the start of the first frame to the end of the last.
        fps: frames a second on average over that time.
        source_frames: how many frames the source has.
        time_base: seconds a tick, as (numerator, denominator).
        ticks: for each slot, the presentation time of its frame in the source.
        times_ms, end_ms: the clock of the slots.
        height, width: of the kept frames, in pixels.
        offset: where the first JPEG starts in the pack file, in bytes.
        frame_bytes: size of each JPEG.
        fingerprints: of each frame, see `videossr.video.fingerprint`.
    """

    content: str
    pack: str
    path: str
    source_id: str | None
    bytes: int
    container: str
    codec: str
    pix_fmt: str
    source_width: int
    source_height: int
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
    fingerprints: tuple[int, ...]

    @property
    def key(self) -> VideoKey:
        return VideoKey(self.content, self.pack)

    @property
    def clock(self) -> Clock:
        return Clock(self.times_ms, self.end_ms)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.height, self.width

    @property
    def shard(self) -> str:
        return shard_of(self.content)

    @property
    def source_times(self) -> tuple[Fraction, ...]:
        """Seconds at which the source shows the frame of each slot, by the source's own clock."""
        return tuple(tick * Fraction(*self.time_base) for tick in self.ticks)


_LISTS = {"pixel_aspect", "time_base", "ticks", "times_ms", "frame_bytes", "fingerprints"}
_TYPES = {"str": pa.string(), "str | None": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}

SCHEMA = pa.schema(
    [
        (item.name, pa.list_(pa.uint64() if item.name == "fingerprints" else pa.int64()))
        if item.name in _LISTS
        else (item.name, _TYPES[str(item.type)])
        for item in fields(Entry)
    ]
)


def shard_of(content: str) -> str:
    """Which pack a video is in: one of 16, by its content hash alone."""
    return content[0]


def pack_file(corpus: Path, shard: str) -> Path:
    """Where the JPEGs of a shard are."""
    return corpus / "packs" / f"{shard}.pack"


def table_file(corpus: Path, shard: str) -> Path:
    """Where the rows of a shard are."""
    return corpus / f"videos-{shard}.parquet"


def corpus_hash(entries: Iterable[Entry]) -> str:
    """SHA-256 over all that is known of the videos, in hash order, but for what their files are called and lie at."""
    digest = hashlib.sha256()
    for entry in sorted(entries, key=lambda entry: entry.content):
        row = {name: value for name, value in asdict(entry).items() if name not in ("path", "offset")}
        digest.update(json.dumps(row, sort_keys=True, separators=(",", ":")).encode())
    return digest.hexdigest()


def write_table(path: Path, entries: Sequence[Entry]) -> None:
    """Write rows as Parquet; the same rows give the same bytes."""
    pq.write_table(pa.Table.from_pylist([asdict(entry) for entry in entries], SCHEMA), path)


def entry_of(row: Mapping[str, Any]) -> Entry:
    """The entry whose fields `row` holds, with lists for tuples as JSON and Parquet give them."""
    values: dict[str, Any] = {name: tuple(value) if name in _LISTS else value for name, value in row.items()}
    return Entry(**values)


def read_table(path: Path) -> list[Entry]:
    """Raises CorpusError when the file is not such a table."""
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return [entry_of(row) for row in rows]
    except (OSError, pa.ArrowException, TypeError) as error:
        raise CorpusError(f"{path} is not a table of videos ({error}); index into a new folder") from error


class Corpus:
    """Read access to a complete corpus. It can be pickled, and used after a fork; both reopen what they need.

    Raises CorpusError when `path` is not a complete corpus.
    """

    def __init__(self, path: Path) -> None:
        manifest = Path(path) / MANIFEST
        if not manifest.is_file():
            if (Path(path) / "config.toml").is_file():
                raise CorpusError(f"{path} is not complete: run the same `videossr index … --out {path}` again")
            raise CorpusError(f"{path} is no corpus: make one with `videossr index DIR --out {path}`")
        self.path = Path(path).absolute()
        try:
            self.manifest: Mapping[str, Any] = json.loads(manifest.read_text("utf-8"))
            self._hash, self._count = str(self.manifest["hash"]), int(self.manifest["videos"])
        except (ValueError, TypeError, KeyError) as error:
            raise CorpusError(f"{manifest} is damaged ({error!r}): copy it again or index anew") from error
        self._open: dict[str, mmap.mmap] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**{name: self.__dict__[name] for name in ("path", "manifest", "_hash", "_count")}, "_open": {}}

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def hash(self) -> str:
        """SHA-256 of what is known of all its videos, in hex."""
        return self._hash

    @cached_property
    def videos(self) -> tuple[Entry, ...]:
        """All videos in the order of their content hash."""
        tables = sorted(self.path.glob("videos-*.parquet"))
        entries = tuple(entry for table in tables for entry in read_table(table))
        if len(entries) != self._count:
            raise CorpusError(f"{self.path} has {len(entries)} videos instead of {self._count}: copy all of it again")
        return entries

    @cached_property
    def _by_content(self) -> dict[str, Entry]:
        return {entry.content: entry for entry in self.videos}

    def entry(self, key: VideoKey) -> Entry:
        """What is known of a video. Raises CorpusError when the corpus does not have it in this decoded form."""
        found = self._by_content.get(key.content)
        if found is None:
            raise CorpusError(
                f"{self.path} has no video {key.content[:12]} among its {len(self)}: name the corpus that the samples "
                "were built from with --corpus"
            )
        if found.pack != key.pack:
            raise CorpusError(
                f"{self.path} has video {key.content[:12]} ({found.path}) in another decoded form, made with another "
                "configuration: name the corpus that the samples were built from with --corpus"
            )
        return found

    def frames(
        self, key: VideoKey, indices: Sequence[int] | None = None, size: tuple[int, int] | None = None
    ) -> Frames:
        """Frames (len(indices), H, W, 3) of one video, all of them by default; only those asked for are decoded.

        H and W are those of the pack, or with `size` those of `videossr.video.jpeg.reduced`: no smaller than `size`.

        Raises CorpusError for an unknown video or a damaged pack, IndexError for a frame that the video lacks.
        """
        entry = self.entry(key)
        wanted = range(len(entry.frame_bytes)) if indices is None else indices
        for index in wanted:
            if not 0 <= index < len(entry.frame_bytes):
                raise IndexError(f"video {entry.path} has frames 0..{len(entry.frame_bytes) - 1}, not {index}")
        starts = list(accumulate(entry.frame_bytes, initial=entry.offset))
        pack = self._pack(entry.shard)
        try:
            return jpeg.decode([pack[starts[index] : starts[index + 1]] for index in wanted], entry.size, size)
        except jpeg.JPEGError as error:
            raise CorpusError(
                f"{pack_file(self.path, entry.shard)}: frame {wanted[error.number]} of {entry.path} is damaged "
                f"({error.why}); copy the pack again or index anew"
            ) from error

    def verify(self, key: VideoKey) -> None:
        """Hash the JPEGs of a video. Raises CorpusError when they are not those that were indexed."""
        entry = self.entry(key)
        jpegs = self._pack(entry.shard)[entry.offset : entry.offset + sum(entry.frame_bytes)]
        if hashlib.sha256(jpegs).hexdigest() != entry.pack:
            raise CorpusError(
                f"{pack_file(self.path, entry.shard)}: the frames of {entry.path} are damaged; copy the pack again or "
                "index into a new folder"
            )

    def _pack(self, shard: str) -> mmap.mmap:
        """The pack file in memory. Raises CorpusError when it is missing or not as long as its table says."""
        if shard not in self._open:
            path = pack_file(self.path, shard)
            expected = sum(sum(entry.frame_bytes) for entry in self.videos if entry.shard == shard)
            actual = path.stat().st_size if path.is_file() else 0
            if actual != expected:
                raise CorpusError(f"{path} has {actual} bytes instead of {expected}: copy it again or index anew")
            with path.open("rb") as file:
                self._open[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._open[shard]
