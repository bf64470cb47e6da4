"""What a run writes of itself: nothing that was told is lost, and what a run undid leaves no trace."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from tests.helpers.training_runs import facts, shown_of, step_of, write_run
from videossr.clock import Clock
from videossr.question import Clip
from videossr.question_set import open_questions
from videossr.storage.paths import write_text
from videossr.training.metrics import GroupMetrics, rollout_metrics, summarize
from videossr.training.runs.records import ACROSS, CONFIG, PICTURES, SAMPLES, STEPS, Failure, read_train_run
from videossr.training.runs.writer import FRAMES, RunWriter, frame_strip

CATEGORIES = ("grounding/mirror", "jigsaw/6")
END = 60_000


def clip(count: int, size: tuple[int, int] = (64, 96)) -> Clip:
    """Frames of one color each, brighter and brighter, on an uneven clock."""
    frames = np.empty((count, *size, 3), np.uint8)
    frames[:] = np.linspace(20, 235, count).astype(np.uint8)[:, None, None, None]
    return Clip(frames, Clock(tuple(k * k + 10 * k for k in range(count)), END))


def test_what_is_written_is_what_is_read(dataset: Path, tmp_path: Path) -> None:
    questions = open_questions(dataset)
    steps = [step_of(number, CATEGORIES) for number in (1, 2)]
    failures = (Failure(1, 5, "pack-0007.bin is cut off"),)
    shown = [(shown_of(questions, 2, index), questions) for index in range(len(questions))]
    run = write_run(tmp_path / "run", steps, shown=shown, failures=failures)
    assert run.steps == tuple(steps)
    assert run.failures == failures
    for read, (told, _) in zip(run.shown, shown, strict=True):
        assert read == replace(told, frames=read.frames, slots=read.slots)
        clips = questions.clips(told.index)
        assert [len(slots) for slots in read.slots] == [min(len(each.clock), FRAMES // len(clips)) for each in clips]
        jpeg = (tmp_path / "run" / PICTURES / read.frames).read_bytes()
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
        assert (width % ACROSS, height % sum(-(-len(slots) // ACROSS) for slots in read.slots)) == (0, 0)


@pytest.mark.parametrize("counts", [(5,), (8,), (48,), (200,), (9, 3, 8)])
def test_a_picture_can_be_cut_into_its_frames_again(counts: tuple[int, ...]) -> None:
    clips = [clip(count) for count in counts]
    jpeg, slots = frame_strip(clips)
    made = simplejpeg.decode_jpeg(jpeg, "RGB")
    rows = sum(-(-len(each) // ACROSS) for each in slots)
    height, width = made.shape[0] // rows, made.shape[1] // ACROSS
    assert width / height == pytest.approx(96 / 64, abs=0.1)
    row = 0
    for each, told in zip(clips, slots, strict=True):
        starts = [start for start, _ in told]
        assert len(told) == min(len(each.clock), FRAMES // len(clips))
        assert (starts[0], told[-1][1]) == (0, END), "the first and the last frame are there"
        assert all(a < b for a, b in pairwise(starts))
        for at, (start, _) in enumerate(told):
            top, left = (row + at // ACROSS) * height, at % ACROSS * width
            cell = made[top : top + height, left : left + width]
            expected = each.frames[each.clock.times_ms.index(start), 0, 0, 0]
            assert np.abs(cell.astype(int) - int(expected)).max() <= 3
        row += -(-len(told) // ACROSS)


def test_clips_of_other_sizes_share_a_picture() -> None:
    jpeg, slots = frame_strip([clip(4, (300, 400)), clip(2, (64, 64))])
    made = simplejpeg.decode_jpeg(jpeg, "RGB")
    assert made.shape == (2 * 96, ACROSS * 128, 3)
    assert [len(each) for each in slots] == [4, 2]
    assert cv2.cvtColor(made, cv2.COLOR_RGB2GRAY)[96:, 2 * 128 :].max() < 8, "the rest of a row is black"


def test_a_run_that_goes_on_drops_what_it_had_made_beyond_its_checkpoint(dataset: Path, tmp_path: Path) -> None:
    questions = open_questions(dataset)
    shown = [(shown_of(questions, step, index), questions) for step in (2, 12) for index in (0, 1)]
    failures = (Failure(2, 0, "a"), Failure(3, 0, "b"))
    run = tmp_path / "run"
    write_run(run, [step_of(n, CATEGORIES) for n in range(1, 13)], shown=shown, failures=failures, complete=False)
    with (run / STEPS).open("ab") as file:
        file.write(b'{"step":13,"ep')
    (run / PICTURES / "mine.jpg").write_bytes(b"")
    again = step_of(3, CATEGORIES, loss=7.0)
    with RunWriter(run, after=2) as log:
        log.step(again)
    found = read_train_run(run)
    assert [step.step for step in found.steps] == [1, 2, 3]
    assert found.steps[-1] == again
    assert [each.step for each in found.shown] == [2, 2]
    assert found.failures == failures[:1]
    assert sorted(path.name for path in (run / PICTURES).iterdir()) == ["2-0.jpg", "2-1.jpg", "mine.jpg"]
    with RunWriter(run):
        pass
    assert (run / STEPS).read_bytes() == (run / SAMPLES).read_bytes() == b""


def test_a_damaged_line_is_named_and_nothing_is_removed(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [step_of(1, CATEGORIES)], complete=False)
    path = tmp_path / "run" / STEPS
    for text in (b"\x00\x00\n", b"[]\n", b'{"epoch":1}\n'):
        path.write_bytes(before := path.read_bytes().partition(b"\n")[0] + b"\n" + text)
        with pytest.raises(ValueError, match=r"steps\.jsonl:2: damaged"):
            RunWriter(tmp_path / "run", after=1)
        assert path.read_bytes() == before


def test_each_line_is_on_its_way_when_the_call_returns(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from videossr.training.runs.writer import RunWriter;"
        "from tests.helpers.training_runs import step_of; log = RunWriter(Path(sys.argv[1]));"
        "[log.step(step_of(n, ('jigsaw/6',))) for n in (1, 2, 3)]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    write_run(tmp_path / "run", [], complete=False)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], env=environment, cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [step.step for step in read_train_run(tmp_path / "run").steps] == [1, 2, 3]


def test_a_full_disk_is_told_with_its_file(tmp_path: Path) -> None:
    made = step_of(1, CATEGORIES)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunWriter(tmp_path) as log:
        log.step(made)
        size = (tmp_path / STEPS).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * size // 2, before[1]))
        try:
            with pytest.raises(OSError, match="too large") as told:
                log.step(made)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told.value.filename == str(tmp_path / STEPS)
    assert (tmp_path / STEPS).stat().st_size == 3 * size // 2, "cut off in the middle of a line"
    with RunWriter(tmp_path, after=1) as log:
        log.step(again := step_of(2, CATEGORIES))
    write_text(tmp_path / CONFIG, "")
    assert read_train_run(tmp_path).steps == (made, again)


def test_trackers_are_told_all_numbers(tmp_path: Path) -> None:
    told: list[tuple[Mapping[str, float], int]] = []
    with RunWriter(tmp_path, track=lambda values, step: told.append((values, step))) as log:
        log.step(made := step_of(7, CATEGORIES, mfu=None))
    ((values, number),) = told
    assert number == 7
    assert made.all is not None
    assert values["all/smooth"] == made.all.smooth
    assert values["categories/grounding/mirror/kl"] == made.categories["grounding/mirror"].kl
    assert values["seconds/loss"] == made.seconds["loss"]
    assert not {"mfu", "skipped"} & set(values)
    assert all(isinstance(value, int | float) for value in values.values())


def group(smooth: tuple[float, ...], strict: tuple[float, ...], **changed: object) -> GroupMetrics:
    n = len(smooth)
    values = {
        "category": "c",
        "task": "t",
        "smooth": smooth,
        "strict": strict,
        "parsed": (True,) * n,
        "texts": tuple(f"{value}" for value in smooth),
        "tokens": (2,) * n,
        "truncated": (False,) * n,
    }
    return GroupMetrics(**{**values, **changed})  # type: ignore[arg-type]


def test_the_means_of_groups_are_as_defined() -> None:
    right = group((1.0, 1.0, 0.5, 0.0), (1, 1, 0, 0), kl=0.8, entropy=4.0)
    noisy = group((0.5, 0.0, 0.2, 0.2), (0, 0, 0, 0), parsed=(True, False, True, True), tokens=(4, 64, 2, 2), kl=8.0)
    noisy = replace(noisy, truncated=(False, True, False, False))
    flat = group((0.0, 0.0, 0.0, 0.0), (0, 0, 0, 0))
    made = rollout_metrics([right, noisy, flat])
    assert made.groups == 3
    assert (made.smooth, made.strict) == pytest.approx((3.4 / 12, 2 / 12))
    assert (made.parsed, made.truncated) == pytest.approx((11 / 12, 1 / 12))
    assert (made.zero_variance, made.noise) == pytest.approx((1 / 3, 1 / 3))
    assert made.distinct == pytest.approx((3 + 3 + 1) / 3)
    assert made.tokens == pytest.approx((8 + 72 + 8) / 12)
    assert (made.kl, made.entropy) == pytest.approx((8.8 / 88, 4 / 88))
    assert rollout_metrics([right, noisy, flat], "strict").zero_variance == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no groups"):
        rollout_metrics([])


def test_groups_of_two_processes_are_joined_by_joining_their_lists() -> None:
    groups = [facts(category, step) for category in (*CATEGORIES, "jigsaw/3") for step in (3, 9)]
    whole = summarize(groups)
    assert summarize(groups[1::2] + groups[::2]) == whole
    assert list(whole.tasks) == ["grounding", "jigsaw"]
    assert list(whole.categories) == ["grounding/mirror", "jigsaw/3", "jigsaw/6"]
    assert whole.tasks["jigsaw"] == rollout_metrics(groups[2:])
    assert sum(each.groups for each in whole.categories.values()) == whole.all.groups == 6
