"""Draw the charts of a report as inline SVG, in the colors of the page, so that they follow light and dark mode.

Text stays text. matplotlib is imported when the first chart is drawn.
"""

from __future__ import annotations

import hashlib
import io
import logging
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

from markupsafe import Markup

from videossr.bench.scoring import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Dash: TypeAlias = tuple[int, tuple[float, ...]]

Curve: TypeAlias = Sequence[tuple[float, float]]
"""Pairs of step and value."""

RUNS = 8
"""Number of runs with a color and a marker of their own; further runs use them again."""

MARKERS = "os^DvP*X"

_INK = "#fe0010"
_SOFT = "#fe0011"
_LINE = "#fe0012"
_SHEET = "#fe0013"
_VARIABLES = {_INK: "ink", _SOFT: "soft", _LINE: "line", _SHEET: "sheet"}
_SYMBOLS = "●■▲◆▼✚★✖"

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "videossr",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.color": _INK,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _SOFT,
    "axes.labelsize": 11,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _SOFT,
    "ytick.labelcolor": _INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
}


@dataclass(frozen=True, slots=True)
class RunMark:
    """A run, with the color and the symbol that it has on every chart of the page."""

    name: str
    number: int

    @property
    def color(self) -> str:
        """The CSS color of the run."""
        return f"var(--run{self.number % RUNS})"

    @property
    def symbol(self) -> str:
        """The character that stands for the run's marker."""
        return _SYMBOLS[self.number % RUNS]


def columns_chart(
    names: Sequence[str],
    runs: Sequence[Sequence[Estimate | None]],
    chance: Sequence[Sequence[float | None]],
    label: str,
) -> Markup:
    """Draw scores in percent, with a row for each category.

    Args:
        names: the categories.
        runs: for each run, the score of each category with its interval; None where it has none.
        chance: for each blind baseline, its score in each category, drawn as ticks.
        label: the accessible name of the chart.
    """
    step = 0.72 / max(1, len(runs))
    figure, axes = _figure(400, 46 + len(names) * max(34, 15 * len(runs) + 10))
    for at, marks in enumerate(chance):
        known = [(100 * value, row) for row, value in enumerate(marks) if value is not None]
        values = [value for value, _ in known]
        rows = [row for _, row in known]
        axes.vlines(
            values,
            [row - 0.42 for row in rows],
            [row + 0.42 for row in rows],
            _SOFT,
            _DASHES[at % 3],
            lw=1.4,
            zorder=1.5,
        )
    for at, scores in enumerate(runs):
        shift = (at - (len(runs) - 1) / 2) * step
        points = [(row + shift, score) for row, score in enumerate(scores) if score is not None]
        heights = [height for height, _ in points]
        axes.hlines(heights, *_ends(points), _run(at), lw=2, alpha=0.55)
        axes.plot([100 * score.value for _, score in points], heights, MARKERS[at % RUNS], **_marker(at, 6))
    axes.set(xlim=(0, 100), ylim=(len(names) - 0.5, -0.5), xlabel="score, %")
    axes.set_yticks(range(len(names)), list(names))
    axes.set_xticks(range(0, 101, 20))
    axes.grid(axis="x")
    axes.tick_params(length=0)
    axes.tick_params(axis="y", pad=8)
    axes.spines["left"].set_visible(False)
    return _svg(figure, label)


def histogram_chart(
    names: Sequence[str],
    runs: Sequence[Sequence[float]],
    label: str,
    xlabel: str,
    separate: int = 0,
    ylabel: str = "answers, %",
) -> Markup:
    """Draw shares in percent as bars, for each run.

    Args:
        names: the bins.
        runs: for each run, the share of each bin, from 0 to 1.
        label: the accessible name of the chart.
        xlabel: what the bins are of.
        separate: how many of the first bins stand apart from the others.
        ylabel: what the shares are of.
    """
    figure, axes = _figure(400, 190)
    places = [at + (0.6 if at >= separate > 0 else 0) for at in range(len(names))]
    width = 0.86 / max(1, len(runs))
    for at, shares in enumerate(runs):
        shift = (at - (len(runs) - 1) / 2) * width
        axes.bar([place + shift for place in places], [100 * share for share in shares], width * 0.92, color=_run(at))
    axes.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.6, places[-1] + 0.6))
    axes.set_xticks(places, list(names))
    axes.tick_params(length=0)
    axes.tick_params(axis="x", labelsize=9.5 if len(names) > 11 else 11)
    axes.tick_params(axis="y", labelcolor=_SOFT)
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="y", nbins=4, integer=True)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    return _svg(figure, label)


def difficulty_chart(bins: Sequence[str], runs: Sequence[Sequence[Estimate | None]], label: str, xlabel: str) -> Markup:
    """Draw scores in percent against the values of a setting: a line with intervals for each run.

    Args:
        bins: the values, or ranges of them.
        runs: for each run, the score in each bin; None where it has none.
        label: the accessible name of the chart.
        xlabel: the setting and its unit.
    """
    figure, axes = _figure(300, 180)
    for at, scores in enumerate(runs):
        shift = (at - (len(runs) - 1) / 2) * 0.09
        known = [(place + shift, score) for place, score in enumerate(scores) if score is not None]
        places = [place for place, _ in known]
        values = [100 * score.value for _, score in known]
        axes.plot(places, values, color=_run(at), lw=1.2, alpha=0.7)
        axes.vlines(places, *_ends(known), _run(at), lw=1.6, alpha=0.55)
        axes.plot(places, values, MARKERS[at % RUNS], **_marker(at, 5))
    axes.set(ylim=(0, 100), xlim=(-0.45, len(bins) - 0.55), xlabel=xlabel)
    axes.set_xticks(range(len(bins)), list(bins))
    crowded = sum(map(len, bins)) > 30
    axes.tick_params(axis="x", labelsize=8.5 if crowded else 10, rotation=30 if sum(map(len, bins)) > 48 else 0)
    axes.set_yticks(range(0, 101, 25))
    axes.tick_params(length=0)
    axes.tick_params(axis="y", labelcolor=_SOFT)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    return _svg(figure, label)


def curve_chart(
    runs: Sequence[Curve],
    label: str,
    *,
    percent: bool = False,
    log: bool = False,
    xlabel: str = "step",
    large: bool = False,
    levels: Sequence[float | None] = (),
) -> Markup:
    """Draw a figure of every step: for each run its values as a pale line, and their running mean as a strong one.

    Args:
        runs: a curve for each run, empty where it has none. Values that are not finite are left out.
        label: the accessible name of the chart.
        percent: the values are shares from 0 to 1.
        log: the axis is logarithmic; values of 0 are left out.
        xlabel: what the steps are of.
        large: draw the chart wider.
        levels: for each run a value to compare with, as a dashed line; None for none.
    """
    figure, axes = _figure(420, 190) if large else _figure(300, 180)
    for at, level in enumerate(levels):
        if level is not None:
            axes.axhline((100 if percent else 1) * level, color=_run(at), lw=1.2, ls=_DASHES[1], alpha=0.8)
    if log and (heights := [y for curve in runs for _, y in curve if 0 < y < math.inf]):
        axes.set(yscale="log", ylim=(min(heights) / 2, 2 * max(heights)))
        axes.yaxis.set_major_formatter(lambda value, place: f"{value:.0e}")  # its own is markup
    for at, curve in enumerate(runs):
        known = [(x, (100 if percent else 1) * y) for x, y in curve if math.isfinite(y) and (y > 0 or not log)]
        steps = [x for x, _ in known]
        values = [y for _, y in known]
        few = len(known) <= _FEW
        axes.plot(steps, values, marker="." if few else "", color=_run(at), ms=4, mec="none", lw=0.7, alpha=0.4)
        means = running_mean(values)
        axes.plot(steps, means, color=_run(at), lw=1.8, solid_capstyle="round")
        axes.plot(steps[-1:], means[-1:], MARKERS[at % RUNS], **_marker(at, 5))
    if percent:
        axes.set_ylim(0, None if any(levels) or any(y for curve in runs for _, y in curve) else 1)
        axes.locator_params(axis="y", nbins=5)
    axes.set(xlabel=xlabel)
    axes.locator_params(axis="x", nbins=6, integer=True)
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.tick_params(axis="y", labelcolor=_SOFT)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    return _svg(figure, label)


def running_mean(values: Sequence[float]) -> list[float]:
    """Average each value with those before it, over a window of a twentieth of all, but of 3 to 50."""
    window = min(50, max(3, len(values) // 20))
    return [fmean(values[max(0, at - window + 1) : at + 1]) for at in range(len(values))]


def stack_chart(steps: Sequence[int], parts: Sequence[Sequence[float]], label: str, ylabel: str) -> Markup:
    """Draw how a whole is made up, from step to step: parts stacked in the colors --part0, --part1 and so on.

    Neighbouring steps are averaged so that there are at most 60 bars.

    Args:
        steps: numbers of the S steps.
        parts: for each part, S values.
        label: the accessible name of the chart.
        ylabel: what the values are, with the unit.
    """
    figure, axes = _figure(430, 220)
    size = -(-len(steps) // _BARS)
    starts = range(0, len(steps), size)
    edges = [*(steps[at] - 0.5 for at in starts), steps[-1] + 0.5]
    base = [0.0] * len(starts)
    for number, part in enumerate(parts):
        top = [low + fmean(part[at : at + size]) for low, at in zip(base, starts, strict=True)]
        axes.stairs(top, edges, baseline=base, fill=True, color=f"#fc00{number:02x}", lw=0)
        base = top
    axes.set(xlabel="step", ylabel=ylabel, xlim=(edges[0], edges[-1]))
    axes.set_ylim(bottom=0)
    axes.locator_params(axis="x", nbins=8, integer=True)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", labelcolor=_SOFT)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    return _svg(figure, label)


_FEW = 60
"""Steps up to which every value of a curve has a dot."""

_BARS = 60
"""Largest number of bars in a stack chart."""

_DASHES: tuple[_Dash, ...] = ((0, ()), (0, (2, 1.5)), (0, (1, 1)))


def _ends(places: Sequence[tuple[float, Estimate]]) -> tuple[list[float], list[float]]:
    """Return the lower and the upper ends of intervals, in percent."""
    return [100 * score.low for _, score in places], [100 * score.high for _, score in places]


def _marker(number: int, size: float) -> dict[str, Any]:
    """Return the style of a run's marker; one at the edge of the chart is not clipped."""
    return {"color": _run(number), "ms": size, "mec": _SHEET, "mew": 0.7, "clip_on": False, "zorder": 3}


def _run(number: int) -> str:
    """Return the placeholder of a run's color."""
    return f"#fd00{number % RUNS:02x}"


def frames_chart(
    measured: Sequence[Mapping[int, Estimate]], printed: Sequence[Mapping[int, Estimate]], label: str
) -> Markup:
    """Draw scores in percent against numbers of frames: a line with 95% intervals for each model that was run.

    Args:
        measured: for each model that was run, its scores by number of frames.
        printed: for each model of the paper, likewise; drawn dashed, without intervals.
        label: the accessible name of the chart.
    """
    numbers = sorted({frames for curve in (*measured, *printed) for frames in curve})
    figure, axes = _figure(300, 200)
    for at, curve in enumerate((*measured, *printed)):
        shift = (at - (len(measured) + len(printed) - 1) / 2) * 0.06
        points = [(numbers.index(frames) + shift, curve[frames]) for frames in sorted(curve)]
        places = [place for place, _ in points]
        values = [100 * score.value for _, score in points]
        color = _run(at)
        axes.plot(places, values, color=color, lw=1.4, alpha=0.8, ls="-" if at < len(measured) else (0, (3, 2)))
        if at < len(measured):
            axes.vlines(places, *_ends(points), color, lw=1.6, alpha=0.55)
        axes.plot(places, values, MARKERS[at % RUNS], **_marker(at, 5))
    axes.set(xlim=(-0.45, len(numbers) - 0.55), xlabel="frames, at most")
    axes.set_xticks(range(len(numbers)), [f"{number}" for number in numbers])
    axes.locator_params(axis="y", nbins=5)
    axes.tick_params(length=0)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    return _svg(figure, label)


def _figure(width: int, height: int) -> tuple[Figure, Axes]:
    """Make a figure of a size in pixels on the page."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    with rc_context(_STYLE):
        figure = Figure((width / 72, height / 72), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
    return figure, axes


def _svg(figure: Figure, label: str) -> Markup:
    """Write the figure as an SVG element with an accessible name; its ids are unique on the page."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the browser has fonts of its own
        figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    head, _, inside = file.getvalue().partition("<svg")[2].partition(">")
    box, width = re.search(r'viewBox="([^"]+)"', head), re.search(r'width="([\d.]+)pt"', head)
    if box is None or width is None:  # matplotlib has always written both
        raise ValueError("matplotlib wrote an SVG without its size")
    for pattern, replacement in _REWRITTEN:
        inside = re.sub(pattern, replacement, inside, flags=re.DOTALL)
    inside = re.sub(r"<[^>]+>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), inside)
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', inside))
    prefix = hashlib.sha256(f"{label}\n{inside}".encode()).hexdigest()[:10]
    inside = re.sub(r' id="([^"]+)"', lambda match: f' id="{prefix}-{match[1]}"' if match[1] in used else "", inside)
    inside = re.sub(r'(url\(|href=")#', rf"\1#{prefix}-", inside)
    inside = re.sub(r"#fd00([0-9a-f]{2})", lambda match: f"var(--run{int(match[1], 16)})", inside)
    inside = re.sub(r"#fc00([0-9a-f]{2})", lambda match: f"var(--part{int(match[1], 16)})", inside)
    for stand_in, name in _VARIABLES.items():
        inside = inside.replace(stand_in, f"var(--{name})")
    start = Markup(
        '<svg class="chart" viewBox="{}" role="img" aria-label="{}" style="max-width:{}px"><title>{}</title>'
    )
    return start.format(box[1], label, width[1], label) + Markup(inside)


_REWRITTEN = (
    (r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", ""),
    (r"xlink:href", "href"),
    (r"font: ([\d.]+)px [^;\"]+", r"font-size: \1px"),
    (r"font-family: [^;\"]+(; )?", ""),
    (r"\n\s*", " "),
)
"""Parts of matplotlib's SVG that are left out or rewritten, since the page has its own fonts and styles."""
