"""`videossr validate`: check that a dataset holds what its manifest and labels claim."""

from __future__ import annotations

import sys
from itertools import chain
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table
from rich.text import Text

from videossr.cli.console import Bar, console
from videossr.dataset.dataset import VideoSSRDataset
from videossr.prompt import FAMILIES
from videossr.prompt.clocks import NoClock, TextClock, family_clock, marker_slots
from videossr.prompt.qwen3_vl import Layout, Qwen3VL, video_text
from videossr.question import Question
from videossr.report import gates, thresholds
from videossr.sample import Sample
from videossr.storage.paths import to_path
from videossr.tasks.base import open_task
from videossr.untrusted import one_line
from videossr.validation.family_clocks import family_checks, find_refusal
from videossr.validation.traces import probes as trace_probes
from videossr.validation.validator import TOLERANCE, label_error, validate

VERDICTS = {True: Text("holds", "green"), False: Text("FAILS", "bold red"), None: Text()}

app = App(name="validate", help_epilogue="Example: videossr validate demo/dataset --model-type glm46v")


@app.default
def command(
    dataset: str,
    /,
    *,
    corpus: str | None = None,
    model_type: str | None = None,
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
        model_type: Also check whether models of this type, such as qwen3_vl, glm46v or molmo2, can read the times that
            answers name, and show what they read for some samples. An unknown type lists the known ones.
        show: Number of samples of each task for which these times are shown.
        renders: Number of samples to render; all by default.
        solver: Share of jigsaws, beyond chance, that a solver which only matches borders may have right; by default the
            bound of the recipe. 1 sets no bound.
        plot: Also draw what the gates measured of all videos to this file, such as gates.png.
        probes: Also train small classifiers that look for altered frames by traces of codecs and filters; this takes
            minutes.
    """
    samples = VideoSSRDataset(dataset, corpus=corpus)
    if model_type is not None:
        family_clock(model_type)  # refuse an unknown one before the work
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
            clocks = family_checks(samples, model_type) if model_type is not None else ()
            for finding in chain(findings, clocks, traces if probes else ()):
                table.add_row(VERDICTS[finding.holds], finding.name, finding.category, one_line(finding.text))
                tested += finding.holds is not None
                failed += finding.holds is False
    finally:  # print the checks that were made before a damaged pack stopped the others
        console.print(table)
    if model_type is not None:
        for index in _first_of_each_task(samples, show):
            _show(samples.sample(index), samples.question(index), model_type)
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


def _show(sample: Sample, question: Question, model_type: str) -> None:
    """Print what a family reads of the times of a sample, and what the label says of the same slots."""
    spans = open_task(sample.task).truth(sample).spans
    family = family_clock(model_type)
    shared = marker_slots(family, sample.clock)
    markers = family.markers(sample.clock) if isinstance(family, TextClock) else [""] * len(shared)
    console.print(f"{sample.category} {sample.id}: answer {sample.answer}")
    slots = Table("slots", "shown at (s)", "marker", "", box=None)
    for members, marker in zip(shared, markers, strict=True):
        inside = [any(first <= slot <= last for first, last in spans) for slot in members]
        mark = "in the span" if all(inside) else ("partly" if any(inside) else "")
        times = ", ".join(f"{sample.clock.times_ms[slot] / 1000:.3f}" for slot in members)
        slots.add_row("-".join(dict.fromkeys((str(members[0]), str(members[-1])))), times, marker, mark)
    console.print(slots)
    if isinstance(family, TextClock):
        where = "drawn into the frames" if family.place == "drawn" else f"{family.place} the frames"
        console.print(f"  {model_type} reads each marker {where} of its slots")
    elif isinstance(family, NoClock):
        console.print(f"  {model_type} reads no times, but {family.instead}")
    else:
        console.print(f"  {model_type} reads times from its rotary positions, in equal steps")
    if FAMILIES.get(model_type) is Qwen3VL:
        layouts: dict[str, Layout] = {"transformers < 5.10": "bare", "transformers >= 5.10": "wrapped"}
        for versions, layout in layouts.items():
            text = video_text(sample.clock, 1, layout)
            console.print(f"  {versions}: {text[:110]}...")
    error = label_error(sample)
    verdict = "holds" if error <= TOLERANCE + 0.0005 else "FAILS"
    console.print(f"  label within {error:.3f} s of the clock: {verdict}")
    refusal = find_refusal(sample, question, model_type)
    console.print(f"  {model_type}: {'can be asked' if refusal is None else refusal.reason}")
    console.print()
