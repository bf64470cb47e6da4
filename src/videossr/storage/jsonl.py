"""Write and read files of JSON lines, so that a kill loses no line that was written and spoils none.

A line that a kill has cut off in the middle is the last one of its file and has no end. Reading stops before it, and
opening the file to write cuts it off. Called by `videossr index`, `videossr bench run` and `videossr train`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from videossr.errors import DataError
from videossr.storage.parsing import parse_json, read_limited
from videossr.storage.paths import AnyPath, check_regular, own_file, write_bytes

T = TypeVar("T")

SYNC = 5.0
"""Seconds between two times at which a file is forced to the disk: a power cut loses no more."""

_BLOCK = 1 << 16
"""Bytes that are read at once to find the end of the last whole line."""


class JsonlWriter:
    """Append records to a local file, one JSON line each. Use it as a context manager, which closes the file.

    A line has left this process when `append` returns, so that a kill does not lose it.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`, which is created if needed; a last line without an end is cut off.

        Raises:
            OutputError: `path` is a link, see `own_file`.
        """
        self._path = path
        _cut_torn_line(path)
        self._file = open(path, "ab", buffering=0, opener=own_file)  # noqa: SIM115 (see `close`)
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except OSError:
            if kind is None:  # else the error that ended the block is the one to be told
                raise

    def append(self, record: object) -> bool:
        """Write one line.

        Args:
            record: a dataclass or a JSON value, see `json_line`.

        Returns:
            Whether the file was forced to the disk now, which happens every `SYNC` seconds at most.

        Raises:
            OSError: nothing more can be written, as on a full disk; the error names the file.
        """
        rest = memoryview(f"{json_line(record)}\n".encode())
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:  # the system says that the disk is full, but not which file wanted more
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        if time.monotonic() - self._synced <= SYNC:
            return False
        self.sync()
        return True

    def close(self) -> None:
        """Force what was written to the disk, and close the file. Raises OSError that names the file."""
        try:
            self.sync()
        finally:
            self._file.close()

    def sync(self) -> None:
        """Force what was written to the disk. Raises OSError that names the file."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        self._synced = time.monotonic()


def json_line(record: object) -> str:
    """Return a record as one line of JSON, without its end.

    Args:
        record: a dataclass, or a JSON value. A number that is not finite becomes its name, since JSON has none for it;
            `read_jsonl` reads it back as a number.
    """
    table = dataclasses.asdict(record) if dataclasses.is_dataclass(record) else record  # type: ignore[arg-type]
    return json.dumps(_finite(table), ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def read_jsonl(
    kind: type[T], path: AnyPath, *, fault: str = "damaged", skip_damaged: bool = False, way_out: str = ""
) -> Iterator[T]:
    """Yield the records of a file of JSON lines; a file that is not there has none.

    Reading stops at a last line without an end, which a kill has cut off.

    Args:
        kind: type of a record, which pydantic checks.
        path: of the file, local or remote.
        fault: word in the message for a line that is something else.
        skip_damaged: leave such lines out, for files that only save work.
        way_out: what a user can do about a damaged line, for the message.

    Raises:
        DataError: a line is something else; the message names the file and the number of the line.
    """
    if not path.exists():
        return
    check_regular(path)
    adapter = TypeAdapter(kind)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                record = adapter.validate_json(line)
            except ValidationError as error:
                if skip_damaged:
                    continue
                problem = error.errors(include_url=False)[0]
                where = ".".join(map(str, problem["loc"]))
                raise _damaged(f"{path}:{number}: {fault}: {where} {problem['msg']}", way_out) from error
            yield record


def filter_jsonl(path: Path, wanted: Callable[[Any], bool]) -> None:
    """Remove the lines of a file whose records are not wanted, and a last line without an end.

    The lines that stay are the same bytes. A file of which all lines stay is not written, nor one that is not there.

    Args:
        path: of the file.
        wanted: says of the parsed JSON of a line whether it stays; it may raise KeyError or TypeError for a line that
            is not what it expects.

    Raises:
        DataError: a line is damaged; the message names the file and the number of the line, and nothing is removed.
    """
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    wanted_lines = []
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        try:
            if wanted(parse_json(line)):
                wanted_lines.append(line)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}:{number}: damaged: {error}") from error
    if len(wanted_lines) < len(lines):
        write_bytes(path, b"".join(wanted_lines))


def read_json(kind: type[T], path: AnyPath, way_out: str = "") -> T | None:
    """Read a JSON file, or return None where there is none.

    Args:
        kind: type of its content, which pydantic checks.
        path: of the file, local or remote.
        way_out: what a user can do about a damaged file, for the message.

    Raises:
        DataError: it holds something else; the message names the file.
    """
    try:
        return TypeAdapter(kind).validate_json(read_limited(path, "JSON_BYTES"))
    except FileNotFoundError:
        return None
    except ValidationError as error:
        fault = f"{path}: damaged, or of another version: {error.errors()[0]['msg']}"
        raise _damaged(fault, way_out) from error
    except ValueError as error:
        raise _damaged(f"{path}: {error}", way_out) from error


def _damaged(fault: str, way_out: str) -> DataError:
    return DataError(f"{fault}; {way_out}" if way_out else fault)


def _cut_torn_line(path: Path) -> None:
    """Cut off a last line without an end, which a killed run has not finished."""
    if not path.exists():
        return
    with open(path, "rb+", opener=own_file) as file:
        size = file.seek(0, os.SEEK_END)
        end = size
        while end:
            start = max(0, end - _BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
