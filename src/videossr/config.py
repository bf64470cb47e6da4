"""Configuration: TOML tables checked by pydantic dataclasses, dotted overrides, errors that name the nearest key."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from videossr.registry import suggest

T = TypeVar("T")


def parse(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """An instance of the pydantic dataclass `kind` from a table.

    Raises ValueError with one line per mistake; `where` names the file or option the table came from.
    """
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    unknown = [f"{where}: unknown key {name!r}{suggest(name, known)}" for name in table if name not in known]
    if unknown:
        raise ValueError("\n".join(unknown))
    try:
        return TypeAdapter(kind).validate_python(dict(table))
    except ValidationError as error:
        lines = []
        for problem in error.errors(include_url=False):
            place = ".".join(str(part) for part in problem["loc"])
            got = f", got {problem['input']!r}" if problem["loc"] else ""
            lines.append(f"{where}: {place + ': ' if place else ''}{problem['msg']}{got}")
        raise ValueError("\n".join(lines)) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file. Raises ValueError that names the file when it is not valid."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from error


def override(table: Mapping[str, Any], dotted: str, text: str) -> dict[str, Any]:
    """A copy of `table` with the value at `a.b.c` replaced; `text` is a TOML value, or else taken as a string.

    Every name but the last must exist already.
    """
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    head, *rest = dotted.split(".", 1)
    copy = dict(table)
    if not rest:
        copy[head] = value
        return copy
    inner = copy.get(head)
    if not isinstance(inner, Mapping):
        raise ValueError(f"{dotted}: there is no table {head!r}{suggest(head, copy)}")
    copy[head] = override(inner, rest[0], text)
    return copy
