"""One line of what `videossr validate` found out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check, the category that it is about ('' for the whole dataset), whether it holds, and what was measured.

    `holds` is None for a figure that is reported without a bound, and where there are too few samples to tell.
    """

    check: str
    category: str
    holds: bool | None
    text: str
