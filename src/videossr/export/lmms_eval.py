"""A set of questions as a task of lmms-eval: a YAML file, a table, one video file a clip, and how answers are scored.

    NAME.yaml      the task; written last, so that a folder which has it is complete
    test.parquet   one row a question
    videos/        one MP4 a clip
    task.py        the task's functions, and rewards.py that scores: neither needs this package

`videossr export lmms-eval BENCH --out FOLDER` writes it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from videossr.errors import ConfigError, DataError
from videossr.export.clips import off_ms, write_mp4
from videossr.export.lmms_eval_task import metric_name
from videossr.models.base import Decoding
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.storage.output_dir import OutputDir
from videossr.storage.parsing import read_limited
from videossr.storage.paths import write_bytes
from videossr.tasks.base import answer_type_of
from videossr.untrusted import one_line

VERB = "export lmms-eval"
MOST_OFF = 50.0
"""Milliseconds by which a time may be wrong, since markers are exact to 0.05 s."""


def export_lmms_eval(
    questions: QuestionSet, out: Path, name: str, progress: Callable[[int], None] = lambda done: None
) -> Path:
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
    all_questions = [questions.question(index) for index in range(len(questions))]
    for question in all_questions:
        _check_clock(question)
    categories = _check_categories(questions)
    with output.open({"name": name, "hash": questions.hash}, reopen=complete):
        rows = [_row(questions, index, question) for index, question in enumerate(all_questions)]
        (out / "videos").mkdir(exist_ok=True)
        for index, row in enumerate(rows):
            videos = [out / name for name in row["videos"]]
            if not all(video.is_file() for video in videos):
                try:
                    for video, clip in zip(videos, questions.clips(index), strict=True):
                        write_mp4(video, clip)
                except av.FFmpegError as error:
                    raise DataError(f"question {row['id']}: its clip cannot be written as MP4: {error}") from error
            progress(index + 1)
        table = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows), table)
        _write_unless_same(out / "test.parquet", table.getvalue().to_pybytes())
        for source, copy in (("export/lmms_eval_task.py", "task.py"), ("rewards.py", "rewards.py")):
            _write_unless_same(out / copy, files("videossr").joinpath(source).read_bytes())
        text = _yaml(name, out.resolve() / "test.parquet", categories, questions.hash)
        _write_unless_same(task, text.encode())
    return task


def _write_unless_same(path: Path, data: bytes) -> None:
    """Write a file, unless it holds the same: what is in a folder already may be somebody else's."""
    if not path.is_file() or path.read_bytes() != data:
        write_bytes(path, data)


def _check_clock(question: Question) -> None:
    """Raise ConfigError where the times of a question are too far from equal steps."""
    off = max(off_ms(clock) for clock in question.clocks)
    if off > MOST_OFF:
        raise ConfigError(
            f"question {question.id}: its frames are up to {off:.0f} ms off equal steps. lmms-eval's models compute "
            f"the time of a frame from the rate of its video, so at most {MOST_OFF:.0f} ms are allowed: index the "
            "videos with --plan uniform"
        )


def _check_categories(questions: QuestionSet) -> list[str]:
    """List the categories. Raises ConfigError where two would have one metric, or one that of their mean."""
    categories = sorted({questions.category(index) for index in range(len(questions))})
    metrics = {"overall": "the mean of all categories"}
    for category in categories:
        if (other := metrics.setdefault(metric_name(category), category)) != category:
            raise ConfigError(f"category {category!r} and {other!r} would both be the metric {metric_name(category)!r}")
    return categories


def _row(questions: QuestionSet, index: int, question: Question) -> dict[str, Any]:
    """Write the row of one question."""
    return {
        "id": question.id,
        "category": questions.category(index),
        "data_source": question.data_source,
        "metric": answer_type_of(question.data_source).metric,
        "system": question.system,
        "prompt": question.prompt,
        "answer": question.answer,
        "videos": [f"videos/{index}-{clip}.mp4" for clip in range(len(question.clocks))],
    }


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
