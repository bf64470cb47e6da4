"""Train and evaluate the runs of `examples/nano/counting.sh`.

python examples/nano/counting.py sees FOLDER SEED                whether the start is done: exit status 0, else 1
python examples/nano/counting.py train FOLDER ARM SEED STEPS     makes the run ARM-SEED, and notes what each step costs
python examples/nano/counting.py plot FOLDER OUT.svg             prints the tables as Markdown, draws the curves

An arm is `shared`, `not-shared` or `trl`, whose interpreter is named by the variable TRL. Linux only.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt
import numpy as np
from study import average, held_out, names, running, spread

from videossr.training.runs.records import read_train_run

ARMS = {"shared": "shared prefix", "not-shared": "sharing off", "trl": "TRL"}
COLORS = {"shared": "#1f6fb4", "not-shared": "#c8402f", "trl": "#3a8f4d"}

BATCH = 8
GROUP = 8
RATE = "1e-4"
WARMUP = 5
TOKENS = 10
"""Questions a step, answers a question, learning rate, steps until it, tokens of an answer: the same for all arms."""

LAST = 10
"""Steps over which sampled rewards are averaged; losses are averaged over twice as many."""

SEEN = 0.9
"""Loss of a start that sees the squares. It is 1.04 with equal answers to all videos: the mean of log(8) for the number
and 0 for the end."""

Costs = dict[str, list[float]]
"""For each step: the `reward` of its sampled answers, and the `wall` and `processor` seconds of its end. Time begins
with the end of the first step, so that loading is left out."""


def main(verb: str, folder: Path, *words: str) -> None:
    """Run the verb of the command line."""
    if verb == "sees":
        raise SystemExit(not sees(folder / "runs" / f"start-{words[0]}"))
    if verb == "train":
        train(folder, words[0], int(words[1]), int(words[2]))
    elif verb == "plot":
        sys.stdout.writelines(f"{line}\n" for line in (*scores_table(folder), "", *costs_table(folder)))
        draw(folder, Path(words[0]))
    else:
        raise SystemExit(f"{verb}: say sees, train or plot")


def sees(start: Path) -> bool:
    """Tell whether a complete start answers by what it sees: its loss is below that of the numbers' frequencies."""
    if not (start / "manifest.json").exists():
        return False
    losses = [step.loss for step in read_train_run(start).steps]
    return mean(loss for loss in losses[-2 * LAST :] if loss is not None) < SEEN


def train(folder: Path, arm: str, seed: int, steps: int) -> None:
    """Make one run, unless it is there. One that was stopped is made anew, since its times would be wrong."""
    out = folder / "runs" / f"{arm}-{seed}"
    costs = out.with_suffix(".json")
    if costs.exists():
        return
    shutil.rmtree(out, ignore_errors=True)
    command = trl(folder, seed, steps, out) if arm == "trl" else ours(folder, arm, seed, steps, out)
    said = out.with_suffix(".log")
    with said.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        ends = look_on(process, said if arm == "trl" else out / "steps.jsonl")
    if process.returncode != 0:
        raise SystemExit(f"{arm}-{seed}: exit status {process.returncode}, see {said}")
    rewards = trl_rewards(said) if arm == "trl" else our_rewards(out / "steps.jsonl")
    wall, processor = ([end - column[0] for end in column] for column in zip(*ends, strict=True))
    if not len(rewards) == len(wall) == steps:
        raise SystemExit(f"{arm}-{seed}: {len(rewards)} rewards and {len(wall)} times of {steps} steps, see {said}")
    costs.write_text(json.dumps({"reward": rewards, "wall": wall, "processor": processor}), "utf-8")


def ours(folder: Path, arm: str, seed: int, steps: int, out: Path) -> list[str]:
    """Return the command that trains with this package; without sharing, a group is one pass."""
    sharing = ["--run.share_prefix=false", f"--run.rows={GROUP}"] if arm == "not-shared" else []
    return [
        *("videossr", "train", "train-nano", f"--model.path={folder}/runs/start-{seed}/model"),
        *(f"--data.path={folder}/grpo", "--data.share=[0.0,1.0]", f"--run.seed={seed}", f"--run.steps={steps}"),
        *(f"--run.batch={BATCH}", f"--grpo.rollouts={GROUP}", f"--grpo.max_tokens={TOKENS}", "--grpo.kl=0"),
        *(f"--optim.lr={RATE}", f"--optim.warmup={WARMUP}", "--log.save_every=0", "--log.samples_every=0"),
        *sharing,
        *("--out", str(out)),
    ]


def trl(folder: Path, seed: int, steps: int, out: Path) -> list[str]:
    """Return the command that trains with `examples/trl/train.py`; a group is one pass, and a step samples once."""
    arguments = {
        "model_name_or_path": f"{folder}/runs/start-{seed}/model",
        "dataset_name": f"{folder}/grpo",
        "output_dir": str(out),
        "seed": seed,
        "max_steps": steps,
        "per_device_train_batch_size": GROUP,
        "gradient_accumulation_steps": BATCH,
        "num_generations": GROUP,
        "max_completion_length": TOKENS,
        "beta": 0.0,
        "loss_type": "dapo",
        "learning_rate": RATE,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": WARMUP,
        "weight_decay": 0.01,
        "use_cpu": "true",
        "bf16": "false",
        "dtype": "float32",
        "gradient_checkpointing": "false",
        "logging_steps": 1,
        "disable_tqdm": "true",
        "save_strategy": "no",
        "report_to": "none",
    }
    script = Path(__file__).parents[1] / "trl/train.py"
    words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
    return [os.environ.get("TRL", ".side/trl/bin/python"), str(script), *words]


def look_on(process: subprocess.Popen[bytes], file: Path) -> list[tuple[float, float]]:
    """Return wall and processor seconds at which the line of each step was written."""
    ends: list[tuple[float, float]] = []
    tick = os.sysconf("SC_CLK_TCK")
    while process.poll() is None:
        written = sum(map(is_step, file.read_text("utf-8").splitlines())) if file.exists() else 0
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ends += [(time.perf_counter(), sum(map(int, stat[11:13])) / tick)] * (written - len(ends))
        time.sleep(0.05)
    return ends


def is_step(line: str) -> bool:
    """Tell a line of our records, or of TRL's log, that is about a step."""
    return line.startswith('{"step":') or (line.startswith("{") and "'reward':" in line)


def our_rewards(file: Path) -> list[float]:
    """Read the mean rewards of a run's steps."""
    return [json.loads(line)["all"]["smooth"] for line in file.read_text("utf-8").splitlines()]


def trl_rewards(file: Path) -> list[float]:
    """Read the mean rewards of the steps that TRL has logged."""
    return [float(ast.literal_eval(line)["reward"]) for line in file.read_text("utf-8").splitlines() if is_step(line)]


def costs_of(folder: Path, arm: str) -> list[Costs]:
    """Read the costs of an arm's runs, one for each seed."""
    return [json.loads(path.read_text("utf-8")) for path in sorted((folder / "runs").glob(f"{arm}-[0-9].json"))]


def scores_table(folder: Path) -> Iterator[str]:
    """Yield held-out scores of blind baselines, of the starts and of each arm, and each arm's gain by seed."""
    yield "| | steps | smooth | strict | over its start, by seed |"
    yield "| --- | --- | --- | --- | --- |"
    for name, run in (("chance", "chance"), ("best constant answer", "constant")):
        score = held_out(folder, run)
        yield f"| {name} | | {average(score.smooth):.3f} | {average(score.strict):.3f} | |"
    starts = [held_out(folder, run) for run in names(folder, "start")]
    for arm, name in {"start": "start", **ARMS}.items():
        ends = [held_out(folder, run) for run in names(folder, arm)]
        smooth = [average(end.smooth) for end in ends]
        strict = [average(end.strict) for end in ends]
        gains = [f"{end - average(start.smooth):+.3f}" for end, start in zip(smooth, starts, strict=False)]
        steps = "" if arm == "start" else str(len(costs_of(folder, arm)[0]["reward"]))
        gained = "" if arm == "start" else ", ".join(gains)
        yield f"| {name} | {steps} | {spread(smooth)} | {spread(strict)} | {gained} |"


def costs_table(folder: Path) -> Iterator[str]:
    """Yield the sampled rewards and costs of each arm, at the same number of steps and at the end."""
    runs = {arm: costs_of(folder, arm) for arm in ARMS}
    fewest = min(len(run["reward"]) for costs in runs.values() for run in costs)
    yield (
        f"| | processor seconds a step | wall seconds a step | reward, first {LAST} steps "
        f"| steps {fewest - LAST + 1} to {fewest} | last {LAST} of its steps |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    for arm, costs in runs.items():
        each = [
            spread([run[side][-1] / (len(run[side]) - 1) for run in costs], digits=2) for side in ("processor", "wall")
        ]
        parts = (slice(0, LAST), slice(fewest - LAST, fewest), slice(-LAST, None))
        rewards = [spread([mean(run["reward"][part]) for run in costs]) for part in parts]
        yield f"| {ARMS[arm]} | {' | '.join(each + rewards)} |"


def draw(folder: Path, out: Path) -> None:
    """Draw the sampled reward against steps and both kinds of time, a line for each run."""
    plt.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "videossr", "font.size": 9}
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
    constant = average(held_out(folder, "constant").smooth)
    for axes, side in zip(panels, ("step", "processor", "wall"), strict=True):
        for arm, name in ARMS.items():
            for number, run in enumerate(costs_of(folder, arm)):
                rewards = running(np.array(run["reward"]), LAST + 1)
                across: Sequence[float] = run[side] if side != "step" else range(1, len(rewards) + 1)
                axes.plot(across, rewards, color=COLORS[arm], alpha=0.8, label="" if number else name)
        axes.axhline(constant, color="black", linestyle=":", linewidth=1)
        axes.set(xlabel=side if side == "step" else f"{side} seconds")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set(ylabel="smooth reward of sampled answers")
    panels[0].legend(frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
