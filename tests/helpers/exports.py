"""Odd datasets to export, and an export that is stopped in the middle and run again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol, SupportsIndex

import pytest

from videossr.clock import Clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import OutputError
from videossr.export import folder
from videossr.export.folder import Progress
from videossr.question import VIDEO, Clip, Question
from videossr.question_set import QuestionSet


class Export(Protocol):
    """A function that exports questions into a folder."""

    def __call__(self, questions: QuestionSet, out: Path, name: str, progress: Progress = ...) -> Path:
        """Export, and return the file that is written last."""


class UnevenDataset(VideoSSRDataset):
    """Questions whose third slot is late, as `--plan snap` may make it."""

    def question(self, index: SupportsIndex) -> Question:
        question = super().question(index)
        clock = question.clocks[0]
        late = (*clock.times_ms[:2], clock.times_ms[2] + 60, *clock.times_ms[3:])
        return replace(question, clocks=(Clock(late, clock.end_ms), *question.clocks[1:]))

    def clips(self, index: SupportsIndex) -> list[Clip]:
        clocks = self.question(index).clocks
        return [replace(clip, clock=clock) for clip, clock in zip(super().clips(index), clocks, strict=True)]


class ShortClipsDataset(VideoSSRDataset):
    """Questions that show as many clips as there are `shown`, each the first frames of the first clip of a sample."""

    shown: tuple[Clock, ...] = ()

    def question(self, index: SupportsIndex) -> Question:
        prompt = " or ".join([VIDEO] * len(self.shown))
        return replace(super().question(index), prompt=prompt, clocks=self.shown)

    def clips(self, index: SupportsIndex) -> list[Clip]:
        first = super().clips(index)[0].frames
        return [Clip(first[: len(clock)], clock) for clock in self.shown]


class HostileDataset(VideoSSRDataset):
    """Questions whose hash and categories are a text that a program might take for its own."""

    text = ""

    @property
    def hash(self) -> str:
        return self.text

    def category(self, index: SupportsIndex) -> str:
        return f"{self.text}{int(index) % 2}"


def damage_and_repair(export: Export, dataset: Path, last: Path, name: str, *, damaged: str, missing: str) -> None:
    """Change a file of a complete export and remove another: a further export gives the same bytes, and no new clip.

    Args:
        export: the export.
        dataset: that was exported.
        last: the file that was written last, in the folder.
        name: of the export.
        damaged: name of the file to change.
        missing: name of the file to remove.
    """
    sound = {path: path.read_bytes() for path in last.parent.rglob("*") if path.is_file()}
    (last.parent / damaged).write_text("[]")
    (last.parent / missing).unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder, "write_mp4", None)
        export(VideoSSRDataset(dataset), last.parent, name)
    assert {path: path.read_bytes() for path in last.parent.rglob("*") if path.is_file()} == sound


def stop_and_resume(export: Export, verb: str, dataset: Path, out: Path, name: str, other: str) -> Path:
    """Stop an export after two questions, and run it again: what was written stays, and another name is refused.

    Args:
        export: the export.
        verb: of its command.
        dataset: that is exported.
        out: folder to write.
        name: of the export.
        other: another name.

    Returns:
        The file that is written last.
    """
    opened = VideoSSRDataset(dataset)

    def interrupt(done: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(opened, out, name, interrupt)
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4")}
    assert len(written) >= 2
    with pytest.raises(OutputError, match=f"unfinished `videossr export {verb}` that was begun otherwise: name is"):
        export(opened, out, other)
    before = {path for path in out.rglob("*") if path.is_file()}
    last = export(opened, out, name)
    assert last not in before, "the file that marks the folder as complete is written last"
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert not (out / ".unfinished").exists()
    return last
