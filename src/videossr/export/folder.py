"""Write the parts that exported folders share: rows, one video file a clip, and copies of the modules that score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

import av
import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import TypedDict

from videossr.errors import ConfigError, DataError
from videossr.export.clips import FINE, Encoding, off_ms, write_mp4
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.storage.paths import write_bytes
from videossr.tasks.base import answer_type_of

MOST_OFF = 50.0
"""Milliseconds by which a time may be wrong, since markers are exact to 0.05 s."""

Progress: TypeAlias = Callable[[int], None]
"""Called with the number of questions written after each."""


class Row(TypedDict):
    """A question in an exported table; `videos` are paths in the folder, one for each ``<video>`` of the prompt."""

    id: str
    category: str
    data_source: str
    metric: str
    system: str
    prompt: str
    answer: str
    videos: list[str]


def check_clocks(questions: list[Question], program: str) -> None:
    """Raise ConfigError where the times of a question are too far from equal steps.

    Args:
        questions: the questions.
        program: whose models compute the times, as the message names it.
    """
    for question in questions:
        off = max(off_ms(clock) for clock in question.clocks)
        if off > MOST_OFF:
            raise ConfigError(
                f"question {question.id}: its frames are up to {off:.0f} ms off equal steps. Models of {program} "
                f"compute the time of a frame from the rate of its video, so at most {MOST_OFF:.0f} ms are allowed: "
                "index the videos with --plan uniform"
            )


def check_categories(questions: QuestionSet, name: Callable[[str], str] = str) -> list[str]:
    """List the categories. Raises ConfigError where two would have one metric, or one that of their mean.

    Args:
        questions: the questions.
        name: returns the name of a category's metric.
    """
    categories = sorted({questions.category(index) for index in range(len(questions))})
    metrics = {"overall": "the mean of all categories"}
    for category in categories:
        if (other := metrics.setdefault(name(category), category)) != category:
            raise ConfigError(f"category {category!r} and {other!r} would both be the metric {name(category)!r}")
    return categories


def question_rows(questions: QuestionSet, asked: list[Question]) -> list[Row]:
    """Write the rows of all questions."""
    return [
        Row(
            id=question.id,
            category=questions.category(index),
            data_source=question.data_source,
            metric=answer_type_of(question.data_source).metric,
            system=question.system,
            prompt=question.prompt,
            answer=question.answer,
            videos=[f"videos/{index}-{clip}.mp4" for clip in range(len(question.clocks))],
        )
        for index, question in enumerate(asked)
    ]


def write_clips(
    out: Path,
    questions: QuestionSet,
    names: Sequence[Sequence[str]],
    progress: Progress,
    encoding: Encoding = FINE,
) -> None:
    """Write the video files that are missing.

    Args:
        out: the folder to write.
        questions: the questions.
        names: of each question the paths of its files in the folder, one a clip.
        progress: called with the number of questions written after each.
        encoding: of the files.

    Raises:
        DataError: a clip cannot be encoded.
    """
    for folder in {(out / name).parent for clips in names for name in clips}:
        folder.mkdir(parents=True, exist_ok=True)
    for index, clips in enumerate(names):
        videos = [out / name for name in clips]
        if not all(video.is_file() for video in videos):
            try:
                for video, clip in zip(videos, questions.clips(index), strict=True):
                    write_mp4(video, clip, encoding)
            except av.FFmpegError as error:
                raise DataError(
                    f"question {questions.gold(index).id}: its clip cannot be written as MP4: {error}"
                ) from error
        progress(index + 1)


def copy_module(source: str, path: Path) -> None:
    """Put a copy of a module of this package, such as `rewards.py`, into a folder."""
    write_unless_same(path, files("videossr").joinpath(source).read_bytes())


def write_table(
    path: Path, rows: Sequence[Mapping[str, Any]], schema: pa.Schema | None = None, row_group: int | None = None
) -> None:
    """Write rows as a Parquet file, unless it holds the same.

    Args:
        path: of the file.
        rows: of the table.
        schema: its columns; by default those that the rows show.
        row_group: rows that are stored together; by default pyarrow's.
    """
    table = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema), table, row_group_size=row_group)
    write_unless_same(path, table.getvalue().to_pybytes())


def write_unless_same(path: Path, data: bytes) -> None:
    """Write a file, unless it holds the same: what is in a folder already may be somebody else's."""
    if not path.is_file() or path.read_bytes() != data:
        write_bytes(path, data)
