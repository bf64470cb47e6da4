"""Read the files of public benchmarks as their authors publish them: JSON, JSON lines, CSV, Parquet and text.

`Data` is the folder in which a benchmark lies, local or at an address such as ``hf://datasets/OpenGVLab/MVBench``. Its
readers yield a `Record` for each row, whose methods check the fields that a benchmark asks for.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from videossr.errors import DataError, NotFoundError
from videossr.storage.parquet import read_batches
from videossr.storage.parsing import parse_json, read_limited
from videossr.storage.paths import AnyPath, file_hash

_ROWS = 256
"""Rows of a Parquet file that are held at once."""


class RowError(DataError):
    """A row of a benchmark cannot be used: a field is missing or has another form, or its answer is none."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a file.

    Attributes:
        where: file and row, for messages.
        fields: what the row holds.
        context: what the place of the row says, such as the task that its file is named after.
        damage: why it has no fields; empty where it could be read.
    """

    where: str
    fields: Mapping[str, Any]
    context: Mapping[str, str] = field(default_factory=dict)
    damage: str = ""

    def text(self, name: str) -> str:
        """Return a field that must be a text that is not blank. Raises RowError."""
        value = self._value(name)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(f"{name} must be a text, got {value!r:.80}")
        return self._sound(name, value)

    def optional_text(self, name: str) -> str:
        """Return a field that may be missing, null or empty; it is an empty text then. Raises RowError."""
        value = self._value(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.fault(f"{name} must be a text, got {value!r:.80}")
        return self._sound(name, value)

    def number(self, name: str) -> float:
        """Return a field that must be a finite number. Raises RowError."""
        number = _finite(self._value(name))
        if number is None:
            raise self.fault(f"{name} must be a number, got {self._value(name)!r:.80}")
        return number

    def integer(self, name: str) -> int:
        """Return a field that must be a whole number. Raises RowError."""
        value = self._value(name)
        if isinstance(value, bool) or not isinstance(value, int) or _finite(value) is None:
            raise self.fault(f"{name} must be a whole number, got {value!r:.80}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a field that must be a list of one or more texts. Raises RowError."""
        value = self._value(name)
        if not isinstance(value, list | tuple) or not value or not all(isinstance(item, str) for item in value):
            raise self.fault(f"{name} must be a list of texts, got {value!r:.80}")
        return tuple(self._sound(name, item) for item in value)

    def spans(self, name: str) -> tuple[tuple[float, float], ...]:
        """Return a field that must be a list of one or more pairs of numbers. Raises RowError."""
        value = self._value(name)
        if not isinstance(value, list | tuple) or not value:
            raise self.fault(f"{name} must be a list of pairs of numbers, got {value!r:.80}")
        pairs = []
        for pair in value:
            ends = [_finite(end) for end in pair] if isinstance(pair, list | tuple) else []
            if len(ends) != 2 or ends[0] is None or ends[1] is None:
                raise self.fault(f"{name} must be a list of pairs of numbers, got {pair!r:.80} in it")
            pairs.append((ends[0], ends[1]))
        return tuple(pairs)

    def _value(self, name: str) -> Any:
        """Return a field, or None. Raises RowError where the row could not be read at all."""
        if self.damage:
            raise self.fault(self.damage)
        return self.fields.get(name)

    def _sound(self, name: str, text: str) -> str:
        """Return a text that can be stored. Raises RowError where it holds half of a character."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.fault(f"{name} is not Unicode: {error.reason}") from error
        return text

    def fault(self, what: str) -> RowError:
        """Return the error that says what is wrong with this row."""
        return RowError(f"{self.where}: {what}")


class Data:
    """The folder of a benchmark. Its readers remember which files were read, for the hash of the questions.

    Args:
        root: the folder.
        source: where the files come from, for messages.
    """

    def __init__(self, root: AnyPath, source: str) -> None:
        self.root = root
        self._source = source
        self._digests: dict[str, str] = {}

    @property
    def hash(self) -> str:
        """SHA-256 in hex over the names and the bytes of the annotation files that were read."""
        return hashlib.sha256(json.dumps(sorted(self._digests.items())).encode()).hexdigest()

    def find(self, *names: str) -> str:
        """Return the first of these paths below the folder that exists. Raises NotFoundError."""
        for name in names:
            if (self.root / name).is_file():
                return name
        if not self.root.is_dir():
            raise NotFoundError(f"{self.root} is no folder: name the one of the benchmark with --data")
        raise NotFoundError(
            f"{self.root} has no {' and no '.join(names)}: get the files from {self._source}, and name their folder "
            "with --data (`videossr bench list NAME` shows how it must look)"
        )

    def bytes(self, name: str) -> bytes:
        """Read a whole annotation file. Raises DataError where it is too long."""
        try:
            data = read_limited(self.root / name, "ROWS_BYTES")
        except ValueError as error:
            raise DataError(f"{self.root / name}: {error}") from error
        self._digests[name] = hashlib.sha256(data).hexdigest()
        return data

    def content(self, name: str) -> str:
        """Read a text file, with or without a byte order mark. Raises DataError where it is not UTF-8."""
        try:
            return self.bytes(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.root / name} is not UTF-8: {error}") from error

    def json(self, name: str) -> Any:
        """Read a JSON file. Raises DataError where it is damaged."""
        try:
            return parse_json(self.content(name))
        except DataError:
            raise
        except ValueError as error:
            raise DataError(f"{self.root / name} is not valid JSON: {error}") from error

    def json_rows(self, name: str, **context: str) -> Iterator[Record]:
        """Yield the rows of a JSON file that is a list of objects. Raises DataError where it is something else."""
        rows = self.json(name)
        if not isinstance(rows, list):
            raise DataError(f"{self.root / name} must be a list of rows, and is {type(rows).__name__}")
        yield from self.records(name, rows, **context)

    def json_table(self, name: str) -> dict[str, Any]:
        """Read a JSON file that is an object. Raises DataError where it is something else."""
        table = self.json(name)
        if not isinstance(table, dict):
            raise DataError(f"{self.root / name} must be an object, and is {type(table).__name__}")
        return table

    def records(self, name: str, rows: Iterable[object], **context: str) -> Iterator[Record]:
        """Yield a record for each row of a file, also for one that is no object, which then is damaged."""
        for number, row in enumerate(rows, 1):
            where = f"{self.root / name}, row {number}"
            if isinstance(row, Mapping):
                yield Record(where, row, context)
            else:
                yield Record(where, {}, context, f"it is no object, but {row!r:.80}")

    def json_lines(self, name: str, **context: str) -> Iterator[Record]:
        """Yield the rows of a file of JSON lines; blank lines do not count, and the last one needs no end."""
        for where, line in self.lines(name):
            try:
                row = parse_json(line)
            except ValueError as error:
                yield Record(where, {}, context, f"it is not valid JSON: {error}")
                continue
            if isinstance(row, dict):
                yield Record(where, row, context)
            else:
                yield Record(where, {}, context, f"it is no object, but {row!r:.80}")

    def lines(self, name: str) -> Iterator[tuple[str, str]]:
        """Yield place and text of each line of a text file that is not blank."""
        for number, line in enumerate(self.content(name).split("\n"), 1):  # other line breaks may be in a text
            if line.strip():
                yield f"{self.root / name}, line {number}", line

    def csv(self, name: str, **context: str) -> Iterator[Record]:
        """Yield the rows of a CSV file with a header. Raises DataError where it is damaged."""
        reader = csv.DictReader(io.StringIO(self.content(name), newline=""))
        try:
            for row in reader:
                fields = {key.strip(): value for key, value in row.items() if isinstance(key, str)}
                yield Record(f"{self.root / name}, line {reader.line_num}", fields, context)
        except csv.Error as error:
            raise DataError(f"{self.root / name}, line {reader.line_num}: {error}") from error

    def parquet(self, name: str, **context: str) -> Iterator[Record]:
        """Yield the rows of a Parquet file, without columns of bytes, such as pictures."""
        path = self.root / name
        self._digests[name] = file_hash(path)
        number = 0
        for batch in read_batches(path, _ROWS):
            texts = [column.name for column in batch.schema if not _holds_bytes(column.type)]
            for row in batch.select(texts).to_pylist():
                number += 1
                yield Record(f"{path}, row {number}", row, context)


def _finite(value: object) -> float | None:
    """Return a finite number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _holds_bytes(kind: pa.DataType) -> bool:
    """Tell whether a column holds bytes, as those of pictures, perhaps with their name in a struct."""
    if pa.types.is_struct(kind):
        return any(_holds_bytes(kind.field(place).type) for place in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
