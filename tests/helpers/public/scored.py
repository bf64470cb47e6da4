"""Read the rows of a fixture and score answers to them, as a run of the benchmark would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.helpers.public import write
from videossr.bench.public.annotations import Data
from videossr.bench.public.base import BENCHMARKS, BadRow, Row
from videossr.bench.public.scoring import mark, rules_of
from videossr.bench.records import Prediction
from videossr.config import parse


def load(name: str, root: Path, **settings: object) -> list[Row | BadRow]:
    """Write the fixture of a benchmark below `root`, and read its rows."""
    kind = BENCHMARKS.get(name)
    benchmark = kind()
    chosen = parse(kind.Settings, settings, name)
    return list(benchmark.load(Data(write(name, root), benchmark.facts.source), chosen))


def rows_of(name: str, root: Path, **settings: object) -> list[Row]:
    """Read the rows of a fixture that can be used."""
    return [row for row in load(name, root, **settings) if isinstance(row, Row)]


def figures(name: str, rows: list[Row], answers: Mapping[str, str], rule: str = "ours") -> dict[str, float]:
    """Score answers, by the id of the row; a row without one has failed.

    Returns:
        The figures, each over all questions, or over the answered ones where the rule leaves the others out, by
        `name` or `scope: name`.
    """
    benchmark = BENCHMARKS.get(name)()
    chosen = rules_of(benchmark)[rule]
    marked = [
        mark(
            Prediction(
                id=row.id,
                index=index,
                category=row.category,
                data_source=f"videossr/{row.answer_type}",
                answer=row.answer,
                difficulty=row.groups,
                times_ms=(0,),
                end_ms=1,
                source=row.footage[0].paths[0],
                texts=(answers[row.id],) if row.id in answers else (),
            ),
            chosen,
        )
        for index, row in enumerate(rows)
    ]
    found: dict[str, float] = {}
    for figure in benchmark.figures(marked, rule):
        parts = [part for part in (figure.parts if chosen.counts_unread else figure.answered) if part]
        means = figure.means(parts)
        label = f"{figure.scope}: {figure.name}" if figure.scope else figure.name
        found[label] = sum(means) / len(means) if means else float("nan")
    return found
