"""Facts about the videos of a corpus, and their form as rows of the table of a pack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from videossr.clock import Clock
from videossr.corpus.fingerprint import WAVES, Packed
from videossr.sample import VideoKey
from videossr.storage.identifiers import Sha256
from videossr.video.plan import Reason


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

    def fits_together(self) -> bool:
        """Tell whether the lists have the lengths that they should have, and the times are those of a clock."""
        frames = len(self.times_ms)
        try:
            _ = self.clock, Fraction(*self.time_base), Fraction(*self.pixel_aspect)
        except (ValueError, TypeError, ZeroDivisionError):
            return False
        return (
            len(self.ticks) == len(self.frame_bytes) == frames
            and len(self.crop) == 4
            and len(self.fingerprints) == frames * WAVES * WAVES
        )

    @property
    def source_times(self) -> tuple[Fraction, ...]:
        """Seconds at which the source shows the frame of each slot, by the source's own clock."""
        return tuple(tick * Fraction(*self.time_base) for tick in self.ticks)


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file that is not in the corpus; `content` is None where it was not read."""

    path: str
    content: Sha256 | None
    reason: Reason
    detail: str
    value: int | float | None = None
    threshold: int | float | None = None

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


def table_fault(table: pa.Table) -> str | None:
    """Say what is wrong with the table of a pack: other columns than `SCHEMA`, empty cells, or hashes that are none.

    Raises ArrowException where the data is damaged: offsets beyond the table, or texts that are not UTF-8.
    """
    if table.schema.remove_metadata() != SCHEMA:
        return "is of another version"
    table.validate(full=True)
    if any(map(_has_nulls, table.drop_columns("source_id").columns)):
        return "has a table with empty cells"
    for name in ("content", "pack"):
        if not pc.all(pc.match_substring_regex(table[name], "^[0-9a-f]{64}$"), min_count=0).as_py():
            return f"has a table with a wrong hash in the column {name}"
    return None


def _has_nulls(column: pa.ChunkedArray) -> bool:
    """Tell whether a value of a column is missing, or an item of a list."""
    inner = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    return bool(column.null_count or inner.null_count)
