"""Draw what the gates of a dataset measured: `videossr validate DATASET --plot gates.png`.

Each category has a panel, each measure a row, each video a mark. A value is drawn as the factor by which it passes its
threshold, so that all thresholds lie on one line, and what is right of it passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from videossr.errors import ConfigError, DataError
from videossr.measure import margin
from videossr.report.thresholds import Category, Doubles, Line
from videossr.storage.paths import AnyPath, atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

REACH = 10.0
"""The largest factor on the axis, and the inverse of the smallest; values beyond are drawn at the end."""

MOST = 2000
"""Largest number of videos drawn in a row, evenly spaced among all."""

MARKS = (("#c8553d", "x", "video that the category rejects"), ("#1f6fb2", "o", "video that it admits"))
"""Color, shape and meaning of a mark, by whether the video is admitted."""


def factors(line: Line) -> Doubles:
    """Return the factor by which each video passes a gate.

    Returns:
        (V,) for V videos, from 1 / `REACH` to `REACH`; above 1 it passes. NaN where the video was not measured.
    """
    pairs = zip(line.values.tolist(), line.thresholds.tolist(), strict=True)
    margins = [margin(value, threshold, least=line.least) for value, threshold in pairs]
    return np.where(np.isnan(line.values), np.nan, np.clip(margins, 1 / REACH, REACH))


def draw(categories: Mapping[str, Category], path: AnyPath) -> None:
    """Draw the categories to a file.

    Args:
        categories: what `thresholds.read` returned.
        path: the file; its ending gives the format, such as .png or .svg.

    Raises:
        DataError: there is nothing to draw.
        ConfigError: matplotlib does not write this format.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    if not categories:
        raise DataError(f"{path}: no gate has measured anything")
    heights = [len(_varying(category)) + 1.5 for category in categories.values()]
    figure = Figure((9, 0.24 * sum(heights) + 0.8), dpi=110, layout="constrained")
    panels = figure.subplots(len(heights), 1, height_ratios=heights, sharex=True, squeeze=False)[:, 0]
    for axes, category in zip(panels, categories.values(), strict=True):
        _panel(axes, category)
    panels[-1].set_xlabel("factor by which a value passes; right of the line it passes", fontsize=9)
    handles = [Line2D([], [], color=color, marker=shape, ls="", ms=4, label=label) for color, shape, label in MARKS]
    figure.legend(handles=handles, loc="outside upper right", fontsize=8, frameon=False, ncols=2)
    kind = path.suffix.removeprefix(".")
    if kind not in figure.canvas.get_supported_filetypes():
        raise ConfigError(f"{path}: no kind of picture; name a file that ends with .png or .svg")
    with atomic_write(path) as partial:
        figure.savefig(partial, format=kind, metadata={"Date": None} if kind in ("svg", "pdf") else None)


def _panel(axes: Axes, category: Category) -> None:
    """Draw one category."""
    admitted = category.admitted()
    labels = []
    lines = _varying(category)
    for row, line in enumerate(lines):
        values = factors(line)
        for chosen, (color, shape, _) in zip((~admitted, admitted), MARKS, strict=True):
            _dots(axes, row, values[chosen], color, shape)
        is_alternative = (
            row > 0 and line.either and lines[row - 1].either == line.either and lines[row - 1].gate != line.gate
        )
        bound = f"{line.setting or 'fixed'} {'≥' if line.least else '≤'} {line.threshold:g}"
        labels.append(f"{'or ' if is_alternative else ''}{line.gate}: {bound}")
    axes.axvline(1, color="#333333", lw=1)
    axes.set_xscale("log")
    axes.set(xlim=(0.85 / REACH, REACH / 0.85), ylim=(len(labels) - 0.4, -0.6))
    axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["≤ 0.1", "0.2", "0.5", "1", "2", "5", "≥ 10"])
    axes.minorticks_off()
    axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes.tick_params(length=0, labelbottom=True, axis="x", labelsize=7.5)
    axes.grid(axis="x", color="#dddddd", lw=0.7)
    axes.set_axisbelow(True)
    title = f"{category.name}: {admitted.sum()} of {len(admitted)} videos admitted"
    axes.set_title(title, loc="left", fontsize=9, fontweight="bold")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _varying(category: Category) -> list[Line]:
    """Return the measures in which videos differ; all of them, where there are none."""
    return [line for line in category.lines if len(np.unique(line.measured)) > 1] or category.lines


def _dots(axes: Axes, row: int, values: Doubles, color: str, shape: str) -> None:
    """Draw the factors of videos, spread over the height of their row so that equal ones stay visible."""
    shown = values[~np.isnan(values)]
    if len(shown) > MOST:
        shown = np.sort(shown)[np.linspace(0, len(shown) - 1, MOST).round().astype(int)]
    spread = np.arange(len(shown)) * 0.618 % 1 * 0.6 - 0.3 if len(shown) > 1 else np.zeros(len(shown))
    size = 9 if len(shown) < 200 else 3
    axes.scatter(shown, row + spread, s=size, c=color, marker=shape, linewidths=0.8, alpha=0.75)
