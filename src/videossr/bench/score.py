"""Scores of a run as the paper counts them (paper, section on VIUBench), each with how sure it is.

Exercised by `videossr bench score RUN`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean in [0, 1], and its bootstrap 95% interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ColumnScore:
    """What a run reached in one column.

    Attributes:
        column, task: of the questions.
        metric: `miou`, `per_shape` or `exact`.
        asked: questions of the column that were asked.
        answered: those that gave a text.
        parsed: those whose text has the asked form.
        score: the column's metric; what failed or does not parse counts as wrong.
        answered_score: the same over what parsed alone, as the released scripts count; None if nothing did.
        smooth, strict: mean of both rewards over all that were asked.
    """

    column: str
    task: str
    metric: str
    asked: int
    answered: int
    parsed: int
    score: Estimate
    answered_score: Estimate | None
    smooth: Estimate
    strict: Estimate


@dataclass(frozen=True, slots=True)
class Scoreboard:
    """All columns of a run, and their means.

    Attributes:
        run: name of the run.
        hash: content hash of the benchmark.
        columns: in the paper's order where they are the paper's, then by name.
        overall: mean of the columns.
        tasks: mean of the columns of each task, by its name.
        abilities: mean of the columns of each ability (`fine-grained`, `spatial`, `temporal`), by its name.
        coverage: share of the benchmark's questions that gave a text.
        unparsed: share of the answered questions whose text does not have the asked form.
    """

    run: str
    hash: str
    columns: tuple[ColumnScore, ...]
    overall: Estimate
    tasks: dict[str, Estimate]
    abilities: dict[str, Estimate]
    coverage: float
    unparsed: float
