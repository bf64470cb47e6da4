"""`videossr bench list`: show the public benchmarks that can be run."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from videossr.bench.public.base import BENCHMARKS, Benchmark
from videossr.bench.public.scoring import rules_of
from videossr.cli.bench.public import paper_names
from videossr.cli.console import console, lines, safe
from videossr.cli.streams import write_error
from videossr.config import plain
from videossr.errors import ConfigError

app = App(name="list", help_epilogue="Example: videossr bench list\n\nvideossr bench list mvbench")


@app.default
def command(name: str | None = None, /, *, as_json: Annotated[bool, Parameter("--json", negative="")] = False) -> None:
    """Show the public benchmarks, or one of them: its files, how their folder must look, its settings and rules.

    Args:
        name: Name of a benchmark.
        as_json: Print everything as JSON.
    """
    if name is not None:
        benchmark: Benchmark[object] = BENCHMARKS.get(name)()
        if as_json:
            console.out(json.dumps(_facts(name, benchmark), indent=1))
        else:
            _show(name, benchmark)
        return
    paper = paper_names()
    names = [*paper, *(other for other in BENCHMARKS.names() if other not in paper and _loads(other))]
    if as_json:
        console.out(json.dumps([_facts(name, BENCHMARKS.get(name)()) for name in names], indent=1))
        return
    table = Table("name", "benchmark", "domain", "questions", "videos", "metric", "licence", box=None, pad_edge=False)
    for known in names:
        facts = BENCHMARKS.get(known).facts
        sizes = (f"{size:,}" if size is not None else "?" for size in (facts.questions, facts.videos))
        mark = "" if facts.column else " +"
        table.add_row(known, safe(facts.title) + mark, facts.domain, *sizes, safe(facts.metric), safe(facts.licence))
    console.print(table)
    console.print("+: not among the 16 of the paper. ?: no public source tells it.")
    console.print("videossr bench list NAME shows where the files come from and how their folder must look")


def _loads(name: str) -> bool:
    """Tell whether a benchmark of another package can be loaded; if not, say why."""
    try:
        BENCHMARKS.get(name)
    except ConfigError as error:
        write_error(str(error))
        return False
    return True


def _facts(name: str, benchmark: Benchmark[object]) -> dict[str, object]:
    """Return everything that is known of a benchmark, as JSON holds it."""
    rules = {rule: found.purpose for rule, found in rules_of(benchmark).items()}
    return {
        "name": name,
        **asdict(benchmark.facts),
        "settings": plain(benchmark.Settings()),
        "rules": rules,
        "odd": dict(benchmark.odd),
        "gone": dict(benchmark.gone),
    }


def _show(name: str, benchmark: Benchmark[object]) -> None:
    """Print everything that is known of a benchmark."""
    facts = benchmark.facts
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    column = f", column {facts.column} of the paper's tables" if facts.column else ""
    table.add_row("name", f"{name}: {facts.title}, {facts.domain}{column}")
    table.add_row("size", f"{_number(facts.questions)} questions, {_number(facts.videos)} videos")
    table.add_row("headline", safe(facts.metric))
    table.add_row("licence", safe(facts.licence))
    table.add_row("files from", safe(facts.source))
    table.add_row("folder", lines(facts.layout))
    defaults = benchmark.Settings()
    for setting in fields(benchmark.Settings):
        table.add_row(f"--{name}.{setting.name}", f"default {plain(defaults)[setting.name]!r}")
    for rule, found in rules_of(benchmark).items():
        table.add_row(f"rule {rule}", safe(found.purpose, 1000))
    for what, why in (*benchmark.odd.items(), *benchmark.gone.items()):
        table.add_row(safe(what), safe(why, 1000))
    console.print(table)


def _number(number: int | None) -> str:
    return "an unknown number of" if number is None else f"{number:,}"
