"""Check configurations: TOML tables for pydantic dataclasses, dotted overrides, errors that name the nearest key."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Hashable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from videossr.errors import ConfigError
from videossr.registry import suggest

T = TypeVar("T")


def parse(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """Make an instance of a pydantic dataclass from a table.

    Args:
        kind: the dataclass.
        table: values of its fields; those of fields that are dataclasses are tables too.
        where: file or option that the table came from, as messages name it.

    Raises:
        ConfigError: the table does not fit, with one line per mistake.
    """
    try:
        adapter: TypeAdapter[T] = _adapter(cast(Hashable, kind))
        # By the strict rules of JSON, lists are tuples and tables are dataclasses, but true and "1" are no integers.
        return adapter.validate_json(json.dumps(dict(table), default=str), strict=True)
    except ValidationError as error:
        lines = (_line(kind, problem) for problem in error.errors(include_url=False))
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from error


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Prepare the checks of a dataclass, which takes far longer than to check one table."""
    return TypeAdapter(kind)


def _line(kind: Any, problem: ErrorDetails) -> str:
    """Describe one mistake in words, with the nearest name that would have been right."""
    *outer, last = problem["loc"] or ("",)
    inside = "".join(f" in {name}" for name in outer[:1])
    if problem["type"] == "unexpected_keyword_argument":
        for name in outer:
            # A table of tables, whatever their names, leads on to what each of them is.
            kind = get_args(kind)[1] if get_origin(kind) is dict else get_type_hints(kind)[str(name)]
        known = [field.name for field in dataclasses.fields(kind)]
        return f"unknown key {str(last)!r}{inside}{suggest(str(last), known)}"
    place = ".".join(str(name) for name in problem["loc"] if name != "[key]")
    if problem["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        return f"{place}: no {problem['input']!r}{suggest(str(problem['input']), known)}"
    if problem["type"] == "string_pattern_mismatch" and (
        signs := re.fullmatch(r"\^\[\\w(.*)\]\+\$", problem["ctx"]["pattern"])
    ):
        return f"{place}: may hold letters, digits and _{signs[1]} only, at least one of them, got {problem['input']!r}"
    if problem["type"] == "missing":
        return f"{place}: must be set, it has no default{_known_values(kind, str(last)) if not outer else ''}"
    got = f", got {problem['input']!r}" if place else ""
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place + ': ' if place else ''}{message}{got}"


def _known_values(kind: Any, name: str) -> str:
    """Write the values that the schema of a field lists, for the end of a message; nothing where it lists none."""
    schema: dict[str, Any] = {}
    extra = kind.__pydantic_fields__[name].json_schema_extra
    if callable(extra):
        extra(schema)
    return f". Known: {', '.join(schema['enum'])}" if "enum" in schema else ""


def override(table: Mapping[str, Any], dotted: str, value: object) -> dict[str, Any]:
    """Return a copy of a table with one value replaced.

    Args:
        table: of tables; it is not changed. Tables on the way to the value that are missing are added, and `parse` says
            whether they may be there.
        dotted: name of the value, such as ``a.b.c``.
        value: text as TOML writes the value, or else a string; anything but text is taken as it is.

    Raises:
        ConfigError: a name on the way stands for a value, not for a table; or `dotted` is no text.
    """
    if not isinstance(dotted, str):
        raise ConfigError(f"settings have names such as 'a.b.c', got {dotted!r}")
    copy = dict(table)
    inner = copy
    *path, last = dotted.split(".")
    for name in path:
        below = inner.get(name, {})
        if not isinstance(below, Mapping):
            raise ConfigError(f"{dotted}: {name} is {below!r}, not a table")
        inner[name] = dict(below)
        inner = inner[name]
    inner[last] = _toml_value(value) if isinstance(value, str) else value
    return copy


def _toml_value(text: str) -> object:
    """Parse one value of TOML; all other text, such as a path or a value with a comment behind it, is a string."""
    try:
        document = tomllib.loads(f"value = [{text}]")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    values = document.pop("value")
    return text if document or len(values) != 1 else values[0]


def plain(config: object) -> dict[str, Any]:
    """Return a configuration as TOML and JSON can hold it.

    Args:
        config: a dataclass or a mapping, in any depth.

    Returns:
        Tables as dicts and sequences as lists; what is None is left out.
    """
    table = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else config  # type: ignore[arg-type]
    if not isinstance(table, Mapping):
        raise TypeError(f"a configuration is a dataclass or a mapping, got {type(config).__name__}")
    return {name: _plain_value(value) for name, value in table.items() if value is not None}


def _plain_value(value: object) -> object:
    if isinstance(value, Mapping):
        return plain(value)
    return [_plain_value(item) for item in value] if isinstance(value, tuple | list) else value


def flatten(table: Mapping[str, Any], separator: str = ".") -> dict[str, Any]:
    """Return the values of a table of tables by their joined names, such as ``optim.lr``; empty tables are left out."""
    values: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping):
            inner = flatten(value, separator)
            values |= {f"{name}{separator}{below}": leaf for below, leaf in inner.items()}
        else:
            values[name] = value
    return values


def changes(recorded: Mapping[str, object], wanted: Mapping[str, object], most: int = 6) -> list[str]:
    """Say key by key in what two tables differ.

    Args:
        recorded: the table that was written then.
        wanted: the table that is asked for.
        most: keys that are named at most; behind them stands how many more there are.

    Returns:
        One phrase a key, such as ``recipe.categories.jigsaw/6.count is 2 there, 3 now``. None where both are equal.
    """
    phrases = list(_changes(recorded, wanted, ""))
    return phrases if len(phrases) <= most else [*phrases[:most], f"and {len(phrases) - most} more"]


def _changes(recorded: Mapping[str, object], wanted: Mapping[str, object], prefix: str) -> Iterator[str]:
    for name in {**recorded, **wanted}:
        old, new = recorded.get(name, _UNSET), wanted.get(name, _UNSET)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{prefix}{name}.")
        elif old != new:
            yield f"{prefix}{name} is {_short(old)} there, {_short(new)} now"


_UNSET = object()


def _short(value: object) -> str:
    """Write a value on one line, cut where it is long."""
    if value is _UNSET:
        return "not set"
    if isinstance(value, Mapping):
        return "a table"
    text = repr(value)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


_SHORT = 60
"""Characters of a value in a message."""
