"""Read JSON and TOML that strangers may have written: neither a long file nor deep brackets end the process.

Everything that reads a manifest, a recipe or settings of a checkpoint or a run goes through this module. Callers of
all but `read_toml` name the file in the error.
"""

from __future__ import annotations

import json
import tomllib
import zlib
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from videossr.errors import ConfigError, NotFoundError
from videossr.registry import suggest
from videossr.storage import limits
from videossr.storage.paths import AnyPath, check_regular
from videossr.untrusted import one_line

T = TypeVar("T")

_DEPTH = 64
"""Tables and lists within each other, at most. Our own files have 8."""

_TOO_DEEP = f"its tables and lists are nested more than {_DEPTH} deep"


def read_limited(path: AnyPath, name: str) -> bytes:
    """Read a whole file that should be small.

    Args:
        path: of the file, local or remote.
        name: the limit of its bytes, a constant of `videossr.storage.limits`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is longer; no more than that was read. The error does not name the file.
    """
    most: int = getattr(limits, name)
    check_regular(path)
    with path.open("rb") as file:
        data: bytes = file.read(most + 1)
    if len(data) > most:
        raise ValueError(limits.exceeds("bytes or more", len(data), name))
    return data


def parse_json(text: str | bytes) -> Any:
    """Parse JSON. Raises ValueError where it is damaged or nested too deeply."""
    return _parse(json.loads, text)


def unpack_json(data: bytes) -> Any:
    """Parse JSON that zlib has compressed. Raises ValueError as `parse_json`, and beyond `limits.JSON_BYTES`."""
    try:
        text = zlib.decompressobj().decompress(data, limits.JSON_BYTES + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if len(text) > limits.JSON_BYTES:
        raise ValueError(limits.exceeds("bytes or more", len(text), "JSON_BYTES"))
    return parse_json(text)


def load_json(path: AnyPath) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, nested too deeply, or longer than `limits.JSON_BYTES`.
    """
    return parse_json(read_limited(path, "JSON_BYTES").decode())


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML. Raises ValueError where it is damaged or nested too deeply."""
    table: dict[str, Any] = _parse(tomllib.loads, text)
    return table


def load_toml(path: AnyPath) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, nested too deeply, or longer than `limits.TOML_BYTES`.
    """
    return parse_toml(read_limited(path, "TOML_BYTES").decode())


def read_toml(path: AnyPath) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        NotFoundError: there is none; the message names the nearest file beside it.
        ConfigError: it is not valid; the message names the file, the line and the column.
    """
    try:
        return load_toml(path)
    except FileNotFoundError as error:
        folder = path.parent
        beside = [file.name for file in folder.glob("*.toml")] if folder.is_dir() else []
        hint = suggest(path.name, beside) if beside else "."
        raise NotFoundError(f"{path}: there is no such file{hint}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def wrong_keys(error: ValidationError) -> str:
    """Name the first keys of a file at which its content is not what it should be, for a message."""
    places = (".".join(str(key) for key in problem["loc"] if key != "[key]") for problem in error.errors()[:3])
    return ", ".join(one_line(place, 80) or "all of it" for place in places)


def _parse(parser: Callable[[T], object], text: T) -> Any:
    """Call a parser of JSON or TOML. Raises ValueError as it does, and where the text is nested too deeply."""
    try:
        return _shallow(parser(text))
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error


def _shallow(value: Any) -> Any:
    """Return a parsed value. Raises ValueError where it is nested so deeply that comparing or writing it would fail."""
    level = [value]
    for _ in range(_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)
