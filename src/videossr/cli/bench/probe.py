"""`videossr bench probe`: measure how often a model succeeds, and where it succeeds half the time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.table import Table

from videossr.bench import curriculum
from videossr.bench.evaluation import STOP_AFTER, Progress, evaluate
from videossr.bench.outcomes import outcomes
from videossr.bench.pass_rates import NAME, Figures, PassRates, Tally, measure_pass_rates
from videossr.bench.records import Run
from videossr.bench.scoring import Estimate
from videossr.cli.bench.tables import note, print_failures, print_outcomes
from videossr.cli.console import Bar, console, output_file, safe
from videossr.cli.settings import Setting, parse_settings
from videossr.errors import ConfigError
from videossr.models.base import Decoding, model_spec
from videossr.question_set import open_questions
from videossr.report.probe import SETTINGS, TASKS, draw_probe, draw_settings
from videossr.storage.paths import to_path, write_text

BARS = " ▁▂▃▄▅▆▇█"

app = App(
    name="probe",
    help_epilogue="Example: videossr bench probe demo/dataset --model chance --out demo/runs/probe",
)


@app.default
def command(
    questions: str,
    /,
    *settings: Setting,
    model: str,
    out: str,
    corpus: str | None = None,
    source: str | None = None,
    anywhere: Annotated[bool, Parameter(negative="")] = False,
    n: Annotated[int, Parameter(validator=Number(gte=2, lte=1024))] = 8,
    temperature: Annotated[float, Parameter(validator=Number(gt=0, lte=10))] = 1.0,
    top_p: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 1.0,
    top_k: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    max_tokens: Annotated[int, Parameter(validator=Number(gte=1, lte=65536))] = Decoding().max_tokens,
    seed: Annotated[int, Parameter(validator=Number(gte=0, lt=2**63))] = 0,
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    stop_after: Annotated[int, Parameter(validator=Number(gte=0))] = STOP_AFTER,
    success_iou: Annotated[float, Parameter(validator=Number(gt=0, lte=1))] = 0.5,
    recipe: Path | None = None,
    within: Annotated[float, Parameter(validator=Number(gte=0, lt=0.5))] = 0.25,
    count: Annotated[int, Parameter(validator=Number(gte=1))] = 1000,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Sample several answers to every question; measure how many succeed, and which groups have equal rewards.

    A probe that was stopped goes on where it was when the same command is run again. A complete probe asks nothing
    more, so it can write another recipe at no cost.

    Exit status 1 if some questions failed, 2 if no question was answered.

    Args:
        questions: Folder that `videossr build` wrote, or its address, or published rows.
        settings: A setting of the model and its value, such as `--model.batch=4`.
        model: Which model: chance, constant, hf:PATH, vllm:PATH, openai:MODEL@URL.
        out: Folder of the run; all figures and two plots are written to it too.
        corpus: Folder or address of the frame packs, where it is no longer the one that the dataset names.
        source: How rows with an unknown data_source are scored, such as videossr/choice.
        anywhere: Show files wherever published rows say that they are, not only below their folder or `--corpus`.
        n: Number of answers to a question.
        temperature: Sampling temperature.
        top_p: Nucleus sampling; 1 is off.
        top_k: Top-k sampling; 0 is off.
        max_tokens: Largest number of tokens in an answer.
        seed: Seed of the random draws, where the model takes one.
        limit: Number of questions to ask, spread evenly over the categories.
        stop_after: Stop when this many questions failed for the same reason and none was answered; 0 never stops.
        success_iou: IoU from which on an interval counts as a success; the strict figures are shown besides.
        recipe: Write a recipe here, for `videossr build`: the categories where the model succeeds about half the time.
        within: Largest distance of such a category's success rate from one half.
        count: Number of samples of each task in that recipe.
        as_json: Print all figures as JSON instead of tables.
    """
    spec = model_spec(model, parse_settings(settings, command, "--model.batch=4", prefix="model."))
    opened = open_questions(questions, corpus=corpus, source=source, anywhere=anywhere)
    if recipe and recipe.suffix != ".toml":
        raise ConfigError(f"--recipe {recipe}: the name of a recipe ends in .toml")
    if recipe:
        output_file(recipe, "half.toml")
    made_by = curriculum.recipe_behind(opened) if recipe else None
    decoding = Decoding(n=n, temperature=temperature, top_p=top_p, top_k=top_k, max_tokens=max_tokens, seed=seed)
    with Bar() as bar:

        def show(state: Progress) -> None:
            bar.show("questions", state.done, state.total, note(state))

        done = evaluate(
            opened, spec, out, decoding=decoding, limit=limit, verb="probe", stop_after=stop_after, progress=show
        )
    probe = measure_pass_rates(done, success_iou)
    write_text(to_path(out) / NAME, probe.to_json())
    write_text(to_path(out) / TASKS, draw_probe(probe))
    write_text(to_path(out) / SETTINGS, draw_settings(probe))
    if as_json:
        console.out(probe.to_json(), end="")
    else:
        _print(probe, done)
    if recipe and made_by:
        choices = curriculum.choose_categories(probe, made_by, within, count)
        write_text(recipe, curriculum.recipe_text(choices, probe, made_by, recipe))
        if not as_json:
            _print_choices(choices, recipe)
    if probe.failed:
        sys.exit(1)


def _print(probe: PassRates, done: Run) -> None:
    """Print the tables of a probe."""
    heads = (
        "questions",
        f"0 to {probe.n} right",
        "right %",
        "flat strict %",
        "flat smooth %",
        "graded %",
        "unparsed %",
    )
    table = Table("", *heads, box=None)
    for part in (probe.categories, probe.tasks, {"all": probe.overall}):
        for name, figures in part.items():
            for row in _rows(name, figures, probe):
                table.add_row(*row)
        table.add_row()
    console.print(table)
    by_setting = Table("task", "setting", "", *heads, box=None)
    for task, settings in probe.settings.items():
        for setting, bins in settings.items():
            rows = [row for part in bins for row in _rows(part.label, part.figures, probe)]
            for number, row in enumerate(rows):
                by_setting.add_row(*(("", "") if number else (safe(task), safe(setting))), *row)
    if by_setting.row_count:
        console.print(by_setting)
        console.print()
    print_outcomes([(probe.run, outcomes(done))])
    print_failures(done, "they are in no figure above")
    console.print(
        "flat: all answers to a question get the same reward; graded: none is right, yet the smooth rewards differ; "
        "in brackets: 95% intervals"
    )
    console.print(f"all figures: {done.path / NAME}, pictures: {TASKS} and {SETTINGS} beside it")


def _rows(name: str, figures: Figures, probe: PassRates) -> Iterator[tuple[str, ...]]:
    """Yield the row of strict successes and, for intervals, a second row of those with enough overlap."""
    yield (
        safe(name),
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
    """Draw a bar for each number of successes; every number above 0 is visible."""
    total = sum(tally.histogram)
    return "|" + "".join(BARS[-(-count * (len(BARS) - 1) // total)] for count in tally.histogram) + "|"


def _told(estimate: Estimate) -> str:
    """Write an estimate in percent, with its interval."""
    return f"{100 * estimate.value:.1f} ({100 * estimate.low:.0f}-{100 * estimate.high:.0f})"


def _print_choices(choices: list[curriculum.CategoryChoice], recipe: Path) -> None:
    """Print which categories the new recipe holds."""
    table = Table("task", "category", "samples", "right %", "", box=None)
    for choice in choices:
        rate = _told(choice.figures.success.rate) if choice.figures else ""
        table.add_row(choice.task, choice.category, str(choice.count), rate, curriculum.WORDS[choice.verdict])
    console.print()
    console.print(table)
    console.print(f"now: videossr build {recipe} --corpus CORPUS --out DATASET")
