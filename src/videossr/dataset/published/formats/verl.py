"""Rows of verl's training data, in which the paper's data is published.

They have `data_source`, `prompt` (a system turn, or none, and the user's), `videos`, `reward_model` with the
`ground_truth`, and `extra_info`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from videossr.dataset.published.formats.base import RowFields, RowFormat, Table, list_of, require, short, turns_of
from videossr.errors import DataError


def read(row: Table) -> RowFields:
    """Read a row. Raises DataError."""
    require(row, "data_source", "prompt", "videos", "reward_model")
    reward = row["reward_model"]
    answer = reward.get("ground_truth") if isinstance(reward, Mapping) else None
    if not isinstance(answer, str | int) or isinstance(answer, bool):
        raise DataError(f"reward_model has no text as its ground_truth, but {short(answer)}")
    turns = turns_of(row, "prompt", (["user"], ["system", "user"]))
    return RowFields(
        data_source=row["data_source"],
        system=turns.get("system", ""),
        prompt=turns["user"],
        answer=str(answer),
        videos=list_of(row, "videos"),
        extra=_extra(row.get("extra_info")),
    )


def _extra(extra: object) -> Table:
    """Read `extra_info`, which some sets write as JSON; empty where it cannot be read."""
    if isinstance(extra, str):
        try:
            extra = json.loads(extra)
        except (ValueError, RecursionError):
            return {}
    return extra if isinstance(extra, Mapping) else {}


VERL = RowFormat("verl", (frozenset({"reward_model"}),), read)
