"""Prompts a second and peak memory of a GRPO step: ours, ours with sharing off, and TRL's trainer extended to videos.

    make .side/trl/.done
    python speed/train_step.py ../shared/videos/real table
    python speed/train_step.py ../shared/videos/real sweeps

All have the same model with random weights, the same questions about real clips, answers of the same length, no KL, one
prompt a step, float32 and as many threads. Each runs in a process of its own, as a user runs it; it writes a line as
each step ends, and the first step, which warms it up, does not count. They take turns; the figures are medians over all
steps. The tables are in docs/results/train-speed.md, the figures of the sweeps beside it, with their plot. Linux only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
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
import torch
import transformers

from videossr.build import recipe
from videossr.build.recipe import Recipe
from videossr.build.run import build
from videossr.models.checkpoint import open_checkpoint
from videossr.models.tiny import make_tiny
from videossr.train.runs import STEPS
from videossr.video.corpus import Corpus
from videossr.video.decode import decode
from videossr.video.index import index
from videossr.video.plan import Plan
from videossr.wording import load_wording

ROOT = Path(__file__).parents[1]
PLOT = ROOT / "docs/results/train-speed.svg"
FIGURES = PLOT.with_suffix(".json")
SIDE = ROOT / ".side/trl/bin/python"

SIDE_PIXELS = 256
SECONDS, RATE = 12, 5
"""Of the clips: at 5 frames a second 48 slots are 48 different frames."""

GROUP, FRAMES, TOKENS = 8, 48, 10
AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "group": ("answers a prompt", (2, 4, 8, 16, 32)),
    "frames": ("frames", (8, 16, 32, 48)),
    "tokens": ("tokens an answer", (6, 10, 24, 64)),
}
ROWS = (1, 4, 8)
Name: TypeAlias = Literal["shared", "not shared", "TRL"]
NAMES: tuple[Name, ...] = ("shared", "not shared", "TRL")
SIDES = ("seconds", "processor")


@dataclass(frozen=True)
class Work:
    """What is to be done: a dataset and a model, answers a prompt, and tokens an answer."""

    dataset: Path
    model: Path
    group: int = GROUP
    tokens: int = TOKENS


@dataclass(frozen=True)
class Way:
    """A contestant: its name, and how many answers it takes in one pass where it takes them row by row."""

    name: Name
    rows: int = 1

    def __str__(self) -> str:
        return self.name if self.name == "shared" else f"{self.name}, {self.rows} rows"


@dataclass(frozen=True)
class Turn:
    """What one process took: seconds on the wall and of processors for each step, and GiB resident at most."""

    seconds: list[float]
    processor: list[float]
    memory: float


@dataclass(frozen=True)
class Data:
    """Real clips, and what is made of them in a folder, when it is first wanted."""

    videos: Path
    out: Path

    def work(self, group: int = GROUP, frames: int = FRAMES, tokens: int = TOKENS) -> Work:
        clips, questions, model = self.out / "clips", self.out / f"dataset-{frames}", self.out / f"model-{tokens}"
        if not clips.exists():
            make_videos(self.videos, clips)
        if not questions.exists():
            make_questions(clips, questions, frames)
        if not model.exists():
            make_model(model, tokens)
        return Work(questions, model, group, tokens)


def make_videos(videos: Path, out: Path) -> None:
    """The middle of real clips, cut square."""
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
    """A dataset of counting questions."""
    corpus = out.with_name(f"corpus-{frames}")
    index(clips, corpus, plan=Plan(frames=frames))
    columns: dict[str, Any] = {"counting/easy": {"task": "counting", "count": 8}}
    mixture = recipe.Mixture(Recipe(name="speed", columns=columns), "speed")
    build(mixture, Corpus(corpus), out, wording=load_wording())


def make_model(folder: Path, tokens: int) -> None:
    """A model that writes fours and commas, about three fours in so many tokens, and never ends by itself.

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
    four, comma = tokenizer.convert_tokens_to_ids(["4", ","])
    head[four, 0] = 3.0
    head[comma, 0] = 3.0 + math.log((tokens - 3) / 3) / state
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def ours(way: Way, work: Work, steps: int, out: Path) -> tuple[list[str], str, Path]:
    """The command that trains with this package, what it reads, and the file of its steps."""
    config: dict[str, dict[str, Any]] = {
        "model": {"path": str(work.model)},
        "data": {"path": str(work.dataset)},
        "run": {"batch": 1, "epochs": 1000.0, "steps": steps, "dtype": "float32", "device": "cpu"},
        "grpo": {"rollouts": work.group, "max_tokens": work.tokens, "kl": 0.0},
        "log": {"save_every": 0, "samples_every": 0},
    }
    if way.name == "not shared":
        config["run"] |= {"share_prefix": False, "rows": way.rows}
    (out / "config.toml").write_text(tomli_w.dumps(config), "utf-8")
    command = [str(Path(sys.executable).with_name("videossr")), "train", str(out / "config.toml"), "--out"]
    return [*command, str(out / "run")], "", out / "run" / STEPS


def theirs(way: Way, work: Work, steps: int, out: Path) -> tuple[list[str], str, Path]:
    """The same for TRL."""
    question = {
        "library": sysconfig.get_paths()["purelib"],
        "checkpoint": str(work.model),
        "dataset": str(work.dataset),
        "prompts": 1,
        "rollouts": work.group,
        "tokens": work.tokens,
        "rows": way.rows,
        "steps": steps,
        "lines": str(out / STEPS),
    }
    command = [str(SIDE), str(ROOT / "tests/integration/side/trl_steps.py"), str(out / "answer.json")]
    return command, json.dumps(question), out / STEPS


def take_turn(way: Way, work: Work, steps: int, threads: int) -> Turn:
    """Runs one contestant for a step that does not count and then so many, and looks on."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        command, question, lines = (theirs if way.name == "TRL" else ours)(way, work, 1 + steps, out)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": str(threads)}
        (out / "question").write_text(question, "utf-8")
        with (out / "question").open() as reads, (out / "said").open("w") as says:
            process = subprocess.Popen(command, stdin=reads, stdout=says, stderr=says, env=environment)
            ends, peak = look_on(process, lines)
        if process.returncode != 0:
            raise SystemExit(f"{way}: exit status {process.returncode}\n{(out / 'said').read_text()[-4000:]}")
        counted = [
            number
            for number in range(1, 1 + steps)
            if did_all(json.loads(lines.read_text().splitlines()[number]), work)
        ]
        if way.name == "TRL" and json.loads((out / "answer.json").read_text())["tokens"] != [work.tokens] * 2:
            raise SystemExit(f"{way}: its answers are not {work.tokens} tokens long")
    if not counted:
        return take_turn(way, work, 2 * steps, threads)
    walls, works = ([after - before for before, after in pairwise(each)] for each in zip(*ends, strict=True))
    return Turn([walls[k - 1] for k in counted], [works[k - 1] for k in counted], peak)


def did_all(step: Mapping[str, Any], work: Work) -> bool:
    """Whether a step of ours went all the way: it may stop where all rewards of the group are equal."""
    if "all" not in step:
        return True
    if step["failed"] or step["all"]["tokens"] != work.tokens:
        raise SystemExit(f"a step is not as it should be: {step}")
    return not step["skipped"]


def look_on(process: subprocess.Popen[bytes], lines: Path) -> tuple[list[tuple[float, float]], float]:
    """When each line was written, in seconds on the wall and of processors, and the most GiB that were resident."""
    ends: list[tuple[float, float]] = []
    peak, folder = 0, Path(f"/proc/{process.pid}")
    while process.poll() is None:
        written = lines.read_bytes().count(b"\n") if lines.exists() else 0
        worked = sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:13])) / os.sysconf(
            "SC_CLK_TCK"
        )
        ends += [(time.perf_counter(), worked)] * (written - len(ends))
        resident = re.search(r"VmHWM:\s+(\d+)", (folder / "status").read_text())
        peak = max(peak, int(resident[1]) if resident else 0)  # none once it has ended
        time.sleep(0.005)
    return ends, peak / 2**20


def best_rows(name: Name, work: Work, threads: int) -> Way:
    """The rows with which a contestant takes the fewest seconds, by one step each; prints them all."""
    turns = {rows: take_turn(Way(name, rows), work, 1, threads) for rows in ROWS}
    for rows, turn in turns.items():
        print(f"| {name} | {rows} | {turn.seconds[0]:.1f} | {turn.processor[0]:.1f} | {turn.memory:.2f} |", flush=True)
    return Way(name, min(turns, key=lambda rows: turns[rows].processor[0]))


def table(data: Data, rounds: int, steps: int, threads: int) -> None:
    """The comparison at two sizes of a group."""
    base = data.work()
    print("| way | rows in a pass | seconds | processor seconds | GiB |\n|---|---|---|---|---|")
    ways = [Way("shared"), best_rows("not shared", base, threads), best_rows("TRL", base, threads)]
    print("\n| G | way | prompts a second | processor seconds a prompt | peak GiB | slower | in processor time |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for group in (8, 16):
        turns: dict[Way, list[Turn]] = {way: [] for way in ways}
        for number in range(rounds):
            for way in ways if number % 2 == 0 else reversed(ways):
                more = 3 * steps if way.name == "shared" else steps
                turns[way].append(take_turn(way, data.work(group=group), more, threads))
        best = [median(chain.from_iterable(getattr(turn, side) for turn in turns[ways[0]])) for side in SIDES]
        for way, each in turns.items():
            seconds, worked = (median(chain.from_iterable(getattr(turn, side) for turn in each)) for side in SIDES)
            memory = max(turn.memory for turn in each)
            print(
                f"| {group} | {way} | {1 / seconds:.3f} | {worked:.2f} | {memory:.2f} "
                f"| {seconds / best[0]:.1f} | {worked / best[1]:.1f} |",
                flush=True,
            )


def sweeps(data: Data, rows: int, steps: int, threads: int, known: dict[str, float]) -> dict[str, float]:
    """Processor seconds a prompt against the size of a group, the frames and the length of answers.

    Args as in `table`; `known` are figures that are there already, by their key, and so is what is returned.
    """
    found = dict(known)
    for axis, (label, values) in AXES.items():
        print(f"\n| {label} | {' | '.join(NAMES)} |\n|---|---|---|---|")
        for value in values:
            for name in NAMES:
                if key(name, **{axis: value}) not in found:
                    work = data.work(**{axis: value})
                    more = 3 * steps if name == "shared" else steps
                    turn = take_turn(Way(name, min(rows, work.group)), work, more, threads)
                    found[key(name, **{axis: value})] = round(median(turn.processor), 2)
                    FIGURES.write_text(json.dumps(found, indent=0) + "\n", "utf-8")
            print(f"| {value} | {' | '.join(str(found[key(name, **{axis: value})]) for name in NAMES)} |", flush=True)
    return found


def key(name: str, group: int = GROUP, frames: int = FRAMES, tokens: int = TOKENS) -> str:
    """What a figure of the sweeps is filed under; those in which all three meet are one."""
    return f"{name}, {group} answers, {frames} frames, {tokens} tokens"


def plot(found: Mapping[str, float]) -> None:
    """Draws the sweeps."""
    with plt.rc_context({"svg.fonttype": "none", "svg.hashsalt": "videossr"}):
        figure, panels = plt.subplots(1, len(AXES), figsize=(10.5, 3.4), sharey=True, layout="constrained")
        for panel, (axis, (label, values)) in zip(panels, AXES.items(), strict=True):
            for marker, name in zip("os^", NAMES, strict=True):
                panel.plot(values, [found[key(name, **{axis: value})] for value in values], marker=marker, label=name)
            panel.set(xscale="log", yscale="log", xlabel=label)
            panel.set_xticks(values, [str(value) for value in values])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
        panels[0].set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
        panels[0].set_ylabel("processor seconds a prompt")
        panels[0].legend(frameon=False)
        figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Print the tables, and draw the plot."""
    parser = argparse.ArgumentParser(description="Prompts a second of a GRPO step.")
    parser.add_argument("videos", type=Path)
    parser.add_argument("what", choices=["table", "sweeps"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="of a turn, behind the first, which does not count")
    parser.add_argument("--rows", type=int, default=1, help="in a pass of the sweeps; the table looks for the best")
    parser.add_argument(
        "--go-on", action="store_true", help="with the figures of sweeps that did not come to their end"
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch; on a busy machine more wait for each other")
    chosen = parser.parse_args()
    if not SIDE.exists():
        raise SystemExit("no side environment with TRL: make .side/trl/.done")
    print(f"torch {torch.__version__}, {chosen.threads} threads; transformers {transformers.__version__}\n")
    with tempfile.TemporaryDirectory() as scratch:
        data = Data(chosen.videos, Path(scratch))
        if chosen.what == "table":
            table(data, chosen.rounds, chosen.steps, chosen.threads)
        else:
            known = json.loads(FIGURES.read_text("utf-8")) if chosen.go_on else {}
            plot(sweeps(data, chosen.rows, chosen.steps, chosen.threads, known))


if __name__ == "__main__":
    main()
