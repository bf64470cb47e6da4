"""The picture of a probe, as the paper's figure 1: how many of n answers succeed, and which groups have no variance.

Exercised by `videossr bench probe DATASET --model chance --out PROBE`, which writes it as `PROBE/probe.svg`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from videossr.bench.probe import Figures, Probe
from videossr.bench.score import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "probe.svg"
STRICT, SMOOTH, OVERLAP = "#b5543c", "#3a6ea5", "#7a9a4f"
STYLE = {"svg.hashsalt": "videossr", "svg.fonttype": "none", "font.size": 9}
TALL = 1.9
"""Inches that one task takes."""


def draw_probe(probe: Probe) -> str:
    """The figure as SVG: a row for each task; a histogram on the left, shares without variance on the right.

    The same probe gives the same bytes, with the same version of matplotlib.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = [*probe.tasks.items()]
    if len(rows) > 1:
        rows.append(("all", probe.overall))
    with mpl.rc_context(
        {"svg.hashsalt": "videossr", "svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}
    ):
        figure = Figure(figsize=(8.5, 0.7 + TALL * len(rows)), layout="constrained")
        axes = figure.subplots(len(rows), 2, width_ratios=(3, 2), squeeze=False)
        for (name, figures), (left, right) in zip(rows, axes, strict=True):
            _histogram(left, name, figures, probe)
            _no_variance(right, figures, probe)
        axes[-1][0].set_xlabel(f"answers of {probe.n} that succeed")
        axes[-1][1].set_xlabel("share of questions without variance")
        left, right = axes[0]
        left.legend(frameon=False, fontsize=8)
        # A model's spec may hold what matplotlib would take for a formula.
        title = f"{probe.model}, {probe.n} answers a question"
        figure.suptitle(title, fontsize=10, parse_math=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
    return text.getvalue()


def _histogram(axes: Axes, name: str, figures: Figures, probe: Probe) -> None:
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
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of questions")
    axes.set_title(f"{name}: {figures.questions} questions", fontsize=9, loc="left", parse_math=False)
    _bare(axes)


def _no_variance(axes: Axes, figures: Figures, probe: Probe) -> None:
    bars: Sequence[tuple[str, str, Estimate]] = [("smooth reward", SMOOTH, figures.smooth_flat)]
    if figures.overlap:
        bars = [*bars, (f"IoU >= {probe.success_iou:g}", OVERLAP, figures.overlap.flat)]
    bars = [*bars, ("strict reward", STRICT, figures.strict.flat)]
    for place, (_, color, estimate) in enumerate(bars):
        reach = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        axes.barh(place, estimate.value, 0.6, color=color, xerr=reach, ecolor="#333333", capsize=3)
        axes.text(1.04, place, f"{estimate.value:.0%}", va="center")
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
    axes.set_xlim(0, 1)
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
