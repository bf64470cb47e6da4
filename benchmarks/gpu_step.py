"""Measure steps of the trainer with random weights of a released model's shape. `benchmarks.gpu` runs all parts of it.

python -m benchmarks.gpu_step --steps 4                            # on a GPU
python -m benchmarks.gpu_step --steps 2 --questions 4 --set run.share_prefix=false --set run.rows=8
python -m benchmarks.gpu_step --questions 2 --shape tiny --set run.dtype=float32 --set optim.moments=float32
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import transformers

from benchmarks.gpu_shapes import FRAMES, SHAPES, SIDE, NoiseQuestions, checkpoint, configured, load_in
from videossr.engine.checkpoint import Checkpoint, device_name, find_device
from videossr.engine.model import context_length
from videossr.engine.shared_prefix import ATTENTION, can_share
from videossr.engine.vision_tower import optimize_vision_tower
from videossr.question import Question
from videossr.rewards import Scores
from videossr.training.config import TrainConfig
from videossr.training.cost.flops import Counter, peak_flops
from videossr.training.cost.memory import GIB, empty_model, memory_plan
from videossr.training.loader import QuestionLoader
from videossr.training.optim import Optimizer
from videossr.training.parallel import World
from videossr.training.plan import resolve_dtype
from videossr.training.policy import Policy, prepare_model
from videossr.training.trainer import Trainer


def alternate_rewards(_question: Question, texts: Sequence[str]) -> list[Scores]:
    """Reward every second answer: random answers would all get 0, and the trainer leaves out steps of equal rewards."""
    return [Scores(float(number % 2), float(number % 2), parsed=True) for number in range(len(texts))]


def measure(steps: int, questions: int, changes: Mapping[str, str], shape: str) -> dict[str, Any]:
    """Make steps of the trainer; print the figures of each, and return them all."""
    config = configured(changes, questions)
    device = find_device(config.run.device)
    with tempfile.TemporaryDirectory() as name:
        source = checkpoint(Path(name), shape)
        table = transformers.AutoConfig.from_pretrained(name)
    load = load_in(source, config)
    dtype = resolve_dtype(config.run.dtype, device)
    empty = empty_model(table, config.model, dtype)
    plan = memory_plan(empty, config, load)
    work = Counter(empty, config.run, config.grpo).group(load)
    peak = peak_flops(device, dtype)
    policy = random_policy(source, table, config, device)
    print(f"{device_name(device)}, torch {torch.__version__}, peak {peak / 1e12:.3g} x 10^12 operations a second")
    print(f"{load.prompt} tokens a prompt, {load.answers} answers of {load.tokens}, shared: {not policy.unshared}")
    print(plan.table(), flush=True)
    facts: dict[str, Any] = {
        "shape": shape,
        "settings": dict(changes),
        "questions a step": questions,
        "device": device_name(device),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokens a prompt": load.prompt,
        "answers": load.answers,
        "tokens an answer": load.tokens,
        "shared": not policy.unshared,
        "10^12 operations a question": work.needed / 1e12,
        "10^12 operations a second, peak": peak / 1e12,
        "plan GiB": plan.total / GIB,
        "steps": [],
    }
    optimizer = Optimizer(policy.model.named_parameters(), config.optim, seed=0)
    noise = NoiseQuestions(questions * steps, FRAMES, SIDE)
    numbers = range(1, steps + 1)
    loader = QuestionLoader(
        noise,
        range(len(noise)),
        policy,
        config.run,
        config.data,
        batches=numbers,
        batches_per_step=config.batches_per_step,
        answer_tokens=config.grpo.max_tokens,
        world=World(),
    )
    with loader, patch("videossr.training.trainer.score_answers", alternate_rewards):
        for made in Trainer(policy, optimizer, loader, config.run, config.grpo, steps=numbers):
            step = made.step
            for failure in made.failures:
                print(f"question {failure.index}: {failure.error}")
            seconds = step.wall / questions
            spent = {phase: time / questions for phase, time in step.seconds.items()}
            mfu = work.needed / seconds / peak
            facts["steps"].append(
                {
                    "seconds a question": seconds,
                    "phases": spent,
                    "MFU": mfu,
                    "GiB": step.memory_gib,
                    "gap": step.gap,
                    "changed": step.changed,
                }
            )
            print(
                f"step {step.step}: {seconds:.3f} s a question, {1 / seconds:.2f} questions a second, "
                f"MFU {mfu:.1%}, {step.memory_gib:.1f} GiB, gap {step.gap:.2g} nats, "
                f"changed {step.changed:.4f}; {' '.join(f'{phase} {time:.3f}' for phase, time in spent.items())}",
                flush=True,
            )
    return facts


def random_policy(source: Checkpoint, table: Any, config: TrainConfig, device: torch.device) -> Policy:
    """Return a policy with random weights, whose answers never end by themselves."""
    torch.manual_seed(0)
    with device:
        model = transformers.AutoModelForImageTextToText.from_config(
            table, dtype=resolve_dtype(config.run.dtype, device), attn_implementation=ATTENTION
        ).eval()
        optimize_vision_tower(model)
    frozen = copy.deepcopy(model).requires_grad_(False) if config.needs_reference else None
    unshared = can_share(model) if config.run.share_prefix else "run.share_prefix is off"
    return Policy(
        source, prepare_model(model, config.model), frozen, device, frozenset(), context_length(model), unshared
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A step of GRPO with random weights of a released model's shape.")
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-vl-8b")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--questions", type=int, default=16, help="a step")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the configuration")
    parser.add_argument("--json", type=Path, help="file for the figures")
    chosen = parser.parse_args()
    changes = dict(setting.split("=", 1) for setting in chosen.set)
    facts = measure(chosen.steps, chosen.questions, changes, chosen.shape)
    if chosen.json:
        chosen.json.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
