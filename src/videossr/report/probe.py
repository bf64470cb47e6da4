"""Draw the pass rates of a probe as the paper's figure 1: how many of n answers succeed, and where all are alike.

`videossr bench probe` writes `probe.svg`, by task, and `settings.svg`, by the settings of the questions.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from videossr.bench.pass_rates import Bin, Figures, PassRates
from videossr.bench.scoring import Estimate
from videossr.untrusted import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TASKS = "probe.svg"
"""Name of the file that `draw_probe` is written to."""

SETTINGS = "settings.svg"
"""Name of the file that `draw_settings` is written to."""

STRICT = "#b5543c"
SMOOTH = "#3a6ea5"
OVERLAP = "#7a9a4f"
SUCCESS = "#222222"

TALL = 1.9
"""Height of a row in inches."""

ACROSS = 3
"""Panels in a row."""


def draw_probe(probe: PassRates) -> str:
    """Draw a row for each task: a histogram of successes on the left, shares without variance on the right.

    Returns:
        The SVG file. The same probe gives the same bytes, with the same version of matplotlib.
    """
    rows = [*probe.tasks.items()]
    if len(rows) > 1:
        rows.append(("all", probe.overall))

    def draw(figure: Figure) -> None:
        axes = figure.subplots(len(rows), 2, width_ratios=(3, 2), squeeze=False)
        for (name, figures), (left, right) in zip(rows, axes, strict=True):
            _histogram(left, name, figures, probe)
            _no_variance(right, figures, probe)
        axes[-1][0].set_xlabel(f"answers of {probe.n} that succeed")
        axes[-1][1].set_xlabel("share of questions without variance")

    return _svg(draw, len(rows), probe)


def draw_settings(probe: PassRates) -> str:
    """Draw a panel for each setting of each task: success, and shares without variance, by the setting's values.

    Returns:
        The SVG file. The same probe gives the same bytes, with the same version of matplotlib.
    """
    panels = [(task, setting, bins) for task, settings in probe.settings.items() for setting, bins in settings.items()]
    rows = max(1, -(-len(panels) // ACROSS))

    def draw(figure: Figure) -> None:
        axes = figure.subplots(rows, ACROSS, squeeze=False).flat
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        for axis, (task, setting, bins) in zip(axes, panels, strict=False):
            _by_setting(axis, bins)
            axis.set_title(one_line(f"{task}: {setting}", 80), fontsize=9, loc="left")
        if panels:
            figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)

    return _svg(draw, rows, probe)


def _svg(draw: Callable[[Figure], None], rows: int, probe: PassRates) -> str:
    """Make a figure of some rows, draw on it, and return it as SVG."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    title = f"{one_line(probe.model, 80)}, {probe.n} answers a question"
    # Names may hold what matplotlib would take for a formula, or has no glyph for.
    style: dict[Any, Any] = {
        "svg.hashsalt": "videossr",
        "svg.fonttype": "none",
        "font.size": 9,
        "text.parse_math": False,
    }
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(8.5, 0.9 + TALL * rows), layout="constrained")
        figure.suptitle(title, fontsize=10)
        draw(figure)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
    return text.getvalue()


def _by_setting(axes: Axes, bins: Sequence[Bin]) -> None:
    """Draw the panel of one setting."""
    lines = (
        ("success", SUCCESS, [part.figures.success.rate for part in bins]),
        ("no variance in success", STRICT, [part.figures.success.flat for part in bins]),
        ("no variance in the smooth reward", SMOOTH, [part.figures.smooth_flat for part in bins]),
    )
    for place, (label, color, estimates) in enumerate(lines):
        at = [part + 0.12 * (place - 1) for part in range(len(bins))]
        errors = [
            [estimate.value - estimate.low for estimate in estimates],
            [estimate.high - estimate.value for estimate in estimates],
        ]
        values = [estimate.value for estimate in estimates]
        axes.errorbar(at, values, errors, fmt="o", markersize=4, color=color, capsize=2, linewidth=1, label=label)
    axes.axhline(0.5, color="#999999", linewidth=0.6, linestyle=":")
    labels = [one_line(part.label, 20) if part.low is None else part.label.replace(" to ", "\nto ") for part in bins]
    axes.set_xticks(range(len(bins)), labels, fontsize=7)
    if bins[0].low is None:
        axes.tick_params("x", rotation=20)
    axes.set_ylim(-0.03, 1.03)
    _bare(axes)


def _histogram(axes: Axes, name: str, figures: Figures, probe: PassRates) -> None:
    """Draw how many questions have each number of successes."""
    kinds = [("exact", STRICT, figures.strict)]
    if figures.overlap:
        kinds.append((f"IoU >= {probe.success_iou:g}", OVERLAP, figures.overlap))
    width = 0.8 / len(kinds)
    for place, (label, color, tally) in enumerate(kinds):
        shares = [count / figures.questions for count in tally.histogram]
        at = [k - 0.4 + width * (place + 0.5) for k in range(probe.n + 1)]
        axes.bar(at, shares, width, color=color, label=label)
    if probe.n <= 16:
        axes.set_xticks(range(probe.n + 1))
    if len(kinds) > 1:
        axes.legend(frameon=False, fontsize=8)
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of questions")
    axes.set_title(f"{one_line(name, 80)}: {figures.questions} questions", fontsize=9, loc="left")
    _bare(axes)


def _no_variance(axes: Axes, figures: Figures, probe: PassRates) -> None:
    """Draw the shares of questions whose answers all have the same reward."""
    bars: Sequence[tuple[str, str, Estimate]] = [("smooth reward", SMOOTH, figures.smooth_flat)]
    if figures.overlap:
        bars = [*bars, (f"IoU >= {probe.success_iou:g}", OVERLAP, figures.overlap.flat)]
    bars = [*bars, ("strict reward", STRICT, figures.strict.flat)]
    for place, (_, color, estimate) in enumerate(bars):
        errors = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        axes.barh(place, estimate.value, 0.6, color=color, xerr=errors, ecolor="#333333", capsize=3)
        axes.text(1.04, place, f"{estimate.value:.0%}", va="center")
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
    axes.set_xlim(0, 1)
    _bare(axes)


def _bare(axes: Axes) -> None:
    """Remove the upper and the right edge of a chart."""
    axes.spines[["top", "right"]].set_visible(False)
