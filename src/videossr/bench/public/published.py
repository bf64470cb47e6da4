"""Read what the paper prints about public benchmarks from `published.toml`: columns, scores, and open points.

Exercised by `videossr report RUN --layout paper`.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from videossr.bench.public.base import Domain

FRAMES = (32, 48, 64)
"""Numbers of frames that the paper shows, at most each."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the paper's tables.

    Attributes:
        heading: of the column.
        benchmark: registered name of the benchmark.
        title: its name as people write it.
        domain: the group of columns that it is in.
        open: what decides a score, and the paper does not say.
        figure: that the paper prints, where the headline of a part of the benchmark may be another; else empty.
    """

    heading: str
    benchmark: str
    title: str
    domain: Domain
    open: tuple[str, ...] = ()
    figure: str = ""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A row that the paper prints, in percent. Rows of one table at one number of frames begin with the base model."""

    model: str
    frames: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """All of it.

    Attributes:
        arxiv: identifier of the paper.
        columns: in the paper's order.
        scores: the headline figure of each column.
        recall: R@0.3, R@0.5 and R@0.7 of each grounding set.
        ablation: see `videossr.bench.public.paper.ABLATION`.
        open: what it leaves open, or what differs, in all columns.
    """

    arxiv: str
    columns: tuple[Column, ...]
    scores: tuple[PublishedRow, ...]
    recall: tuple[PublishedRow, ...]
    ablation: tuple[PublishedRow, ...]
    open: tuple[str, ...]


@cache
def published() -> Published:
    """Read what the paper prints."""
    table = tomllib.loads((files("videossr.bench.public") / "published.toml").read_text("utf-8"))
    return Published(
        arxiv=table["arxiv"],
        columns=tuple(Column(**{**row, "open": tuple(row.get("open", ()))}) for row in table["columns"]),
        scores=_rows(table["scores"]),
        recall=_rows(table["recall"]),
        ablation=_rows(table["ablation"]),
        open=tuple(table["open"]),
    )


def _rows(rows: list[dict[str, Any]]) -> tuple[PublishedRow, ...]:
    return tuple(PublishedRow(row["model"], row["frames"], tuple(row["values"])) for row in rows)
