"""A set of questions for VLMEvalKit: a class for its tree, a table, one video file a clip, and how answers are scored.

    viubench.py            the class; written last, so that a folder which has it is complete
    NAME.tsv               one row a question
    videos/                one MP4 a clip
    viubench_rewards.py, viubench_scoring.py
                           score the answers; they need nothing of this package
    README.md              where the files go

`videossr export vlmevalkit BENCH --out FOLDER` writes it. The class is a template and no module of this package, since
it can be imported in the tree of VLMEvalKit alone.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
import shlex
from importlib.resources import files
from pathlib import Path, PurePosixPath

from jinja2 import Environment, StrictUndefined

from videossr.errors import ConfigError
from videossr.export.clips import rate
from videossr.export.folder import (
    Progress,
    Row,
    check_categories,
    check_clocks,
    copy_module,
    question_rows,
    write_clips,
    write_unless_same,
)
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.storage.output_dir import OutputDir
from videossr.storage.parsing import parse_json, read_limited
from videossr.untrusted import one_line

VERB = "export vlmevalkit"
MODULES = {"export/scoring.py": "viubench_scoring.py", "rewards.py": "viubench_rewards.py"}
"""Modules of this package by the names of their copies in the folder."""

COLUMNS = ("index", "id", "category", "data_source", "metric", "system", "question", "answer", "video", "videos")
"""Columns of the table. `video`, which VLMEvalKit asks for, is the first of `videos`."""

LEAST_RATE = 30
"""Frames a second of the class's usual setting, where no clip has more: a model then takes every frame."""


def export_vlmevalkit(questions: QuestionSet, out: Path, name: str, progress: Progress = lambda done: None) -> Path:
    """Write the folder. An export that was stopped is completed; of one that is there, what is missing or differs.

    Args:
        questions: the questions; all of them must have frames at equal steps.
        out: the folder to write.
        name: of the dataset, in letters, digits, dashes and underscores.
        progress: called with the number of questions written after each.

    Returns:
        The file of the class.

    Raises:
        ConfigError: VLMEvalKit cannot express the name, a category or a clock.
        OutputError: `out` holds something else.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ConfigError(
            f"{name!r} cannot be the name of a dataset of VLMEvalKit: use letters, digits, '-' and '_', and --name to "
            "choose"
        )
    module = out / "viubench.py"
    output = OutputDir(out, VERB, "dataset of VLMEvalKit")
    complete = _exported_hash(module, name) == questions.hash
    asked = [questions.question(index) for index in range(len(questions))]
    check_clocks(asked, "VLMEvalKit")
    check_categories(questions)
    with output.open({"name": name, "hash": questions.hash}, reopen=complete):
        rows = question_rows(questions, asked)
        write_clips(out, questions, [row["videos"] for row in rows], progress)
        table = _table(rows)
        write_unless_same(out / f"{name}.tsv", table)
        for source, copy in MODULES.items():
            copy_module(source, out / copy)
        facts = _facts(asked, table, questions.hash)
        shown = {
            "name": name,
            "questions": len(questions),
            "hash": one_line(questions.hash),
            "folder": one_line(shlex.quote(str(out.resolve()))),
            "fps": facts["fps"],
            "frames": facts["frames"],
        }
        write_unless_same(out / "README.md", _rendered("vlmevalkit_readme.md.jinja", shown))
        text = _rendered("vlmevalkit_dataset.py.jinja", {"datasets": json.dumps({name: facts}, indent=4)})
        write_unless_same(module, text)
    return module


def _facts(asked: list[Question], table: bytes, questions: str) -> dict[str, int | str]:
    """Return what the class knows of the dataset."""
    clocks = [clock for question in asked for clock in question.clocks]
    return {
        "fps": max([LEAST_RATE, *(math.ceil(rate(clock)) for clock in clocks)]),
        "frames": max((len(clock) for clock in clocks), default=1),
        "md5": hashlib.md5(table, usedforsecurity=False).hexdigest(),
        "videossr_hash": questions,
    }


def _table(rows: list[Row]) -> bytes:
    """Write the table of questions, in which clips are named without folder and ending."""
    text = io.StringIO()
    writer = csv.writer(text, "excel-tab", quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(COLUMNS)
    for index, row in enumerate(rows):
        videos = [PurePosixPath(video).stem for video in row["videos"]]
        writer.writerow(
            (
                index,
                *(row["id"], row["category"], row["data_source"], row["metric"]),
                *(row["system"], row["prompt"], row["answer"]),
                *(videos[0], json.dumps(videos)),
            )
        )
    return text.getvalue().encode()


def _rendered(template: str, context: dict[str, object]) -> bytes:
    """Fill a template of this package in."""
    source = files("videossr").joinpath("export", template).read_text("utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(source).render(context).encode()


def _exported_hash(module: Path, name: str) -> str | None:
    """Return the hash of the questions of an exported folder; None where it is not complete."""
    try:
        text = read_limited(module, "TOML_BYTES").decode()
        datasets = re.search(r"^DATASETS = (\{.*?^\})$", text, re.MULTILINE | re.DOTALL)
        return str(parse_json(datasets.group(1))[name]["videossr_hash"]) if datasets else None
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
