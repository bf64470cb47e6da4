"""Compare prompts a second and peak memory of a GRPO step: ours, ours without sharing, and TRL's, extended to videos.

    make .side/trl/.installed
    python benchmarks/train_step.py measure ../shared/videos/real turns.jsonl
    python benchmarks/train_step.py show turns.jsonl

All have the same model with random weights, the same questions about real clips, answers of the same length, no KL, one
prompt a step, float32 and the same number of threads. Each runs in a process of its own and writes a line at the end of
each step; the first step is a warm-up and does not count. They take turns; the figures are medians over all steps. A
turn is stored as soon as it is over, and `measure` runs the turns that the file lacks. Processor time is that of all
threads of a process: a busy machine distorts it less than wall time. The tables and the plot are in
docs/results/train-speed.md. Linux only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import chain, pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias

import av
import cv2
import matplotlib.pyplot as plt
import numpy as np
import safetensors.torch
import tomli_w

from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.engine.checkpoint import open_checkpoint
from videossr.models.tiny import make_tiny
from videossr.templates import load_templates
from videossr.training.runs.records import STEPS
from videossr.video.decoding import decode
from videossr.video.plan import Plan

ROOT = Path(__file__).parents[1]
PLOT = ROOT / "docs/results/train-speed.svg"
SIDE = ROOT / ".side/trl/bin/python"

SIDE_PIXELS = 256
SECONDS = 12
RATE = 5
"""Frames a second of the clips, at which 48 slots are 48 different frames."""

# The main comparison: answers a prompt, frames of a clip, tokens of an answer.
GROUP = 8
GROUPS = (8, 16)
FRAMES = 48
TOKENS = 10

AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "group": ("answers a prompt", (2, 4, 8, 16, 32)),
    "frames": ("frames", (8, 16, 32, 48)),
    "tokens": ("tokens an answer", (6, 10, 24, 64)),
}
"""Along which the cost of a prompt is measured."""

ROWS = (1, 4, 8)
"""Answers in one pass, where they are taken row by row."""

Name: TypeAlias = Literal["shared", "not shared", "TRL"]
SIDES = ("seconds", "processor")


@dataclass(frozen=True)
class Point:
    """A measurement: the contestant, its answers in one pass where it takes them row by row, and the sizes."""

    name: Name
    rows: int = 1
    group: int = GROUP
    frames: int = FRAMES
    tokens: int = TOKENS


@dataclass(frozen=True)
class Work:
    """The files with which a point is measured."""

    dataset: Path
    model: Path


@dataclass(frozen=True)
class Turn:
    """The cost of one process: wall and processor seconds of each step, and peak resident memory in GiB."""

    seconds: list[float]
    processor: list[float]
    memory: float


Turns: TypeAlias = Mapping[Point, list[Turn]]

BEST = (Point("shared"), Point("not shared", rows=4), Point("TRL", rows=4))
"""Each with as many rows as it is fastest with."""


@dataclass(frozen=True)
class Data:
    """Real clips and what is made from them in a folder, each when it is first needed."""

    videos: Path
    out: Path

    def work(self, point: Point) -> Work:
        clips = self.out / "clips"
        questions = self.out / f"dataset-{point.frames}"
        model = self.out / f"model-{point.tokens}"
        if not clips.exists():
            make_videos(self.videos, clips)
        if not questions.exists():
            make_questions(clips, questions, point.frames)
        if not model.exists():
            make_model(model, point.tokens)
        return Work(questions, model)


def make_videos(videos: Path, out: Path) -> None:
    """Cut the middle of real clips to squares."""
    out.mkdir()
    for path in sorted(videos.iterdir()):
        with av.open(str(path)) as container:
            seconds = (container.duration or 0) / 1e6
        if seconds < 8:
            continue
        frames = decode(path, Plan(frames=SECONDS * RATE, max_pixels=400_000)).frames
        side = min(frames.shape[1:3])
        top, left = ((length - side) // 2 for length in frames.shape[1:3])
        with av.open(str(out / f"{path.stem}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=RATE, options={"crf": "18"})
            stream.width = stream.height = SIDE_PIXELS
            stream.pix_fmt = "yuv420p"
            for frame in frames[:, top : top + side, left : left + side]:
                picture = cv2.resize(np.ascontiguousarray(frame), (SIDE_PIXELS,) * 2, interpolation=cv2.INTER_AREA)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8), "rgb24")))
            container.mux(stream.encode())


def make_questions(clips: Path, out: Path, frames: int) -> None:
    """Build a dataset of counting questions."""
    corpus = out.with_name(f"corpus-{frames}")
    index_videos(clips, corpus, plan=Plan(frames=frames))
    config = {"frames": frames, "slots_max": 1, "min_gap": 0, "instances_max": 4}  # so that 8 frames have room
    categories: dict[str, Any] = {"counting": {"task": "counting", "count": 8, "config": config}}
    mixture = recipe.ResolvedRecipe(Recipe(name="speed", categories=categories), "speed")
    build_dataset(mixture, Corpus(corpus), out, templates=load_templates())


def make_model(folder: Path, tokens: int) -> None:
    """Write a model that says threes and commas, about three threes in `tokens` tokens, and never ends by itself.

    Many such answers name three numbers, some of which are near. From weights that are wholly random all answers would
    be worth nothing, so that a trainer may leave a step out, and those that end early would be less work. Here one
    coordinate of the states is as good as the same wherever the model looks, and the head goes by it.
    """
    make_tiny(folder, width=256, layers=6, vision_layers=4)
    tokenizer = open_checkpoint(str(folder)).tokenizer
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    weights["model.language_model.embed_tokens.weight"][:, 0] = 300.0
    state = 16.0  # of that coordinate behind the last norm, over 256 of which it is nearly all
    head = weights["lm_head.weight"]
    head *= 0.3
    head[:, 0] = -3.0
    three, comma = tokenizer.convert_tokens_to_ids(["3", ","])
    head[three, 0] = 3.0
    head[comma, 0] = 3.0 + math.log((tokens - 3) / 3) / state
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def ours(point: Point, work: Work, steps: int, out: Path) -> tuple[list[str], str, Path]:
    """Return the command that trains with this package, its input, and the file of its steps."""
    config: dict[str, dict[str, Any]] = {
        "model": {"path": str(work.model)},
        "data": {"path": str(work.dataset)},
        "run": {"batch": 1, "epochs": 1000.0, "steps": steps, "dtype": "float32", "device": "cpu"},
        "grpo": {"rollouts": point.group, "max_tokens": point.tokens, "kl": 0.0},
        "log": {"save_every": 0, "samples_every": 0},
    }
    if point.name == "not shared":
        config["run"] |= {"share_prefix": False, "rows": point.rows}
    (out / "config.toml").write_text(tomli_w.dumps(config), "utf-8")
    command = [str(Path(sys.executable).with_name("videossr")), "train", str(out / "config.toml"), "--out"]
    return [*command, str(out / "run")], "", out / "run" / STEPS


def theirs(point: Point, work: Work, steps: int, out: Path) -> tuple[list[str], str, Path]:
    """Return the same for TRL."""
    question = {
        "checkpoint": str(work.model),
        "dataset": str(work.dataset),
        "prompts": 1,
        "rollouts": point.group,
        "tokens": point.tokens,
        "rows": point.rows,
        "steps": steps,
        "lines": str(out / STEPS),
    }
    command = [str(SIDE), str(ROOT / "tests/integration/side/trl_steps.py"), str(out / "answer.json")]
    return command, json.dumps(question), out / STEPS


def take_turn(point: Point, work: Work, steps: int, threads: int) -> Turn:
    """Run one contestant for a warm-up step and `steps` more, and measure it."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        command, question, lines = (theirs if point.name == "TRL" else ours)(point, work, 1 + steps, out)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(threads)}
        (out / "question").write_text(question, "utf-8")
        with (out / "question").open() as reads, (out / "said").open("w") as says:
            process = subprocess.Popen(command, stdin=reads, stdout=says, stderr=says, env=environment)
            ends, peak = look_on(process, lines)
        if process.returncode != 0:
            raise SystemExit(f"{point}: exit status {process.returncode}\n{(out / 'said').read_text()[-4000:]}")
        made = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
        if point.name == "TRL" and json.loads((out / "answer.json").read_text())["tokens"] != [point.tokens] * 2:
            raise SystemExit(f"{point}: its answers are not as long as that")
    counted = [number for number in range(1, 1 + steps) if did_all(made[number], point)]
    if not counted:
        return take_turn(point, work, 2 * steps, threads)
    walls, works = ([round(b - a, 3) for a, b in pairwise(column)] for column in zip(*ends, strict=True))
    return Turn([walls[k - 1] for k in counted], [works[k - 1] for k in counted], round(peak, 3))


def did_all(step: Mapping[str, Any], point: Point) -> bool:
    """Tell whether a step of ours was complete: it may stop early where all rewards of the group are equal."""
    if point.name == "TRL":
        return True
    if step["failed"] or step["all"]["tokens"] != point.tokens:
        raise SystemExit(f"{point}: a step is not as it should be: {step}")
    return not step["skipped"]


def look_on(process: subprocess.Popen[bytes], lines: Path) -> tuple[list[tuple[float, float]], float]:
    """Return wall and processor seconds at which each line was written, and the peak resident memory in GiB."""
    ends: list[tuple[float, float]] = []
    peak = 0
    folder = Path(f"/proc/{process.pid}")
    tick = os.sysconf("SC_CLK_TCK")
    while process.poll() is None:
        written = lines.read_bytes().count(b"\n") if lines.exists() else 0
        worked = sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:13])) / tick
        ends += [(time.perf_counter(), worked)] * (written - len(ends))
        resident = re.search(r"VmHWM:\s+(\d+)", (folder / "status").read_text())
        peak = max(peak, int(resident[1]) if resident else 0)  # none once it has ended
        time.sleep(0.02)
    return ends, peak / 2**20


def wanted(rounds: int) -> list[Point]:
    """List what is to be measured, in order: the main comparison in every round, everything else once."""
    main = [replace(point, group=group) for group in GROUPS for point in BEST]
    points = [point for number in range(rounds) for point in (main if number % 2 == 0 else main[::-1])]
    others = [replace(point, rows=rows) for point in BEST[1:] for rows in ROWS]
    others += [sized(point, axis, value) for axis, (_, values) in AXES.items() for value in values for point in BEST]
    return points + [point for point in dict.fromkeys(others) if point not in main]


def sized(point: Point, axis: str, value: int) -> Point:
    """Return the point at another size. Fewer answers than rows are one pass."""
    sizes: dict[str, Any] = {axis: value}
    resized = replace(point, **sizes)
    return replace(resized, rows=min(resized.rows, resized.group))


def measure(data: Data, file: Path, points: Sequence[Point], steps: int, threads: int) -> None:
    """Run the turns that the file lacks, and add them to it."""
    done = {point: len(turns) for point, turns in read(file).items()} if file.exists() else {}
    for number, point in enumerate(points):
        if points[:number].count(point) < done.get(point, 0):
            continue
        turn = take_turn(point, data.work(point), 3 * steps if point.name == "shared" else steps, threads)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(asdict(point) | asdict(turn)) + "\n")
        print(f"{point}: {middle([turn], 'processor'):.2f} processor seconds a prompt", flush=True)


def read(file: Path) -> dict[Point, list[Turn]]:
    """Read all turns in a file, by point."""
    turns: dict[Point, list[Turn]] = {}
    for line in file.read_text("utf-8").splitlines():
        table = json.loads(line)
        turn = Turn(*(table.pop(field.name) for field in fields(Turn)))
        turns.setdefault(Point(**table), []).append(turn)
    return turns


def middle(turns: Sequence[Turn], side: Literal["seconds", "processor"]) -> float:
    """Return the median over all steps of all turns."""
    return median(chain.from_iterable(turn.seconds if side == "seconds" else turn.processor for turn in turns))


def show(turns: Turns) -> None:
    """Print the tables and draw the plot of what was measured."""
    print(
        "| answers a prompt | method | prompts a second | processor seconds a prompt | peak GiB | slower "
        "| by processor |"
    )
    print("|---|---|---|---|---|---|---|")
    for group in GROUPS:
        best = turns[replace(BEST[0], group=group)]
        for point in (replace(way, group=group) for way in BEST):
            point_turns = turns[point]
            seconds = middle(point_turns, "seconds")
            worked = middle(point_turns, "processor")
            times = seconds / middle(best, "seconds"), worked / middle(best, "processor")
            memory = max(turn.memory for turn in point_turns)
            print(
                f"| {group} | {point.name} | {1 / seconds:.3f} | {worked:.2f} | {memory:.2f} "
                f"| {times[0]:.1f} | {times[1]:.1f} |"
            )
    print("\n| method | answers in one pass | processor seconds a prompt | peak GiB |\n|---|---|---|---|")
    for point in (replace(way, rows=rows) for way in BEST[1:] for rows in ROWS):
        if point_turns := turns.get(point, []):
            memory = max(turn.memory for turn in point_turns)
            print(f"| {point.name} | {point.rows} | {middle(point_turns, 'processor'):.2f} | {memory:.2f} |")
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "videossr"}):
        figure, panels = plt.subplots(1, len(AXES), figsize=(10.5, 3.4), sharey=True, layout="constrained")
        for panel, (axis, (label, values)) in zip(panels, AXES.items(), strict=True):
            print(f"\n| {label} | {' | '.join(point.name for point in BEST)} |\n|---|---|---|---|")
            costs = {
                value: [middle(turns[way], "processor") if way in turns else math.nan for way in sizes]
                for value in values
                for sizes in [[sized(point, axis, value) for point in BEST]]
            }
            for value, row in costs.items():
                print(f"| {value} | {' | '.join(f'{cost:.2f}' for cost in row)} |")
            for marker, point, line in zip("os^", BEST, zip(*costs.values(), strict=True), strict=True):
                panel.plot(values, line, marker=marker, label=point.name)
            panel.set(xscale="log", yscale="log", xlabel=label)
            panel.set_xticks(values, [str(value) for value in values])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
        panels[0].set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
        panels[0].set_ylabel("processor seconds a prompt")
        panels[0].legend(frameon=False)
        figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description="Prompts a second of a GRPO step.")
    does = parser.add_subparsers(dest="does", required=True)
    measuring = does.add_parser("measure", help="add to FILE what it lacks")
    measuring.add_argument("videos", type=Path)
    measuring.add_argument("file", type=Path)
    measuring.add_argument("--rounds", type=int, default=3, help="of the main comparison")
    measuring.add_argument("--steps", type=int, default=1, help="of a turn that count; of ours thrice as many")
    measuring.add_argument(
        "--threads", type=int, default=1, help="of torch; on a busy machine more wait for each other"
    )
    showing = does.add_parser("show", help="print tables, and draw the plot")
    showing.add_argument("file", type=Path)
    chosen = parser.parse_args()
    if chosen.does == "show":
        show(read(chosen.file))
        return
    if not SIDE.exists():
        raise SystemExit("no side environment with TRL: make .side/trl/.installed")
    with tempfile.TemporaryDirectory() as scratch:
        data = Data(chosen.videos, Path(scratch))
        measure(data, chosen.file, wanted(chosen.rounds), chosen.steps, chosen.threads)


if __name__ == "__main__":
    main()
