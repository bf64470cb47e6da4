"""A set of questions as a task of lmms-eval: a YAML file, a table, one video file a clip, and how answers are scored.

    NAME.yaml      the task; written last: its presence means that the folder is whole
    test.parquet   one row a question
    videos/        one MP4 a clip
    task.py        the task's functions, and rewards.py that scores: neither needs this package

Exercised by `videossr export lmms-eval BENCH --out FOLDER`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from videossr.errors import ConfigError
from videossr.export.clips import off_ms, write_mp4
from videossr.export.lmms_eval_task import metric_name
from videossr.models.base import Decoding
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.storage.paths import atomic_write, remove_staging_dir, staging_dir, write_bytes, write_text
from videossr.tasks.base import answer_type_of

VERB = "export lmms-eval"
MOST_OFF = 50.0
"""Milliseconds: a marker must be within 0.05 s of the clock."""


def export_lmms_eval(
    questions: QuestionSet, out: Path, name: str, progress: Callable[[int], None] = lambda done: None
) -> Path:
    """Write the task; what a stopped export has left is gone on with.

    Args:
        questions: to be asked; all of them must have frames at equal steps.
        out: the folder to write.
        name: of the task, in lower-case letters, digits, dots, dashes and underscores.
        progress: called with the number of questions written after each.

    Returns the YAML file.

    Raises ValueError for a name or a clock that cannot be told to lmms-eval, and where `out` holds something else.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise ConfigError(
            f"{name!r} cannot be the name of a task: use a-z, 0-9, '.', '-' and '_', and --name to choose"
        )
    task = out / f"{name}.yaml"
    mark = f"videossr_hash: {questions.hash}\n"
    if task.exists() and mark in task.read_text("utf-8"):
        remove_staging_dir(out)
        return task
    asked = [questions.question(index) for index in range(len(questions))]
    for question in asked:
        _check_clock(question)
    categories = _check_categories(questions)
    with staging_dir(out, {"verb": VERB, "name": name, "hash": questions.hash}):
        rows = [_row(questions, index, question) for index, question in enumerate(asked)]
        (out / "videos").mkdir(exist_ok=True)
        for index, row in enumerate(rows):
            videos = [out / name for name in row["videos"]]
            if not all(video.exists() for video in videos):
                for video, clip in zip(videos, questions.clips(index), strict=True):
                    write_mp4(video, clip)
            progress(index + 1)
        with atomic_write(out / "test.parquet") as partial:
            pq.write_table(pa.Table.from_pylist(rows), partial)
        for source, copy in (("export/lmms_eval_task.py", "task.py"), ("rewards.py", "rewards.py")):
            write_bytes(out / copy, files("videossr").joinpath(source).read_bytes())
        write_text(task, _yaml(name, out.resolve() / "test.parquet", categories, mark))
    remove_staging_dir(out)
    return task


def _check_clock(question: Question) -> None:
    off = max(off_ms(clock) for clock in question.clocks)
    if off > MOST_OFF:
        raise ConfigError(
            f"question {question.id}: its frames are up to {off:.0f} ms off equal steps. lmms-eval's models take frame "
            f"k of a video for shown at k over its rate, so at most {MOST_OFF:.0f} ms can be told right: index the "
            "videos with --plan uniform"
        )


def _check_categories(questions: QuestionSet) -> list[str]:
    """All categories. Raises ValueError where two would be one metric, or one the mean of all."""
    categories = sorted({questions.category(index) for index in range(len(questions))})
    metrics = {"overall": "the mean of all categories"}
    for category in categories:
        if (other := metrics.setdefault(metric_name(category), category)) != category:
            raise ConfigError(f"category {category!r} and {other!r} would both be the metric {metric_name(category)!r}")
    return categories


def _row(questions: QuestionSet, index: int, question: Question) -> dict[str, Any]:
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


def _yaml(name: str, table: Path, categories: list[str], mark: str) -> str:
    """The task; a JSON string is one of YAML too."""
    decoding = Decoding()
    metrics = [f"  - metric: {json.dumps(metric_name(category))}\n    aggregation: mean\n" for category in categories]
    return f"""\
# Run it with: lmms-eval --include_path {json.dumps(str(table.parent))} --tasks {name} --model MODEL
task: {json.dumps(name)}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {json.dumps(str(table))}
test_split: test
output_type: generate_until
doc_to_visual: !function task.doc_to_visual
doc_to_text: !function task.doc_to_text
doc_to_messages: !function task.doc_to_messages
doc_to_target: answer
process_results: !function task.process_results
generation_kwargs:
  max_new_tokens: {decoding.max_tokens}
  temperature: {decoding.temperature:g}
  do_sample: false
metric_list:
  - metric: overall
    aggregation: !function task.mean_of_categories
    higher_is_better: true
{"".join(metric + "    higher_is_better: true" + chr(10) for metric in metrics)}metadata:
  version: 1.0
  {mark}"""
