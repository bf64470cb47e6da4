"""Read what a run has written: JSON lines that a kill may have cut off, and a manifest that is written last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from videossr.errors import DataError
from videossr.storage.paths import AnyPath

T = TypeVar("T")


def read_lines(kind: type[T], path: AnyPath, fault: str = "damaged") -> Iterator[T]:
    """Yield the records of a file of JSON lines; a file that is not there has none.

    Args:
        kind: what each line is, for pydantic.
        path: of the file.
        fault: what the message calls a line that is something else.

    Reading stops at a last line without an end, which a kill has cut off. Raises ValueError that names file and line.
    """
    if not path.exists():
        return
    adapter = TypeAdapter(kind)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield adapter.validate_json(line)
            except ValidationError as error:
                problem = error.errors(include_url=False)[0]
                where = ".".join(map(str, problem["loc"]))
                raise DataError(f"{path}:{number}: {fault}: {where} {problem['msg']}") from error


def read_record(kind: type[T], path: AnyPath) -> T | None:
    """Read a JSON file, or return None where there is none. Raises ValueError that names it when it is damaged."""
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise DataError(f"{path}: damaged, or of another version: {error.errors()[0]['msg']}") from error
