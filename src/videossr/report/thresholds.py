"""What the gates of a dataset measured, column by column, and which videos they would admit at other thresholds.

Printed by `videossr dataset info DATASET --gates`, drawn by `videossr validate DATASET --plot gates.png`.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videossr.build import measures
from videossr.measure import Measure
from videossr.registry import suggest
from videossr.store import Place

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass
class Line:
    """One measure of a column, as `Measure` has it, with the values and thresholds of all videos.

    `values` has a NaN for each video of which it was not measured, after a failure that no setting can mend.
    """

    gate: str
    least: bool
    knob: str
    either: str
    values: array[float] = field(default_factory=lambda: array("d"))
    thresholds: array[float] = field(default_factory=lambda: array("d"))

    def add(self, video: int, measure: Measure) -> None:
        """Add what was measured of a video, by its number, which ascends; of two measures of one video, the worse."""
        for column, value in ((self.values, measure.value), (self.thresholds, measure.threshold)):
            column.extend([np.nan] * (video + 1 - len(column)))
            worse = min if self.least == (column is self.values) else max
            column[video] = value if np.isnan(column[video]) else worse(column[video], value)

    @property
    def measured(self) -> Doubles:
        """All values that were measured."""
        values = np.array(self.values, np.float64)
        return values[~np.isnan(values)]

    @property
    def threshold(self) -> float:
        """The threshold; the median of all where it differs from video to video."""
        return float(np.nanmedian(np.array(self.thresholds, np.float64)))

    def passed(self, videos: int, threshold: float | None = None) -> tuple[Bools, Bools]:
        """Tell of each of `videos` whether it passes, by `threshold` or else by its own, and whether it was measured.

        What was not measured does not fail.
        """
        values, own = (np.full(videos, np.nan), np.full(videos, np.nan))
        values[: len(self.values)] = self.values
        own[: len(self.thresholds)] = self.thresholds
        asked = ~np.isnan(values)
        limit = own if threshold is None else np.full(videos, threshold)
        return ~asked | (values >= limit if self.least else values <= limit), asked


@dataclass
class Column:
    """What the gates of a column measured: `contents` are the hashes of the videos, and `lines` what is asked of them.

    Lines are in the order in which the task asks.
    """

    name: str
    contents: list[str] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def add(self, content: str, found: list[Measure]) -> None:
        """Add the measures of one more video."""
        place = 0
        for measure in found:
            same = (measure.gate, measure.least, measure.knob, measure.either)
            at = next(
                (k for k, line in enumerate(self.lines) if (line.gate, line.least, line.knob, line.either) == same),
                None,
            )
            if at is None:
                at = place
                self.lines.insert(at, Line(*same))
            self.lines[at].add(len(self.contents), measure)
            place = at + 1
        self.contents.append(content)

    def admitted(self, thresholds: Mapping[str, float] | None = None) -> Bools:
        """Tell of each video whether a build admits it with these thresholds, by the names of their knobs.

        Thresholds that are not named are those of the build. Raises ValueError for a knob that no gate measures by.
        """
        thresholds = thresholds or {}
        known = {line.knob for line in self.lines if line.knob}
        for knob in set(thresholds) - known:
            raise ValueError(f"column {self.name!r} has no threshold {knob!r}{suggest(knob, known)}")
        videos = len(self.contents)
        result = np.ones(videos, np.bool_)
        for _, members in groupby(self.lines, key=lambda line: line.either or line.gate):
            enough, any_asked = np.zeros(videos, np.bool_), np.zeros(videos, np.bool_)
            for _, own in groupby(members, key=lambda line: line.gate):
                results = [line.passed(videos, thresholds.get(line.knob) if line.knob else None) for line in own]
                asked = np.any([asked for _, asked in results], axis=0)
                enough |= np.all([passed for passed, _ in results], axis=0) & asked
                any_asked |= asked
            result &= enough | ~any_asked
        return result


def read(dataset: Place) -> dict[str, Column]:
    """Read the columns of a dataset, by name. Raises FileNotFoundError where `gates.parquet` is missing."""
    columns: dict[str, Column] = {}
    for content, name, found in measures.read(dataset):
        columns.setdefault(name, Column(name)).add(content, found)
    return dict(sorted(columns.items()))


FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Times a threshold that are tried in place of it."""

QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def facts(column: Column, asked: Mapping[str, float]) -> dict[str, Any]:
    """Summarize a column for people and programs; `asked` are the thresholds of `would_admit`, by knob."""
    knobs = {line.knob: line.threshold for line in column.lines if line.knob}
    tried = {knob: [float(f"{factor * now:.4g}") for factor in FACTORS] for knob, now in knobs.items() if now}
    return {
        "column": column.name,
        "videos": len(column.contents),
        "admitted": int(column.admitted().sum()),
        "would_admit": int(column.admitted(asked).sum()),
        "gates": [_line_facts(line) for line in column.lines],
        "admitted_at": {
            knob: {f"{value:g}": int(column.admitted({knob: value}).sum()) for value in values}
            for knob, values in tried.items()
        },
    }


def _line_facts(line: Line) -> dict[str, Any]:
    values = np.sort(line.measured)
    places = [round(quantile * (len(values) - 1)) for quantile in QUANTILES]  # values that were measured, also infinite
    passed, asked = line.passed(len(line.values))
    return {
        "gate": line.gate,
        "knob": line.knob,
        "least": line.least,
        "either": line.either,
        "threshold": line.threshold,
        "videos": len(values),
        "passed": int((passed & asked).sum()),
        "quantiles": {f"{quantile:g}": float(values[at]) for quantile, at in zip(QUANTILES, places, strict=True)},
    }


def assigned(columns: Mapping[str, Column], overrides: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Read thresholds given as ``columns.NAME.knobs.KNOB=VALUE``: for each column, the values by knob.

    Raises ValueError that names what is unknown or no number.
    """
    known = {
        f"columns.{name}.knobs.{line.knob}": (name, line.knob)
        for name, column in columns.items()
        for line in column.lines
        if line.knob
    }
    found: dict[str, dict[str, float]] = {name: {} for name in columns}
    for key, text in overrides.items():
        if key not in known:
            raise ValueError(f"--set {key}: no gate has this threshold, or a build must find it{suggest(key, known)}")
        try:
            value = float(text)
        except ValueError as error:
            raise ValueError(f"--set {key}={text}: a threshold is a number") from error
        name, knob = known[key]
        found[name][knob] = value
    return found
