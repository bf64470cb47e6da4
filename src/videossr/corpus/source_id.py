"""Find the source ids of clips in their paths by a regular expression, which may come with a recipe of somebody else.

`videossr index --source-id` calls `source_ids`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from videossr.errors import ConfigError
from videossr.runners.deadline import OverrunError, run_within

_SECONDS = 60
"""For all paths together; 100,000 paths take less than one second."""


def source_ids(expression: str, paths: Sequence[str]) -> dict[str, str | None]:
    """Search a regular expression in each path; its group 1 names the footage that a clip is from.

    Args:
        expression: with one group or more.
        paths: of the clips.

    Returns:
        The source id of each path; None where the expression is not found in it.

    Raises:
        ConfigError: the expression is none, names no footage, or does not end on these paths.
    """
    check_expression(expression)
    if not paths:
        return {}
    try:
        found = run_within(_SECONDS, f"{__name__}:search", [expression, list(paths)])
    except OverrunError as error:
        raise ConfigError(
            f"source_id {expression!r}, searched in {len(paths)} paths, {error}: repetitions within each other, as in "
            "(a+)+, try all ways to divide a path; write it without them"
        ) from error
    return dict(zip(paths, found, strict=True))


def check_expression(expression: str) -> None:
    """Raise ConfigError for a text that is no regular expression, or names no footage."""
    try:
        pattern = re.compile(expression)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"source_id {expression!r} is not a regular expression: {error}") from error
    if not pattern.groups:
        raise ConfigError(f"source_id {expression!r} needs a group in parentheses: it names the footage")


def search(call: tuple[str, list[str]]) -> list[str | None]:
    """Search an expression in paths, in the process of its own."""
    expression, paths = call
    pattern = re.compile(expression)
    matches = (pattern.search(path) for path in paths)
    return [match[1] if match else None for match in matches]
