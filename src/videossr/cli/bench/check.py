"""`videossr bench check`: check the files of a public benchmark before a long run."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.table import Table

from videossr.bench.public.base import BENCHMARKS
from videossr.bench.public.check import Finding, check
from videossr.bench.public.frames import FrameCache, default_folder
from videossr.bench.public.questions import PublicQuestions
from videossr.cli.bench.public import benchmark_names, folder_of, split_settings
from videossr.cli.console import Bar, console, counted, lines, safe
from videossr.cli.settings import Setting, parse_settings
from videossr.errors import ConfigError, DataError, NotFoundError
from videossr.registry import suggest

app = App(
    name="check",
    help_epilogue="Example: videossr bench check charades --data demo/charades\n\n"
    "For all 16 of the paper: bench check paper --data BENCHMARKS",
)


@app.default
def command(
    names: str,
    /,
    *settings: Setting,
    data: str,
    templates: Path | None = None,
    as_json: Annotated[bool, Parameter("--json", negative="")] = False,
) -> None:
    """Check annotations and videos of public benchmarks: what is missing, damaged, odd, or other than published.

    Every video is opened; none is decoded unless its container does not tell the times of its frames.

    Exit status 1 if a run would not be comparable with published scores.

    Args:
        names: Names of public benchmarks, separated by commas, or `paper` for those of the paper.
        settings: A setting of a benchmark, such as `--activitynet.split=val_2`.
        data: Folder of the benchmark as its authors publish it; of several, a folder with one of each name.
        templates: TOML file of texts, to check it too.
        as_json: Print everything as JSON.
    """
    chosen = benchmark_names(names)
    if chosen is None:
        raise ConfigError(f"there is no benchmark {names!r}{suggest(names, BENCHMARKS.names())}")
    words = split_settings(parse_settings(settings, command, "--activitynet.split=val_2"), chosen)
    found: dict[str, list[Finding]] = {}
    with Bar() as bar:
        for name in chosen:
            try:
                questions = PublicQuestions(
                    name,
                    folder_of(data, name, chosen),
                    frames=2,
                    cache=FrameCache(default_folder(), (2,)),
                    settings=words[name],
                    templates=templates,
                )
            except (DataError, NotFoundError) as error:
                if len(chosen) == 1:
                    raise
                found[name] = [Finding("annotations", "fault", str(error))]
                continue
            found[name] = check(questions, partial(bar.show, f"videos of {name}"))
    faults = [finding for findings in found.values() for finding in findings if finding.verdict == "fault"]
    if as_json:
        console.out(json.dumps({name: [asdict(finding) for finding in found[name]] for name in chosen}, indent=1))
    else:
        for name, findings in found.items():
            _show(name, findings)
    if faults:
        sys.exit(1)


def _show(name: str, findings: list[Finding]) -> None:
    """Print the findings of one benchmark."""
    console.print(f"{BENCHMARKS.get(name).facts.title} ({name})")
    table = Table("", "check", "found", "for example", box=None, pad_edge=False)
    for finding in findings:
        examples = lines("\n".join(safe(example) for example in finding.examples))
        table.add_row(finding.verdict, safe(finding.what), safe(finding.text), examples)
    console.print(table)
    faults = sum(finding.verdict == "fault" for finding in findings)
    verdict = "scores of this folder are not comparable with published ones" if faults else "a run would be comparable"
    console.print(f"{counted(faults, 'fault')}: {verdict}")
    console.print()
