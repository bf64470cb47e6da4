"""`videossr report`: what runs reached, as one page, or as a table for other programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from videossr.bench.records import CONFIG, is_run, read_run
from videossr.cli.console import Bar, console, output_file, safe
from videossr.errors import ConfigError
from videossr.question_set import QuestionSet, open_questions
from videossr.report.benchmark.formats import as_json, comma_separated, markdown
from videossr.report.benchmark.page import write_report
from videossr.report.benchmark.table import Benchmark, gather
from videossr.report.training import figures
from videossr.report.training.page import write_training
from videossr.storage.paths import is_local, to_path, write_text
from videossr.training.runs.records import is_training, read_train_run

app = App(name="report", help_epilogue="Example: videossr report demo/runs/chance --out demo/report.html")

_LISTED = 4
"""Folders that a message names."""

TEXTS = {"md": markdown, "csv": comma_separated, "json": as_json}
TRAINING = {"md": figures.markdown, "csv": figures.comma_separated, "json": figures.as_json}


@app.default
def command(
    run: str,
    /,
    *runs: str,
    out: Path | None = None,
    format: Literal["html", "md", "csv", "json"] = "html",
    paper: Annotated[bool, Parameter(negative="")] = False,
    items: Annotated[int, Parameter(validator=Number(gte=0, lte=100))] = 2,
    questions: str | None = None,
    corpus: str | None = None,
    thumb_height: Annotated[int, Parameter(validator=Number(gte=16))] = 48,
) -> None:
    """Report runs, finished or not: of benchmarks their scores and answers, of training its curves and samples.

    Args:
        run: Folder of a run, or one with runs in it.
        runs: More of them, of the same kind; benchmark runs of other questions get tables of their own.
        out: The page, or the file of another format; those are printed without it.
        format: A page, or the tables as Markdown or CSV, or all figures as JSON; of training, CSV has the steps.
        paper: Add the rows that the paper publishes, which are of other videos.
        items: Worst and best items that the page shows of each run and category; of training, samples of a step.
        questions: Folder of the questions, where they are no longer where the run found them.
        corpus: Folder or address of their frame packs, where those are elsewhere.
        thumb_height: Height of the frames on the page, in pixels.
    """
    if out is None and format == "html":
        raise ConfigError("a page needs a file: name one with --out report.html, or choose --format md")
    if out is not None:
        output_file(out, f"report.{format}")
    folders = [found for folder in (run, *runs) for found in runs_in(folder)]
    training = [folder for folder in folders if is_training(folder)]
    if training:
        if other := [folder for folder in folders if folder not in training]:
            raise ConfigError(
                f"of training: {_listed(training)}; not of training: {_listed(other)}; report them one after the other"
            )
        if paper or questions or corpus:
            raise ConfigError("--paper, --questions and --corpus are for benchmark runs, not for training")
        _training(training, out, format, items)
        return
    found = gather([read_run(folder) for folder in folders], paper=paper)
    if out is None:
        console.out(TEXTS[format](found), end="", highlight=False)
        return
    if format == "html":
        with Bar() as bar:
            write_report(
                found,
                opened(found, questions, corpus),
                out,
                items,
                thumb_height,
                progress=lambda done, total: bar.show("items", done, total),
            )
    else:
        write_text(out, TEXTS[format](found))
    console.print(f"{sum(len(each.runs) for each in found)} runs in {out}")


def runs_in(folder: str) -> list[str]:
    """Find the runs that a word names: the folder where it is one, else those in it and in the folders below, by name.

    A folder that is not there is given back as it is: what reads it says so. Raises ValueError where a folder has none.
    """
    where = to_path(folder)
    if not is_local(where) or (where / CONFIG).exists() or not where.is_dir():
        return [folder]
    found: list[str] = []
    for inner, folders, files in os.walk(where):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if CONFIG in files:
            folders.clear()
            if is_training(inner) or is_run(inner):
                found.append(inner)
    if not found:
        raise ConfigError(f"{folder}: there is no run in it, nor in the folders below it")
    return found


def _listed(folders: Sequence[str]) -> str:
    return ", ".join(safe(folder) for folder in folders[:_LISTED]) + (", …" if len(folders) > _LISTED else "")


def _training(folders: Sequence[str], out: Path | None, format: str, items: int) -> None:
    found = [read_train_run(folder) for folder in folders]
    if out is None:
        console.out(TRAINING[format](found), end="", highlight=False)
        return
    if format == "html":
        write_training(found, out, items)
    else:
        write_text(out, TRAINING[format](found))
    console.print(f"{len(found)} training runs in {out}")


def opened(benchmarks: Sequence[Benchmark], path: str | None, corpus: str | None) -> dict[str, QuestionSet | str]:
    """The questions of each benchmark, or why they are not at hand; a report needs them for its frames alone."""
    found: dict[str, QuestionSet | str] = {}
    for benchmark in benchmarks:
        where = path or benchmark.runs[0].run.config.questions
        try:
            opened = open_questions(to_path(where), corpus)
            found[benchmark.hash] = (
                opened
                if opened.hash == benchmark.hash
                else f"{where} holds other questions, {opened.hash[:12]}; name the right ones with --questions"
            )
        except (OSError, ValueError) as error:
            found[benchmark.hash] = f"{error}; name the questions with --questions"
        if isinstance(missing := found[benchmark.hash], str):
            sys.stderr.write(f"videossr: no frames on the page: {safe(missing, 500)}\n")
    return found
