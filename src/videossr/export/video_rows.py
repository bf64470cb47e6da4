"""Conversations about video files, the rows that `videossr.export.swift` and `videossr.export.llamafactory` write.

A clip is an MP4 file with exactly its frames, at the rate of its clock. Paths in rows are relative to the folder, so
that it can be moved and copied.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videossr.export.clips import PLAYABLE, frame_size, rate
from videossr.export.folder import Progress, write_clips, write_unless_same
from videossr.export.trainer import prompt_tokens
from videossr.question import Question
from videossr.question_set import QuestionSet

EXACT = replace(PLAYABLE, even=False)
"""How clips are written. A frame that is doubled would move the last time mark, by half a step."""

LEAST_RATE = 60
"""Frames a second that readers are asked for, where no clip has more: they then take every frame."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a model is shown of a question: pixels of a frame, of the smallest and the largest clip, and tokens.

    The tokens are those of prompt and answer, at most.
    """

    min_pixels: int
    max_pixels: int
    tokens: int


def video_names(questions: Sequence[Question]) -> list[list[str]]:
    """Name the files of each question, one a clip. A folder has those of a thousand questions."""
    return [
        [f"videos/{index // 1000:05d}/{index}-{clip}.mp4" for clip in range(len(question.clocks))]
        for index, question in enumerate(questions)
    ]


def reading_rate(questions: Sequence[Question]) -> int:
    """Return a number of frames a second which is above the rate of every clip."""
    return max([LEAST_RATE, *(math.floor(rate(clock)) + 1 for question in questions for clock in question.clocks)])


def most_frames(question: Question) -> int:
    """Return how many frames the longest clip of a question has."""
    return max(len(clock) for clock in question.clocks)


def write_videos(
    out: Path, questions: QuestionSet, asked: Sequence[Question], names: Sequence[Sequence[str]], progress: Progress
) -> list[Shown]:
    """Write the files that are missing, see `videossr.export.folder.write_clips`, and look at all of them.

    Raises:
        ConfigError: Qwen3-VL cannot take the size of a clip. No further one is then written.
        DataError: a clip cannot be encoded.
    """
    shown: list[Shown] = []

    def look(done: int) -> None:
        question = asked[done - 1]
        sizes = [frame_size(out / name) for name in names[done - 1]]
        tokens = prompt_tokens(question, sizes) + len(question.answer.encode())
        pixels = [height * width for height, width in sizes]
        shown.append(Shown(min(pixels), max(pixels), tokens))
        progress(done)

    write_clips(out, questions, names, look, EXACT)
    return shown


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as JSON, one a line, unless the file holds the same."""
    write_unless_same(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode())
