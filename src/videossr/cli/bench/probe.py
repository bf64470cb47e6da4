"""`videossr bench probe`: how often does a model succeed, and where half the time?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table

from videossr.bench import halfway
from videossr.bench.probe import NAME, Figures, Probe, Tally, analyse
from videossr.bench.run import Progress, run
from videossr.bench.score import Estimate
from videossr.cli.console import Bar, console
from videossr.models.base import Decoding, model_spec
from videossr.questions import open_questions
from videossr.report.probe import NAME as PICTURE
from videossr.report.probe import draw_probe
from videossr.store import write_text

BARS = " ▁▂▃▄▅▆▇█"

app = App(
    name="probe",
    help_epilogue="Example: videossr bench probe demo/dataset --model chance --out demo/runs/probe",
)


@app.default
def command(
    questions: str,
    /,
    *,
    model: str,
    out: Path,
    corpus: str | None = None,
    settings: Annotated[tuple[str, ...], Parameter("--set", negative="")] = (),
    n: Annotated[int, Parameter(validator=Number(gte=2, lte=1024))] = 8,
    temperature: Annotated[float, Parameter(validator=Number(gt=0, lte=10))] = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    max_tokens: int = 64,
    seed: int = 0,
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    success_iou: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 0.5,
    recipe: Path | None = None,
    within: Annotated[float, Parameter(validator=Number(gte=0, lt=0.5))] = 0.25,
    count: Annotated[int, Parameter(validator=Number(gte=1))] = 1000,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Sample several answers to every question, and tell where they succeed, and where they do not differ.

    A probe that was stopped goes on where it was when the same command is run again; one that is complete asks nothing
    more, so that another recipe costs nothing.

    Args:
        questions: What `videossr bench run` takes: a dataset, a benchmark, questions of others.
        model: Spec of the model, such as chance, hf:PATH or openai:MODEL@URL.
        out: Folder of the run; probe.json with all figures and probe.svg are written into it too.
        corpus: Folder or address of the frame packs, where it is no longer the one that the dataset names.
        settings: A setting of the model and its value. May be repeated.
        n: Answers a question.
        temperature: Of the sampling.
        top_p: 1 cuts nothing off.
        top_k: 0 is off.
        max_tokens: Tokens of an answer, at most.
        seed: Of the sampling, where the model takes one.
        limit: Ask this many questions, spread evenly over the columns.
        success_iou: A predicted interval also counts as a success from this IoU on, apart from the strict figures.
        recipe: Write a recipe for `videossr build` here, a .toml file: the columns where the model succeeds half the time.
        within: How far from one half the success rate of such a column may be.
        count: Samples of each task in that recipe.
        as_json: Print all figures as JSON instead of tables.
    """
    asked = open_questions(questions, corpus)
    knobs = halfway.recipe_of(asked) if recipe else None
    if recipe and recipe.suffix != ".toml":
        raise ValueError(f"--recipe {recipe}: the name of a recipe ends in .toml")
    decoding = Decoding(n=n, temperature=temperature, top_p=top_p, top_k=top_k, max_tokens=max_tokens, seed=seed)
    with Bar() as bar:

        def show(state: Progress) -> None:
            bar.show("answers", state.done, state.total, f"{state.failed} failed")

        made = run(
            asked,
            model_spec(model, _pairs(settings)),
            out,
            decoding=decoding,
            limit=limit,
            verb="probe",
            progress=show,
        )
    probe = analyse(made, success_iou)
    write_text(out / NAME, probe.to_json())
    write_text(out / PICTURE, draw_probe(probe))
    if as_json:
        sys.stdout.write(probe.to_json())
    else:
        _print(probe, out)
    if recipe and knobs:
        choices = halfway.choose(probe, knobs, within, count)
        text = halfway.write_recipe(choices, probe, knobs, recipe)
        write_text(recipe, text)
        if not as_json:
            _print_choices(choices, recipe)


def _pairs(settings: tuple[str, ...]) -> Mapping[str, str]:
    pairs = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set {text}: expected name=value")
        pairs[name] = value
    return pairs


def _print(probe: Probe, out: Path) -> None:
    heads = (f"0 to {probe.n} right", "right %", "flat strict %", "flat smooth %", "graded %", "unparsed %")
    found = Table("", "questions", *heads, box=None)
    for name, figures in [*probe.columns.items(), *probe.tasks.items(), ("all", probe.overall)]:
        if name in probe.tasks and name == next(iter(probe.tasks)) or name == "all":
            found.add_section()
        for row in _rows(name, figures, probe):
            found.add_row(*row)
    console.print(found)
    knobs = Table("task", "knob", "", "questions", *heads, box=None)
    for task, table in probe.knobs.items():
        for knob, bins in table.items():
            rows = [row for part in bins for row in _rows(part.label, part.figures, probe)]
            for place, row in enumerate(rows):
                knobs.add_row(*(("", "") if place else (task, knob)), *row)
    if knobs.row_count:
        console.print()
        console.print(knobs)
    for column, failed in probe.failed.items():
        console.print(f"{column or 'questions that cannot be read'}: {failed} without all {probe.n} answers, counted nowhere")
    console.print(
        "flat: all answers to a question get the same reward; graded: none is right, and yet the smooth rewards differ; "
        f"95% intervals in brackets\nall figures: {out / NAME}, picture: {out / PICTURE}"
    )


def _rows(name: str, figures: Figures, probe: Probe) -> Iterator[tuple[str, ...]]:
    """What is strictly right, and below it, for intervals, what overlaps enough."""
    yield (
        name,
        str(figures.questions),
        _bars(figures.strict),
        _told(figures.strict.rate),
        _told(figures.strict.flat),
        _told(figures.smooth_flat),
        _told(figures.graded),
        f"{100 * figures.unparsed.value:.1f}",
    )
    if figures.overlap:
        label = f"  IoU >= {probe.success_iou:g}"
        yield label, "", _bars(figures.overlap), _told(figures.overlap.rate), _told(figures.overlap.flat), "", "", ""


def _bars(tally: Tally) -> str:
    """A bar for each number of successes; whatever is not 0 shows."""
    total = sum(tally.histogram)
    return "|" + "".join(BARS[-(-count * (len(BARS) - 1) // total)] for count in tally.histogram) + "|"


def _told(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} ({100 * estimate.low:.0f}-{100 * estimate.high:.0f})"


def _print_choices(choices: list[halfway.Choice], recipe: Path) -> None:
    table = Table("task", "column", "samples", "right %", "", box=None)
    for choice in choices:
        rate = _told(choice.figures.success.rate) if choice.figures else ""
        table.add_row(choice.task, choice.column, str(choice.count), rate, halfway.WORDS[choice.verdict])
    console.print()
    console.print(table)
    console.print(f"now: videossr build {recipe} --corpus CORPUS --out DATASET")
