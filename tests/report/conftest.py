"""Gallery cards made from real videos (an altered segment, drawn circles, shuffled pieces), and runs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from videossr.bench.evaluation import evaluate as bench_run
from videossr.bench.records import CONFIG, MANIFEST, PREDICTIONS, Prediction, Run, read_run
from videossr.clock import Clock, uniform_clock
from videossr.models.base import ModelSpec
from videossr.models.baselines import Chance, Constant, NoSettings
from videossr.question import VIDEO, Clip, Frames, Outline, Question, Truth
from videossr.question_set import open_questions
from videossr.report.gallery.gallery import Card
from videossr.sample import JSON, Sample, VideoKey
from videossr.storage.jsonl import json_line

SIZE = (160, 288)
SLOTS = 48
SPAN = (12, 21)
ORDER = (2, 0, 5, 1, 4, 3)
HOSTILE = '</script><img src=x onerror="document.title=1">'
CIRCLES = {6: ((80, 60, 22),), 20: ((200, 90, 25), (70, 100, 20)), 36: ((144, 80, 24),)}


def read_frames(path: Path) -> tuple[Frames, Clock]:
    """Return 48 frames of a video at equal steps, and their clock."""
    with av.open(str(path)) as container:
        frames = [
            frame.to_ndarray(width=SIZE[1], height=SIZE[0], format="rgb24") for frame in container.decode(video=0)
        ]
        rate = float(container.streams.video[0].average_rate or 25)
    chosen = [k * len(frames) // SLOTS for k in range(SLOTS)]
    return np.stack([frames[k] for k in chosen]), uniform_clock(SLOTS, 1000 * len(frames) / rate)


def grounding_card(path: Path, category: str = "grounding/mirror", prompt: str = "", uneven: bool = False) -> Card:
    frames, clock = read_frames(path)
    if uneven:
        clock = Clock(tuple(t + t * t // 4000 for t in clock.times_ms), 2 * clock.end_ms)
    first, last = SPAN
    before = frames[first : last + 1].copy()
    frames[first : last + 1] = frames[first : last + 1, :, ::-1]
    start, end = clock.span(first, last)
    answer = f"{start:.2f}-{end:.2f}"
    params: dict[str, JSON] = {
        "first": first,
        "length": last - first + 1,
        "kind": {"name": "mirror"},
        "permutation": [*range(SLOTS)],
    }
    text = prompt or (
        f"{VIDEO}A stretch of this video was altered.\nWhen? Answer with its first and last second, such as 3.0-7.5."
    )
    return replace(
        _make_card(path, category, clock, params, answer, text, [frames], Truth(spans=(SPAN,))), before=before
    )


def counting_card(path: Path) -> Card:
    frames, clock = read_frames(path)
    outlines = []
    for slot, circles in CIRCLES.items():
        for x, y, radius in circles:
            cv2.circle(frames[slot], (x, y), radius, (230, 80, 190), -1, cv2.LINE_AA)
            angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
            points = tuple((x + radius * float(np.cos(a)), y + radius * float(np.sin(a))) for a in angles)
            outlines.append(Outline(slot, "circle", points))
    text = f"{VIDEO}How many circles, squares and triangles were drawn over this video? Answer with three counts."
    params: dict[str, JSON] = {"shapes": ["circle"], "instances": len(outlines), "easy": True}
    return _make_card(path, "counting/easy", clock, params, "4,0,0", text, [frames], Truth(outlines=tuple(outlines)))


def jigsaw_card(path: Path) -> Card:
    frames, clock = read_frames(path)
    length = SLOTS // len(ORDER)
    piece_clock = clock.slice(0, length)
    pieces = [frames[original * length : (original + 1) * length] for original in ORDER]
    answer = "".join(str(ORDER.index(original) + 1) for original in range(len(ORDER)))
    text = "The pieces of one video, shuffled:\n" + VIDEO * len(ORDER) + "\nAt which position is each original piece?"
    params: dict[str, JSON] = {"pieces": len(ORDER), "order": [*ORDER], "gap": 0}
    return _make_card(path, "jigsaw/6", piece_clock, params, answer, text, pieces, Truth(order=ORDER))


def _make_card(
    path: Path,
    category: str,
    clock: Clock,
    params: dict[str, JSON],
    answer: str,
    prompt: str,
    clips: list[Frames],
    truth: Truth,
) -> Card:
    task = {"g": "grounding", "c": "counting", "j": "jigsaw"}.get(category[0], "grounding")
    key = VideoKey(content=path.stem.encode().hex().ljust(64, "0"), pack="f" * 64)
    slots = tuple((0, k) for k in range(SLOTS))
    sample = Sample(task, category, (key,), slots, clock, SIZE, params, answer)
    clocks = tuple(clock for _ in clips)
    question = Question(sample.id, f"videossr/{task}", "Answer at once, with the answer alone.", prompt, answer, clocks)
    command = f"videossr gallery demo/dataset --only {sample.id} --out card.html"
    return Card(sample, question, [Clip(frames, clock) for frames in clips], truth, command, params)


@pytest.fixture(scope="session")
def cards(videos: Path) -> list[Card]:
    """Two videos in each of the three tasks, and one card whose texts hold HTML and scripts."""
    bikes, carphone = videos / "real/bikes.mp4", videos / "real/carphone.mp4"
    return [
        grounding_card(bikes),
        counting_card(carphone),
        jigsaw_card(bikes),
        grounding_card(carphone, category="grounding/rotate_180", uneven=True),
        counting_card(bikes),
        jigsaw_card(carphone),
        grounding_card(bikes, category=HOSTILE, prompt=f"{VIDEO}{HOSTILE} {{{{ 7 * 7 }}}} \udcff --> ]]> ' \" &amp;"),
    ]


LONG = "z" * 10_000_000


def copy_run_with(source: Path, out: Path, predictions: list[Prediction], *, complete: bool = True) -> Run:
    """Copy a run, with other predictions."""
    out.mkdir(parents=True)
    for name in (CONFIG, MANIFEST) if complete else (CONFIG,):
        shutil.copy(source / name, out / name)
    (out / PREDICTIONS).write_text("".join(json_line(prediction) + "\n" for prediction in predictions))
    return read_run(out)


def _odd_prediction(index: int, prediction: Prediction) -> Prediction:
    """Return a prediction with the gold answer, or for some indices a hostile, very long, cut off, or missing one."""
    texts = {0: HOSTILE, 2: "3 to 9\u202e\x1b[31m\x00 seconds", 4: LONG}
    if index == 6:
        return replace(prediction, texts=(), finish=(), error=f"HTTP 503: {HOSTILE}\x07", tries=3)
    if index == 7:  # the record of a row that cannot be read
        unread = replace(prediction, category="?", data_source="", answer="", times_ms=(), end_ms=0, difficulty={})
        return replace(unread, texts=(), finish=(), error="row 7 is damaged")
    return replace(
        prediction, texts=(texts.get(index, prediction.answer),), finish=("length" if index == 4 else "stop",)
    )


@pytest.fixture(scope="session")
def runs(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Runs over the real clips: two of baselines, one with odd answers, one unfinished, one of other questions."""
    folder = tmp_path_factory.mktemp("runs")
    questions = open_questions(dataset)
    all_runs = {}
    for name, kind in (("chance", Chance), ("constant", Constant)):
        all_runs[name] = bench_run(questions, ModelSpec(name, kind, "", NoSettings()), folder / name)
    predictions = list(all_runs["chance"].predictions)
    odd_predictions = [_odd_prediction(index, prediction) for index, prediction in enumerate(predictions)]
    all_runs["odd"] = copy_run_with(folder / "chance", folder / "odd", odd_predictions)
    all_runs["stopped"] = copy_run_with(folder / "chance", folder / "stopped", predictions[:5], complete=False)
    all_runs["other"] = copy_run_with(folder / "chance", folder / "other", predictions)
    config = folder / "other" / CONFIG
    config.write_text(config.read_text().replace(questions.hash, "f" * 64))
    all_runs["other"] = read_run(folder / "other")
    return all_runs
