"""Read what the gates of a dataset measured, category by category, and count the videos that other thresholds admit.

Printed by `videossr dataset info DATASET --gates`, drawn by `videossr validate DATASET --plot gates.png`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videossr.dataset import gate_table
from videossr.errors import ConfigError
from videossr.registry import suggest
from videossr.storage.paths import AnyPath

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Line:
    """One measure of a category, as `Measure` defines it, for all V videos.

    Attributes:
        gate, least, setting, either: as in `Measure`.
        values: (V,), NaN where the video was not measured, after a failure that no setting can mend.
        thresholds: (V,), those of the build.
    """

    gate: str
    least: bool
    setting: str
    either: str
    values: Doubles
    thresholds: Doubles

    @property
    def measured(self) -> Doubles:
        """All values that were measured."""
        return self.values[~np.isnan(self.values)]

    @property
    def threshold(self) -> float:
        """The threshold; the median over the videos where it differs between them."""
        return float(np.nanmedian(self.thresholds))

    def passed(self, threshold: float | None = None) -> Bools:
        """Tell for each video whether it passes. A video that was not measured passes.

        Args:
            threshold: applies to all videos; by default each has that of the build.

        Returns:
            (V,) booleans.
        """
        limit = self.thresholds if threshold is None else threshold
        return np.isnan(self.values) | (self.values >= limit if self.least else self.values <= limit)


@dataclass(frozen=True)
class Category:
    """The measurements of the gates of a category.

    Attributes:
        name: name of the category.
        contents: hashes of the V videos, ascending.
        lines: the measures, in the order in which the task makes them.
    """

    name: str
    contents: list[str]
    lines: list[Line]

    def admitted(self, thresholds: Mapping[str, float] | None = None) -> Bools:
        """Tell for each video whether a build with these thresholds would admit it.

        Args:
            thresholds: by the names of their settings; those that are not named are those of the build.

        Returns:
            (V,) booleans.

        Raises:
            ConfigError: no gate of this category has a threshold of that name.
        """
        thresholds = thresholds or {}
        known = {line.setting for line in self.lines if line.setting}
        for setting in set(thresholds) - known:
            raise ConfigError(f"category {self.name!r} has no threshold {setting!r}{suggest(setting, known)}")
        result = np.ones(len(self.contents), np.bool_)
        for _, members in groupby(self.lines, key=lambda line: line.either or line.gate):
            enough = np.zeros_like(result)
            any_asked = np.zeros_like(result)
            for _, gate in groupby(members, key=lambda line: line.gate):
                measures = [*gate]
                asked = np.any([~np.isnan(line.values) for line in measures], axis=0)
                passed = [line.passed(thresholds.get(line.setting) if line.setting else None) for line in measures]
                enough |= np.all(passed, axis=0) & asked
                any_asked |= asked
            result &= enough | ~any_asked
        return result


def read(dataset: AnyPath) -> dict[str, Category]:
    """Read what the gates of a dataset measured.

    Args:
        dataset: folder of the dataset, complete or not.

    Returns:
        The categories by name, sorted.

    Raises:
        NotFoundError: the dataset has no `gates.parquet`.
    """
    table = gate_table.read(dataset)
    codes = {name: table[name].combine_chunks().indices.to_numpy() for name in _WORDS}
    words = {name: table[name].combine_chunks().dictionary.to_pylist() for name in _WORDS}
    numbers = {name: table[name].to_numpy() for name in ("value", "threshold", "least")}
    categories = {}
    for code, name in sorted(enumerate(words["category"]), key=lambda item: item[1]):
        rows = np.flatnonzero(codes["category"] == code)
        contents, starts, videos = np.unique(codes["content"][rows], return_index=True, return_inverse=True)
        places = np.arange(len(rows)) - starts[videos]
        keys = np.stack([codes["gate"], numbers["least"], codes["setting"], codes["either"]], axis=1)[rows]
        kinds, line_of = np.unique(keys, axis=0, return_inverse=True)
        lines = []
        for at, (gate, least, setting, either) in enumerate(kinds):
            members = line_of.reshape(-1) == at
            values = np.full(len(contents), np.nan)
            thresholds = np.full(len(contents), np.nan)
            # Of two measures of one video, the worse counts.
            (np.fmin if least else np.fmax).at(values, videos[members], numbers["value"][rows][members])
            (np.fmax if least else np.fmin).at(thresholds, videos[members], numbers["threshold"][rows][members])
            description = words["gate"][gate], bool(least), words["setting"][setting], words["either"][either]
            lines.append((places[members].max(), at, Line(*description, values, thresholds)))
        hashes = [words["content"][content] for content in contents]
        categories[name] = Category(name, hashes, [line for *_, line in sorted(lines, key=lambda entry: entry[:2])])
    return categories


_WORDS = ("content", "category", "gate", "setting", "either")


FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Factors by which a threshold is multiplied to try others."""

QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def facts(category: Category, asked: Mapping[str, float], accepts: Callable[[str, float], bool]) -> dict[str, Any]:
    """Summarize a category for people and programs, as JSON types.

    Args:
        category: what was measured.
        asked: thresholds by setting that replace those of the build in `would_admit` and in each gate.
        accepts: whether a recipe may give a setting of this category a value; only such values are tried.
    """
    config = {line.setting: line.threshold for line in category.lines if line.setting}
    nearby = {setting: [float(f"{factor * now:.4g}") for factor in FACTORS] for setting, now in config.items() if now}
    tried = {setting: [value for value in values if accepts(setting, value)] for setting, values in nearby.items()}
    return {
        "category": category.name,
        "videos": len(category.contents),
        "admitted": int(category.admitted().sum()),
        "would_admit": int(category.admitted(asked).sum()),
        "gates": [_line_facts(line, asked.get(line.setting)) for line in category.lines],
        "admitted_at": {
            setting: {f"{value:g}": int(category.admitted({setting: value}).sum()) for value in values}
            for setting, values in tried.items()
        },
    }


def _line_facts(line: Line, threshold: float | None) -> dict[str, Any]:
    """Summarize one measure."""
    values = np.sort(line.measured)
    chosen = [float(values[round(quantile * (len(values) - 1))]) for quantile in QUANTILES]
    return {
        "gate": line.gate,
        "setting": line.setting,
        "least": line.least,
        "either": line.either,
        "threshold": line.threshold if threshold is None else threshold,
        "videos": len(values),
        "passed": int((line.passed(threshold) & ~np.isnan(line.values)).sum()),
        "quantiles": {  # None where it is infinite, which JSON has no number for
            f"{quantile:g}": value if math.isfinite(value) else None
            for quantile, value in zip(QUANTILES, chosen, strict=True)
        },
    }


def assigned(categories: Mapping[str, Category], overrides: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Read thresholds given as ``categories.NAME.config.SETTING=VALUE``.

    Args:
        categories: what `read` returned.
        overrides: values as text, by dotted name.

    Returns:
        For each category, the values by setting.

    Raises:
        ConfigError: no gate has such a threshold, or the value is no finite number.
    """
    known = {
        f"categories.{name}.config.{line.setting}": (name, line.setting)
        for name, category in categories.items()
        for line in category.lines
        if line.setting
    }
    values: dict[str, dict[str, float]] = {name: {} for name in categories}
    for key, text in overrides.items():
        if key not in known:
            raise ConfigError(f"--{key}: no gate has this threshold, or a build must find it{suggest(key, known)}")
        try:
            value = float(text)
        except ValueError as error:
            raise ConfigError(f"--{key}={text}: a threshold is a number") from error
        if not math.isfinite(value):
            raise ConfigError(f"--{key}={text}: a threshold is a finite number")
        name, setting = known[key]
        values[name][setting] = value
    return values
