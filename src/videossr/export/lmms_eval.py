"""A set of questions as a task of lmms-eval: a YAML file, a table, one video file a clip, and how answers are scored.

    NAME.yaml      the task; written last, so that a folder which has it is complete
    test.parquet   one row a question
    videos/        one MP4 a clip
    task.py        the task's functions; rewards.py and scoring.py score: none of them needs this package

`videossr export lmms-eval BENCH --out FOLDER` writes it.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from videossr.errors import ConfigError
from videossr.export.folder import (
    Progress,
    check_categories,
    check_clocks,
    copy_module,
    question_rows,
    write_clips,
    write_table,
    write_unless_same,
)
from videossr.export.lmms_eval_task import metric_name
from videossr.models.base import Decoding
from videossr.question_set import QuestionSet
from videossr.storage.output_dir import OutputDir
from videossr.storage.parsing import read_limited
from videossr.untrusted import one_line

VERB = "export lmms-eval"
MODULES = {"export/lmms_eval_task.py": "task.py", "export/scoring.py": "scoring.py", "rewards.py": "rewards.py"}
"""Modules of this package by the names of their copies in the folder."""


def export_lmms_eval(questions: QuestionSet, out: Path, name: str, progress: Progress = lambda done: None) -> Path:
    """Write the task. An export that was stopped is completed; of one that is there, what is missing or differs.

    Args:
        questions: the questions; all of them must have frames at equal steps.
        out: the folder to write.
        name: of the task, in lower-case letters, digits, dots, dashes and underscores.
        progress: called with the number of questions written after each.

    Returns:
        The YAML file.

    Raises:
        ConfigError: lmms-eval cannot express the name, a category or a clock.
        OutputError: `out` holds something else.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise ConfigError(
            f"{name!r} cannot be the name of a task: use a-z, 0-9, '.', '-' and '_', and --name to choose"
        )
    task = out / f"{name}.yaml"
    output = OutputDir(out, VERB, "task of lmms-eval")
    complete = _exported_hash(task) == questions.hash
    asked = [questions.question(index) for index in range(len(questions))]
    check_clocks(asked, "lmms-eval")
    categories = check_categories(questions, metric_name)
    with output.open({"name": name, "hash": questions.hash}, reopen=complete):
        rows = question_rows(questions, asked)
        write_clips(out, questions, [row["videos"] for row in rows], progress)
        write_table(out / "test.parquet", rows)
        for source, copy in MODULES.items():
            copy_module(source, out / copy)
        text = _yaml(name, out.resolve() / "test.parquet", categories, questions.hash)
        write_unless_same(task, text.encode())
    return task


class _Function(str):
    """The name of a function of `task.py`, which the YAML file marks with ``!function``."""

    __slots__ = ()


class _TaskDumper(yaml.SafeDumper):
    """Writes YAML with functions."""


class _TaskLoader(yaml.SafeLoader):
    """Reads YAML with functions, as their names."""


_TaskDumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))
_TaskLoader.add_constructor("!function", lambda _, node: node.value)


def _yaml(name: str, table: Path, categories: list[str], questions: str) -> str:
    """Write the YAML file of the task.

    Args:
        name: of the task.
        table: path of its questions.
        categories: of the questions.
        questions: their content hash.
    """
    decoding = Decoding()
    mean = {"metric": "overall", "aggregation": _Function("task.mean_of_categories"), "higher_is_better": True}
    task = {
        "task": name,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(table)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_visual": _Function("task.doc_to_visual"),
        "doc_to_text": _Function("task.doc_to_text"),
        "doc_to_messages": _Function("task.doc_to_messages"),
        "doc_to_target": "answer",
        "process_results": _Function("task.process_results"),
        "generation_kwargs": {
            "max_new_tokens": decoding.max_tokens,
            "temperature": decoding.temperature,
            "do_sample": False,
        },
        "metric_list": [
            mean,
            *(
                {"metric": metric_name(category), "aggregation": "mean", "higher_is_better": True}
                for category in categories
            ),
        ],
        "metadata": {"version": 1.0, "videossr_hash": questions},
    }
    command = shlex.join(["lmms-eval", "--include_path", str(table.parent), "--tasks", name, "--model", "MODEL"])
    return f"# Run it with: {one_line(command)}\n" + yaml.dump(task, Dumper=_TaskDumper, sort_keys=False, width=110)


def _exported_hash(task: Path) -> str | None:
    """Return the hash of the questions of an exported task; None where it is not complete."""
    try:
        table = yaml.load(read_limited(task, "TOML_BYTES"), _TaskLoader)
        return str(table["metadata"]["videossr_hash"])
    except (FileNotFoundError, yaml.YAMLError, ValueError, TypeError, KeyError, RecursionError):
        return None
