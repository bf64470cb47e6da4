"""Write the files of a training run while it goes on: steps, failures, and sample answers with their frames.

Exercised by `videossr train CONFIG --out RUN`, and read again by `videossr report RUN --out report.html`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import simplejpeg

from videossr.config import flatten, plain
from videossr.question import Clip
from videossr.storage.jsonl import JsonlWriter, filter_jsonl
from videossr.storage.paths import write_bytes
from videossr.training.runs.records import ACROSS, FAILURES, PICTURES, SAMPLES, STEPS, Failure, ShownSample, Step

FRAMES = 64
"""Frames of a question in a picture of samples, at most; of more, these are spread evenly."""

HEIGHT = 96
"""Of a frame in that picture, in pixels, at most."""

_QUALITY = 75
_BLOCK = 8
"""Sides of frames are multiples of a JPEG block, so that a frame's artefacts stay out of its neighbours."""


class RunWriter:
    """Append to the files of a run, a line at a time; each line has left this process when its call returns.

    Only the first of several processes has one.
    """

    def __init__(
        self,
        folder: Path,
        after: int = 0,
        track: Callable[[Mapping[str, float], int], None] = lambda values, step: None,
    ) -> None:
        """Open the files of a run; remove the lines of later steps than `after`, and a last line that was cut off.

        Args:
            folder: of the run.
            after: the last step that is kept: that of the checkpoint from which the run resumes; 0: none.
            track: receives the figures of each step and its number.

        Raises:
            DataError: a line is damaged; the error names it.
        """
        self._folder, self._track = folder, track
        for name in (STEPS, FAILURES, SAMPLES):
            filter_jsonl(folder / name, lambda record: record["step"] <= after)
        for picture in (folder / PICTURES).glob("*.jpg"):
            if (step := picture.stem.partition("-")[0]).isdecimal() and int(step) > after:
                picture.unlink()
        self._files = {name: JsonlWriter(folder / name) for name in (STEPS, FAILURES, SAMPLES)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        for file in self._files.values():
            file.close()

    def step(self, step: Step) -> None:
        """Write a step."""
        self._append(STEPS, step)
        self._track(scalars(step), step.step)

    def failure(self, failure: Failure) -> None:
        """Write a question that could not be shown."""
        self._append(FAILURES, failure)

    def shown(self, shown: ShownSample, clips: Sequence[Clip] = ()) -> None:
        """Write a question with its answers, and the picture of what it showed."""
        if clips:
            jpeg, slots = frame_strip(clips)
            name = f"{shown.step}-{shown.index}.jpg"
            (self._folder / PICTURES).mkdir(exist_ok=True)
            write_bytes(self._folder / PICTURES / name, jpeg)
            shown = replace(shown, frames=name, slots=slots)
        self._append(SAMPLES, shown)

    def _append(self, name: str, record: Step | Failure | ShownSample) -> None:
        """Append a record to a file; where the file is forced to the disk, force the others too."""
        if self._files[name].append(record):
            for file in self._files.values():
                file.sync()


def frame_strip(clips: Sequence[Clip]) -> tuple[bytes, tuple[tuple[tuple[int, int], ...], ...]]:
    """Draw the frames of clips as one JPEG, `ACROSS` in a row; each clip begins a row.

    All are stretched to the size that those of the first clip have when they are shrunk.

    Returns:
        The JPEG, and for each clip when each of its frames begins and ends, in milliseconds.
    """
    height, width = clips[0].frames.shape[1:3]
    scale = min(1.0, HEIGHT / height)
    cell = tuple(max(1, round(side * scale / _BLOCK)) * _BLOCK for side in (width, height))
    most = max(1, FRAMES // len(clips))
    rows, slots = [], []
    for clip in clips:
        count = len(clip.frames)
        chosen = sorted({round(at) for at in np.linspace(0, count - 1, min(most, count))})
        edges = (*clip.clock.times_ms, clip.clock.end_ms)
        slots.append(tuple((edges[k], edges[k + 1]) for k in chosen))
        small = [cv2.resize(clip.frames[k], cell, interpolation=cv2.INTER_AREA) for k in chosen]
        small += [np.zeros_like(small[0])] * (-len(small) % ACROSS)
        rows += [np.hstack(small[at : at + ACROSS]) for at in range(0, len(small), ACROSS)]
    return simplejpeg.encode_jpeg(np.ascontiguousarray(np.vstack(rows)), _QUALITY, "RGB", "444"), tuple(slots)


def scalars(step: Step) -> dict[str, float]:
    """Return all numbers of a step by their names, such as `tasks/jigsaw/smooth`; what it does not have is left out."""
    figures = flatten(plain(step), separator="/")
    return {name: value for name, value in figures.items() if isinstance(value, int | float)}
