"""Rows of published question sets: found in their files, read and checked.

Each file has one of the formats of `videossr.dataset.published.formats`, which is told by the fields of its first rows.
`videossr.dataset.published.dataset` turns rows into questions.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from typing import Any, TypeAlias

import pyarrow as pa

from videossr.dataset.published.formats.base import RowFields, RowFormat, Table, short
from videossr.dataset.published.formats.easyvideor1 import EASYVIDEOR1
from videossr.dataset.published.formats.labelled import LABELLED
from videossr.dataset.published.formats.swift import SWIFT
from videossr.dataset.published.formats.timelens import TIMELENS
from videossr.dataset.published.formats.verl import VERL
from videossr.dataset.published.formats.words import words_hash
from videossr.errors import DataError, NotFoundError
from videossr.question import VIDEO
from videossr.storage import limits
from videossr.storage.parquet import read_parquet
from videossr.storage.paths import AnyPath, check_regular, file_hash, is_local

SUFFIXES = (".parquet", ".jsonl", ".json")
FORMATS = (VERL, SWIFT, EASYVIDEOR1, TIMELENS, LABELLED)
"""In this order, since rows of one format may have fields of a later one beside their own."""

_LONGEST = 200
"""Characters of a name, at most."""
_LOOKED_AT = 10
"""Rows of a file by whose fields its format is told."""

Place: TypeAlias = tuple[str, object]
"""The place of a row in its file, for messages, and the row, or its line that is still to be read."""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """The checked fields of one row.

    Attributes:
        where: file and line or number of the row, for messages.
        id: the first 20 hex digits of the SHA-256 of the whole row; published rows have no ids of their own.
        data_source: of the row, unchanged.
        system: text of the system turn, which may be empty.
        prompt: text of the user turn.
        answer: the gold answer.
        videos: one entry for each ``<video>`` of the prompt.
        extra: further facts, such as `extra_info`.
        category: by which tables group it; empty where that is its `data_source`.
    """

    where: str
    id: str
    data_source: str
    system: str
    prompt: str
    answer: str
    videos: tuple[Table, ...]
    extra: Table
    category: str = ""


class PublishedRows:
    """All rows of a file, or of the files in a folder, in the order of their names.

    Of a folder the `.parquet` files are read; where it has none, its `.jsonl` and `.json` files. A JSON file is a list
    of rows, a JSONL file has one on each line. A damaged row raises only when it is read. Messages count lines from 1,
    as editors do, and rows of other files from 0.

    Raises:
        NotFoundError: the path does not exist, or the folder has no rows.
        DataError: a file is damaged, or its rows have no format that is known; the message names it.
    """

    def __init__(self, path: AnyPath) -> None:
        self.files = _files_of(path)
        self._ends = list(accumulate(len(rows) for _, rows in self._parts))

    @cached_property
    def _parts(self) -> list[tuple[RowFormat, Sequence[Place]]]:
        return [_read(file) for file in self.files]

    @cached_property
    def hash(self) -> str:
        """SHA-256 in hex over the names and bytes of the files, and over the words that are put into prompts."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.name}\0{file_hash(file)}\0".encode())
        if any(kind.has_words for kind, _ in self._parts):
            digest.update(words_hash().encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> PublishedRow:
        """Read and check a row. Raises IndexError, and DataError that names the file and the row."""
        kind, where, raw = self.raw(index)
        try:
            return _checked(kind, where, raw)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        except RecursionError as error:
            raise DataError(f"{where}: it is nested too deeply") from error

    def raw(self, index: int) -> tuple[RowFormat, str, object]:
        """Return the format of a row, its file and line or number for messages, and the unchecked row.

        Raises:
            IndexError: there is no such row.
            DataError: it is not valid JSON.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.files[0].parent} has {len(self)} rows, no {index}")
        file = bisect.bisect_right(self._ends, index)
        kind, rows = self._parts[file]
        place, raw = rows[index - (self._ends[file - 1] if file else 0)]
        where = f"{self.files[file]}, {place}"
        try:
            return kind, where, _parsed(raw)
        except (ValueError, RecursionError) as error:  # RecursionError for deeply nested brackets
            raise DataError(f"{where}: not valid JSON: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_parts"}


class _Parquet(Sequence[Place]):
    """The rows of a Parquet file, each converted to Python's own types when it is asked for."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: Any) -> Any:
        return f"row {index}", self._table.slice(index, 1).to_pylist()[0]


def _files_of(path: AnyPath) -> list[AnyPath]:
    """List the files of rows at a path. Raises NotFoundError or DataError."""
    if not path.exists():
        # Some file systems also say so of a path that cannot be reached, as the Hub does with HF_HUB_OFFLINE.
        unreachable = "" if is_local(path) else ", or cannot be reached (is HF_HUB_OFFLINE set?)"
        raise NotFoundError(f"{path} does not exist{unreachable}")
    if not path.is_dir():
        if path.suffix not in SUFFIXES:
            raise DataError(f"{path}: rows are read from {', '.join(SUFFIXES)} files, or from a folder of them")
        return [path]
    files = sorted((file for file in path.iterdir() if not file.name.startswith(".")), key=lambda file: file.name)
    parquet = [file for file in files if file.suffix == ".parquet"]
    with_rows = parquet or [file for file in files if file.suffix in SUFFIXES]
    if not with_rows:
        raise NotFoundError(
            f"{path} is neither a dataset (there is no manifest.json) nor has it rows ({', '.join(SUFFIXES)} files)"
        )
    return with_rows


def _read(file: AnyPath) -> tuple[RowFormat, Sequence[Place]]:
    """Read the rows of a file, and tell their format; those of JSONL are its lines. Raises DataError."""
    rows: Sequence[Place]
    if file.suffix != ".parquet" and (size := file.stat().st_size) > limits.ROWS_BYTES:
        raise DataError(f"{file}: {limits.exceeds('bytes', size, 'ROWS_BYTES')}")
    check_regular(file)
    if file.suffix == ".parquet":
        table = read_parquet(file)
        rows, fields = _Parquet(table), set(table.schema.names)
    else:
        if file.suffix == ".jsonl":
            lines = enumerate(file.read_bytes().splitlines(), 1)
            rows = [(f"line {number}", line) for number, line in lines if line.strip()]
        else:
            rows = _json_rows(file)
        fields = _fields_of(rows)
    if not rows:
        raise DataError(f"{file} holds no rows")
    kind = next((kind for kind in FORMATS if any(known <= fields for known in kind.known_by)), None)
    if kind is None and fields:
        known = "; ".join(f"{kind.name}: {' and '.join(sorted(kind.known_by[0]))}" for kind in FORMATS)
        raise DataError(
            f"{file}: its rows have {short(sorted(map(str, fields)))}, by which no format is known. Formats are known "
            f"by these fields: {known}"
        )
    kind = kind or VERL
    return kind, rows if kind.split is None else list(_split(kind, rows))


def _json_rows(file: AnyPath) -> Sequence[Place]:
    """Read the rows of a JSON file: a list of them, or a table of rows by the names of videos. Raises DataError."""
    try:
        rows = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: damaged, or no {file.suffix} file: {error}") from error
    if isinstance(rows, Mapping) and rows and all(isinstance(row, Mapping) for row in rows.values()):
        return [(f"video {name}", {"video_path": f"{name}.mp4", **row}) for name, row in rows.items()]
    if not isinstance(rows, list):
        raise DataError(f"{file} is not a list of rows")
    return [(f"row {number}", row) for number, row in enumerate(rows)]


def _fields_of(rows: Iterable[Place]) -> set[str]:
    """Collect the fields of the first rows that can be read."""
    fields: set[str] = set()
    for _, raw in islice(rows, _LOOKED_AT):
        try:
            row = _parsed(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, Mapping):
            fields |= {name for name, value in row.items() if value is not None}
    return fields


def _split(kind: RowFormat, rows: Iterable[Place]) -> Iterable[Place]:
    """Yield the questions of rows that have several; a line that cannot be read stays one, for `raw` to say why."""
    for place, raw in rows:
        try:
            row = _parsed(raw)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, Mapping) and kind.split is not None:
            yield from ((f"{place}, {name}" if name else place, part) for name, part in kind.split(row))
        else:
            yield place, raw


def _parsed(raw: object) -> object:
    """Parse a row that is still a line. Raises ValueError or RecursionError."""
    return json.loads(raw) if isinstance(raw, bytes) else raw


def _checked(kind: RowFormat, where: str, raw: object) -> PublishedRow:
    """Check a row and read its fields. Raises DataError that says what it lacks."""
    if not isinstance(raw, Mapping):
        raise DataError(f"not a row, but {short(raw)}")
    if raw.get("images"):
        raise DataError("it shows images; only videos can be shown")
    row = kind.read(raw)
    source = row.data_source
    if not isinstance(source, str) or len(source) > _LONGEST:
        raise DataError(f"data_source is {short(source)}, not a name")
    try:
        f"{row.system}{row.prompt}{row.answer}{source}{row.category}".encode()
    except UnicodeEncodeError as error:
        raise DataError("its texts hold half a character (a lone surrogate)") from error
    text = json.dumps(raw, sort_keys=True, default=str)
    return PublishedRow(
        where=where,
        id=hashlib.sha256(text.encode()).hexdigest()[:20],
        data_source=source,
        system=row.system,
        prompt=row.prompt,
        answer=row.answer,
        videos=_entries(row),
        extra=row.extra,
        category=row.category[:_LONGEST],
    )


def _entries(row: RowFields) -> tuple[Table, ...]:
    """Check the clips of a row against its prompt. Raises DataError."""
    if not row.videos:
        raise DataError("it shows no video")
    if row.prompt.count(VIDEO) != len(row.videos):
        raise DataError(f"{row.prompt.count(VIDEO)} {VIDEO} in the prompt, but {len(row.videos)} videos")
    entries: tuple[Table, ...] = tuple(
        entry if isinstance(entry, Mapping) else {"video": entry} for entry in row.videos
    )
    shown = (entry.get("video") for entry in entries)
    frames = sum(len(names) for names in shown if isinstance(names, list))
    if frames > limits.ROW_FRAMES:
        raise DataError(limits.exceeds("frames", frames, "ROW_FRAMES"))
    return entries
