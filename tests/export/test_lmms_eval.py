"""Exported lmms-eval tasks: complete, with the dataset's frames and times, and scored without this package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from numpy.typing import NDArray

from tests.dataset.published.conftest import row, write_json
from tests.helpers.exports import HostileDataset, UnevenDataset, stop_and_resume
from tests.helpers.plugins import write_entry_points
from videossr.answers.base import ANSWER_TYPES
from videossr.clock import Clock, uniform_clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.published.dataset import PublishedDataset
from videossr.errors import OutputError
from videossr.export import folder, lmms_eval_task
from videossr.export.clips import off_ms, write_mp4
from videossr.export.lmms_eval import export_lmms_eval
from videossr.export.lmms_eval_task import mean_of_categories, metric_name
from videossr.question import VIDEO, Clip, Frames
from videossr.question_set import open_questions
from videossr.tasks.base import Video, answer_type_of
from videossr.video.decoding import decode
from videossr.video.plan import Plan

Scores: TypeAlias = list[dict[str, Any]]


def psnr(one: Frames, other: Frames) -> NDArray[np.float64]:
    """Compute the peak signal-to-noise ratio in decibels, frame by frame."""
    error = np.square(one.astype(np.float64) - other).mean(axis=(1, 2, 3))
    return np.asarray(10 * np.log10(255**2 / np.maximum(error, 1e-9)), np.float64)


def read_video(path: Path) -> tuple[list[Fraction], Frames, Fraction]:
    """Read the times in seconds, the frames and the duration of a video file."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        duration = stream.duration * stream.time_base
        frames = list(container.decode(stream))
    assert all(frame.pts is not None for frame in frames)
    times = [(frame.pts or 0) * (frame.time_base or Fraction(0)) for frame in frames]
    return times, np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), duration


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lmms") / "task"
    export_lmms_eval(VideoSSRDataset(dataset), folder, "small")
    return folder


def test_export_lmms_eval_videos_have_the_frames_and_times_of_the_dataset(dataset: Path, exported: Path) -> None:
    opened = VideoSSRDataset(dataset)
    rows = pq.read_table(exported / "test.parquet").to_pylist()
    assert len(rows) == len(opened)
    for index, doc in enumerate(rows):
        item = opened[index]
        assert doc["prompt"].count(VIDEO) == len(doc["videos"]) == len(item.clips)
        assert (doc["id"], doc["answer"], doc["system"]) == (item.sample.id, item.sample.answer, item.question.system)
        for name, clip in zip(doc["videos"], item.clips, strict=True):
            times, frames, duration = read_video(exported / name)
            assert times == [Fraction(time, 1000) for time in clip.clock.times_ms]
            assert abs(duration * 1000 - clip.clock.end_ms) <= 1
            assert psnr(frames, clip.frames).min() > 40


def test_export_lmms_eval_writes_only_the_files_of_a_task(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "rewards.py",
        "scoring.py",
        "small.yaml",
        "task.py",
        "test.parquet",
        "videos",
    ]


def test_export_lmms_eval_writes_again_what_differs_or_is_missing(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "task"
    task = export_lmms_eval(VideoSSRDataset(dataset), out, "small")
    sound = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "task.py").write_text("import os  # the code of a stranger")
    pq.write_table(pq.read_table(out / "test.parquet").slice(0, 1), out / "test.parquet")
    (out / "videos/0-0.mp4").unlink()
    assert export_lmms_eval(VideoSSRDataset(dataset), out, "small") == task
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == sound


@pytest.mark.parametrize("text", ["a: 2000-99-99", "[" * 5_000, "a: [", "metadata: 5", "!!python/name:os.system x"])
def test_export_lmms_eval_takes_a_damaged_task_for_none(dataset: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "small.yaml").write_text(text)
    with pytest.raises(OutputError, match="holds something that `videossr export lmms-eval` has not made"):
        export_lmms_eval(VideoSSRDataset(dataset), tmp_path, "small")


HOSTILE = 'a"b\n  - !function os.system\nx: !!python/name:os.system\u2028\x1b[2J'


class Hostile(HostileDataset):
    """Texts that YAML would take for its own."""

    text = HOSTILE


def test_exported_yaml_holds_hostile_texts_as_texts(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / HOSTILE.replace("/", "").replace("\n", " ")
    task = export_lmms_eval(Hostile(dataset), out, "small")
    functions: list[str] = []

    class Loader(yaml.SafeLoader):
        """Refuses all tags but that of functions, which it lists."""

    Loader.add_constructor("!function", lambda _, node: functions.append(node.value))
    table = yaml.load(task.read_bytes(), Loader)
    assert functions == [
        *(f"task.doc_to_{name}" for name in ("visual", "text", "messages")),
        "task.process_results",
        "task.mean_of_categories",
    ]
    assert table["metadata"] == {"version": 1.0, "videossr_hash": HOSTILE}
    assert [metric["metric"] for metric in table["metric_list"]] == [
        "overall",
        *(metric_name(f"{HOSTILE}{number}") for number in range(2)),
    ]
    assert table["dataset_kwargs"] == {"data_files": {"test": str(out / "test.parquet")}}
    assert task.read_text("utf-8").splitlines()[0].startswith("# Run it with: lmms-eval --include_path ")
    modified = task.stat().st_mtime_ns
    assert export_lmms_eval(Hostile(dataset), out, "small").stat().st_mtime_ns == modified, "it is complete"


def test_exported_task_scores_without_the_package(exported: Path, tmp_path: Path) -> None:
    rows = pq.read_table(exported / "test.parquet").to_pylist()
    (tmp_path / "docs.json").write_text(json.dumps(rows))
    code = f"""
import importlib.util, json, sys
sys.modules["videossr"] = None
spec = importlib.util.spec_from_file_location("task", {str(exported / "task.py")!r})
task = importlib.util.module_from_spec(spec)
spec.loader.exec_module(task)
docs = json.load(open({str(tmp_path / "docs.json")!r}))
told = [task.process_results(doc, [text]) for doc in docs for text in (doc["answer"], "no")]
print(json.dumps([told, task.mean_of_categories([each["overall"] for each in told]),
    task.doc_to_messages(docs[0]), [task.doc_to_text(doc) for doc in docs]]))
"""
    process = subprocess.run([sys.executable, "-I", "-B", "-c", code], capture_output=True, text=True, check=True)
    results, overall, messages, texts = json.loads(process.stdout)
    assert overall == 0.5
    for number, scores in enumerate(results):
        category = rows[number // 2]["category"]
        value = float(number % 2 == 0)
        assert scores == {category.replace("/", "_"): value, "overall": {"category": category, "score": value}}
    assert [message["role"] for message in messages] == ["system", "user"]
    assert not any(VIDEO in text for text in texts)


def test_mean_of_categories_weighs_categories_alike() -> None:
    items: Scores = [{"category": "a", "score": 1.0}] * 3 + [{"category": "b", "score": 0.0}]
    assert mean_of_categories(items) == 0.5


def test_export_lmms_eval_resumes_after_an_interrupt(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "task"
    task = stop_and_resume(export_lmms_eval, "lmms-eval", dataset, out, "small", "other")
    assert task == out / "small.yaml"
    modified = task.stat().st_mtime_ns
    monkeypatch.setattr(folder, "write_mp4", None)  # nothing may be written again
    assert export_lmms_eval(VideoSSRDataset(dataset), out, "small") == task
    assert task.stat().st_mtime_ns == modified


def test_export_lmms_eval_refuses_other_folders_and_task_names(dataset: Path, tmp_path: Path) -> None:
    opened = VideoSSRDataset(dataset)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds something that `videossr export lmms-eval` has not made"):
        export_lmms_eval(opened, tmp_path / "full", "small")
    for name in ("Mine", "a b", "", "../a"):
        with pytest.raises(ValueError, match="cannot be the name of a task"):
            export_lmms_eval(opened, tmp_path / "out", name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("first", "message"), [("a/b", "'a_b' and 'a/b'"), ("overall", "'overall' and 'the mean")])
def test_export_lmms_eval_refuses_categories_of_one_metric_name(first: str, message: str, tmp_path: Path) -> None:
    class Renamed(PublishedDataset):
        def category(self, index: int) -> str:
            return (first, "a_b")[index]

    rows = [row("counting", "<video>?", [{"video": ["a.jpg"]}], "1,1,1")] * 2
    opened = Renamed(write_json(tmp_path / "rows.json", rows))
    with pytest.raises(ValueError, match=f"category {message}.* would both be the metric"):
        export_lmms_eval(opened, tmp_path / "out", "rows")
    assert not (tmp_path / "out").exists()


def test_off_ms_measures_uneven_clocks(videos: Path, tmp_path: Path) -> None:
    """A file sampled twice a second, with a shorter last slot, is even enough to be exported; others are not."""
    item = {"video": str(videos / "real/bikes.mp4"), "fps": 2.0, "max_pixels": 16384, "min_pixels": 16384}
    rows = write_json(tmp_path / "rows.json", [row("counting", "<video>?", [item], "1,1,1")])
    good = open_questions(rows, anywhere=True)
    export_lmms_eval(good, tmp_path / "good", "good")
    (times, _, _) = read_video(tmp_path / "good/videos/0-0.mp4")
    assert times == [Fraction(time, 1000) for time in good.question(0).clocks[0].times_ms]
    assert off_ms(Clock((0, 500, 1000, 1500), 1600)) == 0
    assert off_ms(Clock((0, 500, 1100, 1500), 2000)) == 100
    assert off_ms(Clock((0,), 900)) == 0
    assert off_ms(uniform_clock(48, 27_133)) < 1.5


def test_export_lmms_eval_refuses_an_uneven_clock(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"question \w+: .* up to [56]\d ms off equal steps.*--plan uniform"):
        export_lmms_eval(UnevenDataset(dataset), tmp_path / "uneven", "moved")
    assert not (tmp_path / "uneven").exists()


def test_write_mp4_keeps_any_size_and_number_of_frames(clip: Callable[..., Video], tmp_path: Path) -> None:
    video = clip("carphone.mp4")
    for count, height, width in ((1, 32, 32), (2, 64, 160), (7, 96, 32)):
        frames = video.frames[:count, :height, :width].copy()
        if frames.shape[1:3] != (height, width):
            frames = np.zeros((count, height, width, 3), np.uint8)
        write_mp4(tmp_path / "clip.mp4", Clip(frames, uniform_clock(count, 333 * count)))
        times, decoded, duration = read_video(tmp_path / "clip.mp4")
        assert times == [Fraction(333 * number, 1000) for number in range(count)]
        assert duration == Fraction(333 * count, 1000)
        assert psnr(decoded, frames).min() > 38


def test_decode_reads_the_exported_videos(dataset: Path, exported: Path) -> None:
    opened = VideoSSRDataset(dataset)
    index = opened["task"].index("grounding")  # which has one clip
    (clip,) = opened.clips(index)
    file = exported / pq.read_table(exported / "test.parquet")["videos"][index].as_py()[0]
    pixels = clip.frames.shape[1] * clip.frames.shape[2]
    decoded = decode(file, Plan(kind="fps", frames=48, fps=240, max_pixels=pixels))
    assert decoded.choice.frames == tuple(range(48))
    assert psnr(decoded.frames, clip.frames).min() > 38


HALVES = """
from videossr.answers.base import AnswerType
from videossr.rewards import Scores

class Halves(AnswerType):
    def value(self, scores):
        return scores.smooth / 2

HALVES = Halves("halves", lambda answer, gold: Scores(0.5, 0.0, True), metric="halved")
"""


def test_process_results_computes_the_metric_of_a_plug_in(
    tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "halves.py").write_text(HALVES)
    write_entry_points(tmp_path, "halves", "[videossr.answers]\nhalves = halves:HALVES\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lmms_eval_task, "HERE", exported)
    doc = {"data_source": "videossr/halves", "metric": "halved", "answer": "1", "category": "mine"}
    try:
        assert lmms_eval_task.process_results(doc, ["0"])["mine"] == 0.25
    finally:
        ANSWER_TYPES._items.pop("halves", None)
        answer_type_of.cache_clear()
        lmms_eval_task._module.cache_clear()
