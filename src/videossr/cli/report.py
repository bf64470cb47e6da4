"""`videossr report`: write the results of runs as one page, or as tables for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter
from cyclopts.validators import Number

from videossr.bench.public.model_runs import find_models
from videossr.bench.public.paper import gather_paper
from videossr.bench.records import config_folders, is_run, read_config, read_run
from videossr.cli.console import Bar, console, counted, output_file, safe
from videossr.cli.paper_table import print_paper
from videossr.cli.streams import write_error
from videossr.errors import ConfigError
from videossr.question_set import QuestionSet, open_questions
from videossr.report.benchmark.formats import as_json, comma_separated, markdown
from videossr.report.benchmark.page import write_report
from videossr.report.benchmark.table import Benchmark, check_questions, gather
from videossr.report.paper import formats as paper_formats
from videossr.report.paper.page import write_paper
from videossr.report.recorded import recorded_place
from videossr.report.training import figures
from videossr.report.training.page import write_training
from videossr.storage.paths import to_path, write_text
from videossr.training.runs.records import is_training, read_train_run

app = App(name="report", help_epilogue="Example: videossr report demo/runs/chance --out demo/report.html")

_LISTED = 4
"""Folders that a message names."""

TEXTS = {"md": markdown, "csv": comma_separated, "json": as_json}
PAPER = {"md": paper_formats.markdown, "csv": paper_formats.comma_separated, "json": paper_formats.as_json}
TRAINING = {"md": figures.markdown, "csv": figures.comma_separated, "json": figures.as_json}


@app.default
def command(
    run: str,
    /,
    *runs: str,
    out: Path | None = None,
    format: Literal["html", "md", "csv", "json"] = "html",
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
    layout: Literal["runs", "paper"] | None = None,
    base: str | None = None,
    rule: str | None = None,
    paper: Annotated[bool, Parameter(negative="")] = False,
    items: Annotated[int, Parameter(validator=Number(gte=0, lte=100))] = 2,
    questions: str | None = None,
    corpus: str | None = None,
    anywhere: Annotated[bool, Parameter(negative="")] = False,
    thumb_height: Annotated[int, Parameter(validator=Number(gte=16))] = 48,
) -> None:
    """Report runs, finished or not: scores and answers of benchmark runs, curves and samples of training runs.

    Args:
        run: Folder of a run, or a folder with runs in it.
        runs: More of them, of the same kind. Benchmark runs with other questions get separate tables.
        out: The file to write. Without it, formats other than html are printed.
        format: A page, the tables as Markdown or CSV, or all figures as JSON. For training runs, CSV holds the steps.
        as_json: The same as --format json.
        layout: `paper` arranges runs of public benchmarks as the paper's tables, beside the rows that it prints, and
            says which of them can be compared with it. Each folder is that of one model. Without --out it prints them.
            It is the default where all runs are of public benchmarks; `runs` lists them by question set instead.
        base: For --layout paper, name of the folder whose model the gains are over; by default the first.
        rule: For --layout paper, the rule by which the benchmarks that have it are scored; by default `ours`.
        paper: Add the rows that the paper publishes; they are of other videos.
        items: Number of worst and best items shown for each run and category; for training runs, samples of a step.
        questions: Folder of the questions, where they are no longer where the run found them, or that is neither below
            the current folder nor below the one in which the run lies: a run could name any folder of yours.
        corpus: Folder or address of their frame packs, where those are elsewhere.
        anywhere: Show frames of published rows wherever the rows say that they are.
        thumb_height: Height of the frames on the page, in pixels.
    """
    if as_json:
        format = "json"
    if layout is None and all(map(_is_public, (run, *runs))):
        layout = "paper"
    if layout == "paper":
        if paper or questions or corpus or anywhere:
            raise ConfigError(
                "--layout paper always has the rows of the paper, and shows no frames: leave out --paper, "
                "--questions, --corpus and --anywhere"
            )
        _paper((run, *runs), out, format, base, rule or "ours")
        return
    if base or rule:
        raise ConfigError("--base and --rule are for --layout paper")
    if out is None and format == "html":
        raise ConfigError("a page needs a file: name one with --out report.html, or choose --format md")
    if out is not None:
        output_file(out, f"report.{format}")
    folders = [name for folder in (run, *runs) for name in runs_in(folder)]
    training = [folder for folder in folders if is_training(folder)]
    if training:
        if other := [folder for folder in folders if folder not in training]:
            raise ConfigError(
                f"training runs: {_listed(training)}; other runs: {_listed(other)}; write a report for each kind"
            )
        if paper or corpus or anywhere:
            raise ConfigError("--paper, --corpus and --anywhere are for benchmark runs, not for training")
        _training(training, out, format, items, questions)
        return
    tables = gather([read_run(folder) for folder in folders], paper=paper)
    if out is None:
        console.out(TEXTS[format](tables), end="", highlight=False)
        return
    if format == "html":
        with Bar() as bar:
            write_report(
                tables,
                opened(tables, questions, corpus, anywhere=anywhere),
                out,
                items,
                thumb_height,
                progress=lambda done, total: bar.show("items", done, total),
            )
    else:
        write_text(out, TEXTS[format](tables))
    console.print(f"{counted(sum(len(table.runs) for table in tables), 'run')} in {out}")


def _is_public(folder: str) -> bool:
    """Tell whether all runs in a folder, of which there are some, are of public benchmarks."""
    try:
        return all(read_config(name).benchmark is not None for name in runs_in(folder))
    except (OSError, ValueError):  # what is wrong is told by the reader of the report
        return False


def runs_in(folder: str) -> list[str]:
    """Find the runs below a folder: the folder itself where it is a run, else all runs below it, by name.

    A folder that does not exist is returned as it is; its reader raises the error.

    Raises:
        ConfigError: the folder holds no run.
    """
    top = to_path(folder)
    found = config_folders(top)
    if found == [top]:
        return [folder]
    runs = [str(inner) for inner in found if is_training(inner) or is_run(inner)]
    if not runs:
        raise ConfigError(f"{folder}: there is no run in it, nor in the folders below it")
    return runs


def _listed(folders: Sequence[str]) -> str:
    """Name the first folders of several."""
    return ", ".join(safe(folder) for folder in folders[:_LISTED]) + (", …" if len(folders) > _LISTED else "")


def _paper(folders: Sequence[str], out: Path | None, format: str, base: str | None, rule: str) -> None:
    """Write the paper's tables, or print them."""
    if out is not None:
        output_file(out, f"report.{format}")
    gathered = gather_paper(find_models(folders), base, rule)
    if out is None and format == "html":
        print_paper(gathered)
    elif out is None:
        console.out(PAPER[format](gathered), end="", highlight=False)
    elif format == "html":
        write_paper(gathered, out)
    else:
        write_text(out, PAPER[format](gathered))
    if out is not None:
        console.print(f"{counted(len(gathered.models), 'model')} in {out}")


def _training(folders: Sequence[str], out: Path | None, format: str, items: int, questions: str | None) -> None:
    """Write the report of training runs."""
    runs = [read_train_run(folder) for folder in folders]
    if out is None:
        console.out(TRAINING[format](runs), end="", highlight=False)
        return
    if format == "html":
        write_training(runs, out, items, questions)
    else:
        write_text(out, TRAINING[format](runs))
    console.print(f"{counted(len(runs), 'training run')} in {out}")


def opened(
    benchmarks: Sequence[Benchmark], path: str | None, corpus: str | None, *, anywhere: bool = False
) -> dict[str, QuestionSet | str]:
    """Open the questions of each benchmark, whose frames the report shows.

    Args:
        benchmarks: the tables of the report.
        path: where the questions are; by default where the first run found them, see `recorded_place`.
        corpus: folder or address of their frame packs, where they are elsewhere.
        anywhere: whether published rows show files wherever they say that these are.

    Returns:
        By content hash, the questions, or the reason why they cannot be opened; that is printed too.
    """
    sources: dict[str, QuestionSet | str] = {}
    for benchmark in benchmarks:
        run = benchmark.runs[0].run
        address = path or run.config.questions
        try:
            place = to_path(path) if path else recorded_place(run.path, address)
            candidate = open_questions(place, corpus, anywhere=anywhere)
            sources[benchmark.hash] = (
                candidate
                if candidate.hash == benchmark.hash
                else f"{address} holds other questions, {candidate.hash[:12]}; name the right ones with --questions"
            )
        except (OSError, ValueError) as error:
            sources[benchmark.hash] = f"{error}; name the questions with --questions"
        if not isinstance(found := sources[benchmark.hash], str):
            check_questions(benchmark, found)
        else:
            write_error(f"no frames on the page: {safe(found, 500)}")
    return sources
