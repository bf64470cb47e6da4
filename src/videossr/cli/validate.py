"""`videossr validate`: check that a dataset holds what its manifest and labels claim."""

from __future__ import annotations

import sys
from itertools import chain
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table
from rich.text import Text

from videossr.cli.console import Bar, console
from videossr.dataset.dataset import VideoSSRDataset
from videossr.prompt.qwen3_vl import MERGE, Layout, markers, video_text
from videossr.report import gates, thresholds
from videossr.sample import Sample
from videossr.storage.paths import to_path
from videossr.tasks.base import open_task
from videossr.untrusted import one_line
from videossr.validation.traces import probes as trace_probes
from videossr.validation.validator import TOLERANCE, label_error, marker_errors, validate

VERDICTS = {True: Text("holds", "green"), False: Text("FAILS", "bold red"), None: Text()}

app = App(name="validate", help_epilogue="Example: videossr validate demo/dataset --model-type qwen3_vl")


@app.default
def command(
    dataset: str,
    /,
    *,
    corpus: str | None = None,
    model_type: Literal["qwen3_vl"] | None = None,
    show: Annotated[int, Parameter(validator=Number(gte=0))] = 2,
    renders: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    solver: Annotated[float | None, Parameter(validator=Number(gte=0, lte=1))] = None,
    plot: str | None = None,
    probes: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Check a dataset: gold answers, pixels, clock, answer distributions, chance, shortcuts.

    Exit status 1 if a check fails.

    Args:
        dataset: Folder that `videossr build` wrote, or its address.
        corpus: Folder or address of its frame packs, where it is no longer the one that the dataset names.
        model_type: Also show the times that this kind of model reads, for some samples.
        show: Number of samples of each task for which these times are shown.
        renders: Number of samples to render; all by default.
        solver: Share of jigsaws, beyond chance, that a solver which only matches borders may have right; by default the
            bound of the recipe. 1 sets no bound.
        plot: Also draw what the gates measured of all videos to this file, such as gates.png.
        probes: Also train small classifiers that look for altered frames by traces of codecs and filters; this takes
            minutes.
    """
    samples = VideoSSRDataset(dataset, corpus=corpus)
    if plot is not None:
        gates.draw(thresholds.read(samples.path), to_path(plot))
    table = Table("", "check", "category", "measured", box=None)
    tested = failed = 0
    try:
        with Bar() as bar:
            findings = validate(
                samples,
                renders=renders,
                solver=solver,
                progress=lambda done, total: bar.show("renders", done, total),
            )
            traces = trace_probes(samples, progress=lambda done, total: bar.show("probes", done, total))
            for finding in chain(findings, traces if probes else ()):
                table.add_row(VERDICTS[finding.holds], finding.name, finding.category, one_line(finding.text))
                tested += finding.holds is not None
                failed += finding.holds is False
    finally:  # print the checks that were made before a damaged pack stopped the others
        console.print(table)
    if model_type:
        for index in _first_of_each_task(samples, show):
            _show(samples.sample(index))
    figures = table.row_count - tested
    if plot is not None:
        console.print(f"what the gates measured is drawn in {plot}", soft_wrap=True)
    console.print(f"{tested - failed} of {tested} checks hold; {figures} lines are figures or too few samples to test")
    sys.exit(1 if failed else 0)


def _first_of_each_task(dataset: VideoSSRDataset, count: int) -> list[int]:
    """Choose the first samples of each task."""
    tasks = dataset.rows["task"].to_pylist()
    return [
        index for name in sorted(set(tasks)) for index in [i for i, task in enumerate(tasks) if task == name][:count]
    ]


def _show(sample: Sample) -> None:
    """Print the slots of a sample, the time marker that each pair of slots shares, and what the label says of them."""
    spans = open_task(sample.task).truth(sample).spans
    console.print(f"{sample.category} {sample.id}: answer {sample.answer}")
    slots = Table("slots", "shown at (s)", "marker", "", box=None)
    for pair, marker in enumerate(markers(sample.clock)):
        members = range(pair * MERGE, min((pair + 1) * MERGE, len(sample.clock)))
        inside = [any(first <= slot <= last for first, last in spans) for slot in members]
        mark = "in the span" if all(inside) else ("partly" if any(inside) else "")
        times = ", ".join(f"{sample.clock.times_ms[slot] / 1000:.3f}" for slot in members)
        slots.add_row(f"{members[0]}-{members[-1]}", times, marker, mark)
    console.print(slots)
    layouts: dict[str, Layout] = {"transformers < 5.10": "bare", "transformers >= 5.10": "wrapped"}
    for versions, layout in layouts.items():
        text = video_text(sample.clock, 1, layout)
        console.print(f"  {versions}: {text[:110]}...")
    error = max(*marker_errors(sample), label_error(sample))
    verdict = "holds" if error <= TOLERANCE + 0.0005 else "FAILS"
    console.print(f"  label and markers within {error:.3f} s of the clock: {verdict}")
    console.print()
