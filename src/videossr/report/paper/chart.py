"""The chart of a public benchmark: the score against the number of frames, as in the paper's figure 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from videossr.bench.scoring import Estimate
from videossr.report import plots


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
    figure, axes = plots._figure(300, 200)
    for at, curve in enumerate((*measured, *printed)):
        shift = (at - (len(measured) + len(printed) - 1) / 2) * 0.06
        points = [(numbers.index(frames) + shift, curve[frames]) for frames in sorted(curve)]
        places = [place for place, _ in points]
        values = [100 * score.value for _, score in points]
        color = plots._run(at)
        axes.plot(places, values, color=color, lw=1.4, alpha=0.8, ls="-" if at < len(measured) else (0, (3, 2)))
        if at < len(measured):
            axes.vlines(places, *plots._ends(points), color, lw=1.6, alpha=0.55)
        axes.plot(places, values, plots.MARKERS[at % plots.RUNS], **plots._marker(at, 5))
    axes.set(xlim=(-0.45, len(numbers) - 0.55), xlabel="frames, at most")
    axes.set_xticks(range(len(numbers)), [f"{number}" for number in numbers])
    axes.locator_params(axis="y", nbins=5)
    axes.tick_params(length=0)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)
    return plots._svg(figure, label)
