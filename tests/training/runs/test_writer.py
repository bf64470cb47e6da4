"""Writing the files of a run: no record is lost, and a resumed run removes later records."""

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

from tests.helpers.training_runs import group_metrics, shown_sample, step_of, write_run
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
    """Make frames of one gray level each, brighter and brighter, on an uneven clock."""
    frames = np.empty((count, *size, 3), np.uint8)
    frames[:] = np.linspace(20, 235, count).astype(np.uint8)[:, None, None, None]
    return Clip(frames, Clock(tuple(k * k + 10 * k for k in range(count)), END))


def test_read_train_run_returns_what_run_writer_wrote(dataset: Path, tmp_path: Path) -> None:
    questions = open_questions(dataset)
    steps = [step_of(number, CATEGORIES) for number in (1, 2)]
    failures = (Failure(1, 5, "pack-0007.bin is cut off"),)
    shown = [(shown_sample(questions, 2, index), questions) for index in range(len(questions))]
    run = write_run(tmp_path / "run", steps, shown=shown, failures=failures)
    assert run.steps == tuple(steps)
    assert run.failures == failures
    for stored, (written, _) in zip(run.shown, shown, strict=True):
        assert stored == replace(written, frames=stored.frames, slots=stored.slots)
        clips = questions.clips(written.index)
        assert [len(slots) for slots in stored.slots] == [
            min(len(written_clip.clock), FRAMES // len(clips)) for written_clip in clips
        ]
        jpeg = (tmp_path / "run" / PICTURES / stored.frames).read_bytes()
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
        assert (width % ACROSS, height % sum(-(-len(slots) // ACROSS) for slots in stored.slots)) == (0, 0)


@pytest.mark.parametrize("counts", [(5,), (8,), (48,), (200,), (9, 3, 8)])
def test_frame_strip_can_be_cut_into_its_frames(counts: tuple[int, ...]) -> None:
    clips = [clip(count) for count in counts]
    jpeg, slots = frame_strip(clips)
    picture = simplejpeg.decode_jpeg(jpeg, "RGB")
    rows = sum(-(-len(source) // ACROSS) for source in slots)
    height, width = picture.shape[0] // rows, picture.shape[1] // ACROSS
    assert width / height == pytest.approx(96 / 64, abs=0.1)
    row = 0
    for source, spans in zip(clips, slots, strict=True):
        starts = [start for start, _ in spans]
        assert len(spans) == min(len(source.clock), FRAMES // len(clips))
        assert (starts[0], spans[-1][1]) == (0, END), "the first and the last frame are shown"
        assert all(a < b for a, b in pairwise(starts))
        for number, (start, _) in enumerate(spans):
            top, left = (row + number // ACROSS) * height, number % ACROSS * width
            cell = picture[top : top + height, left : left + width]
            expected = source.frames[source.clock.times_ms.index(start), 0, 0, 0]
            assert np.abs(cell.astype(int) - int(expected)).max() <= 3
        row += -(-len(spans) // ACROSS)


def test_frame_strip_holds_clips_of_different_sizes() -> None:
    jpeg, slots = frame_strip([clip(4, (300, 400)), clip(2, (64, 64))])
    picture = simplejpeg.decode_jpeg(jpeg, "RGB")
    assert picture.shape == (2 * 96, ACROSS * 128, 3)
    assert [len(spans) for spans in slots] == [4, 2]
    assert cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[96:, 2 * 128 :].max() < 8, "the rest of a row is black"


def test_run_writer_drops_records_after_the_resumed_step(dataset: Path, tmp_path: Path) -> None:
    questions = open_questions(dataset)
    shown = [(shown_sample(questions, step, index), questions) for step in (2, 12) for index in (0, 1)]
    failures = (Failure(2, 0, "a"), Failure(3, 0, "b"))
    run = tmp_path / "run"
    write_run(run, [step_of(n, CATEGORIES) for n in range(1, 13)], shown=shown, failures=failures, complete=False)
    with (run / STEPS).open("ab") as file:
        file.write(b'{"step":13,"ep')
    (run / PICTURES / "mine.jpg").write_bytes(b"")
    repeated_step = step_of(3, CATEGORIES, loss=7.0)
    with RunWriter(run, after=2) as log:
        log.step(repeated_step)
    resumed = read_train_run(run)
    assert [step.step for step in resumed.steps] == [1, 2, 3]
    assert resumed.steps[-1] == repeated_step
    assert [sample.step for sample in resumed.shown] == [2, 2]
    assert resumed.failures == failures[:1]
    assert sorted(path.name for path in (run / PICTURES).iterdir()) == ["2-0.jpg", "2-1.jpg", "mine.jpg"]
    with RunWriter(run):
        pass
    assert (run / STEPS).read_bytes() == (run / SAMPLES).read_bytes() == b""


def test_run_writer_names_a_damaged_line_and_removes_nothing(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [step_of(1, CATEGORIES)], complete=False)
    path = tmp_path / "run" / STEPS
    for text in (b"\x00\x00\n", b"[]\n", b'{"epoch":1}\n'):
        path.write_bytes(before := path.read_bytes().partition(b"\n")[0] + b"\n" + text)
        with pytest.raises(ValueError, match=r"steps\.jsonl:2: damaged"):
            RunWriter(tmp_path / "run", after=1)
        assert path.read_bytes() == before


def test_run_writer_loses_no_line_when_killed(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from videossr.training.runs.writer import RunWriter;"
        "from tests.helpers.training_runs import step_of; log = RunWriter(Path(sys.argv[1]));"
        "[log.step(step_of(n, ('jigsaw/6',))) for n in (1, 2, 3)]; os.kill(os.getpid(), signal.SIGKILL)"
    )
    write_run(tmp_path / "run", [], complete=False)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    root = Path(__file__).parents[2]
    completed = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")], env=environment, cwd=root, check=False
    )
    assert completed.returncode == -signal.SIGKILL
    assert [step.step for step in read_train_run(tmp_path / "run").steps] == [1, 2, 3]


def test_run_writer_names_the_file_on_a_full_disk(tmp_path: Path) -> None:
    first = step_of(1, CATEGORIES)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunWriter(tmp_path) as log:
        log.step(first)
        size = (tmp_path / STEPS).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (3 * size // 2, limits[1]))
        try:
            with pytest.raises(OSError, match="too large") as raised:
                log.step(first)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.filename == str(tmp_path / STEPS)
    assert (tmp_path / STEPS).stat().st_size == 3 * size // 2, "cut off in the middle of a line"
    with RunWriter(tmp_path, after=1) as log:
        log.step(second := step_of(2, CATEGORIES))
    write_text(tmp_path / CONFIG, "")
    assert read_train_run(tmp_path).steps == (first, second)


def test_run_writer_sends_all_numbers_to_trackers(tmp_path: Path) -> None:
    calls: list[tuple[Mapping[str, float], int]] = []
    with RunWriter(tmp_path, track=lambda values, step: calls.append((values, step))) as log:
        log.step(step := step_of(7, CATEGORIES, mfu=None))
    ((values, number),) = calls
    assert number == 7
    assert step.all is not None
    assert values["all/smooth"] == step.all.smooth
    assert values["categories/grounding/mirror/kl"] == step.categories["grounding/mirror"].kl
    assert values["seconds/loss"] == step.seconds["loss"]
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


def test_rollout_metrics_are_the_means_of_groups() -> None:
    right = group((1.0, 1.0, 0.5, 0.0), (1, 1, 0, 0), kl=0.8, entropy=4.0)
    noisy = group((0.5, 0.0, 0.2, 0.2), (0, 0, 0, 0), parsed=(True, False, True, True), tokens=(4, 64, 2, 2), kl=8.0)
    noisy = replace(noisy, truncated=(False, True, False, False))
    flat = group((0.0, 0.0, 0.0, 0.0), (0, 0, 0, 0))
    metrics = rollout_metrics([right, noisy, flat])
    assert metrics.groups == 3
    assert (metrics.smooth, metrics.strict) == pytest.approx((3.4 / 12, 2 / 12))
    assert (metrics.parsed, metrics.truncated) == pytest.approx((11 / 12, 1 / 12))
    assert (metrics.zero_variance, metrics.noise) == pytest.approx((1 / 3, 1 / 3))
    assert metrics.distinct == pytest.approx((3 + 3 + 1) / 3)
    assert metrics.tokens == pytest.approx((8 + 72 + 8) / 12)
    assert (metrics.kl, metrics.entropy) == pytest.approx((8.8 / 88, 4 / 88))
    assert rollout_metrics([right, noisy, flat], "strict").zero_variance == pytest.approx(2 / 3)
    with_cut = replace(noisy, counted=(True, False, True, True))
    assert rollout_metrics([right, with_cut, replace(flat, counted=(False,) * 4)]).kl == pytest.approx(8.8 / (8 + 8))
    with pytest.raises(ValueError, match="no groups"):
        rollout_metrics([])


def test_summarize_does_not_depend_on_the_order_of_groups() -> None:
    groups = [group_metrics(category, step) for category in (*CATEGORIES, "jigsaw/3") for step in (3, 9)]
    whole = summarize(groups)
    assert summarize(groups[1::2] + groups[::2]) == whole
    assert list(whole.tasks) == ["grounding", "jigsaw"]
    assert list(whole.categories) == ["grounding/mirror", "jigsaw/3", "jigsaw/6"]
    assert whole.tasks["jigsaw"] == rollout_metrics(groups[2:])
    assert sum(metrics.groups for metrics in whole.categories.values()) == whole.all.groups == 6
