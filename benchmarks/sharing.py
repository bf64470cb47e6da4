"""Tell what sharing a prompt gives for long answers and many frames: counted on Qwen3-VL-8B, measured on a small model.

    python -m benchmarks.sharing count        # operations of a group, memory of 30,000 tokens, steps of sampling
    python -m benchmarks.sharing measure      # processor time of a group, half an hour

Measured is all that a group asks of the model: the prompt is read, answers are sampled, scored and gone back through,
with the prompt shared and without, in turns, in one thread. A group of one short answer is the warm-up; figures are
medians of processor time. The model has random weights, and no answer ends by itself. The tables are in
docs/results/long.md.
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.gpu_shapes import NoiseQuestions, checkpoint, configured
from videossr.engine.checkpoint import Checkpoint, open_checkpoint, prompt_inputs
from videossr.engine.generation import generate
from videossr.engine.shared_prefix import answer_scores, full_scores, read_prefix
from videossr.models.tiny import make_tiny
from videossr.training.config import GrpoConfig, RunSettings, TrainConfig
from videossr.training.cost.flops import Counter, Load, load_of
from videossr.training.cost.memory import GIB, empty_model, memory_plan

FRAMES = (48, 128, 256, 768)
TOKENS = (16, 128, 512)
GROUPS = (8, 16)

POINTS = ((48, 16), (48, 128), (48, 512), (128, 16), (128, 128))
"""Frames and tokens of an answer that are measured, with 8 answers."""

SIDE = {"8B": 256, "small": 256}
"""Of a frame, in pixels."""

QUESTIONS, AT_ONCE = 64, 4
"""Of a batch, and of those that are answered at once, where steps of sampling are counted."""

LONG_RUNS: Mapping[str, Mapping[str, str]] = {
    "all weights": {},
    "LoRA, rank 64": {"model.lora.rank": "64"},
}


def loads(source: Checkpoint, frames: int, answers: Sequence[int], tokens: Sequence[int]) -> list[Load]:
    """Return the loads of a question with so many frames."""
    noise = NoiseQuestions(1, frames, SIDE["8B"])
    prompt = source.build(noise.question(0), noise.clips(0))
    return [load_of(prompt, count, length) for count in answers for length in tokens]


def times_less(model: Any, config: TrainConfig, load: Load) -> float:
    """Return how many times less operations a group needs where its prompt is shared."""
    shared, alone = (
        Counter(model, RunSettings(share_prefix=share), config.grpo).group(load).needed for share in (True, False)
    )
    return alone / shared


def token_limit(load: Load) -> float:
    """Return the same for a model that costs the same for every token that it reads or learns from."""
    return load.answers * (load.prompt + load.tokens) / (load.prompt + load.answers * load.tokens)


def count() -> None:
    """Print the counted tables."""
    with tempfile.TemporaryDirectory() as scratch:
        source = checkpoint(Path(scratch), "qwen3-vl-8b")
        shape = transformers.AutoConfig.from_pretrained(scratch)
    config = configured({}, QUESTIONS)
    model = empty_model(shape, config.model, torch.bfloat16)
    heads = [f"{group} answers of {tokens}" for group in GROUPS for tokens in TOKENS]
    print("| frames | tokens of the prompt | " + " | ".join(heads) + " |\n|" + "---|" * (2 + len(heads)))
    for frames in FRAMES:
        row = loads(source, frames, GROUPS, TOKENS)
        cells = [f"{times_less(model, config, load):.1f} ({token_limit(load):.1f})" for load in row]
        print(f"| {frames} | {row[0].prompt:,} | " + " | ".join(cells) + " |")
    (longest,) = loads(source, FRAMES[-1], (8,), (512,))
    print(f"\nGiB at the worst moment, {longest.prompt:,} tokens, 8 answers of 512, one group at a time\n")
    print("| | recompute | and offload_activations | in RAM |\n|---|---|---|---|")
    for name, changes in LONG_RUNS.items():
        plans = []
        for offload in ("false", "true"):
            settings = {**changes, "run.decode_groups": "1", "run.offload_activations": offload}
            config = configured(settings, QUESTIONS)
            plans.append(memory_plan(empty_model(shape, config.model, torch.bfloat16), config, longest))
        print(
            f"| {name} | " + " | ".join(f"{plan.total / GIB:.1f}" for plan in plans) + f" | {plans[1].host / GIB:.1f} |"
        )
        print("\n".join(plan.table() for plan in plans))
    print(f"\n{QUESTIONS} questions of 8 answers, {AT_ONCE} questions at once\n")
    print("| lengths of answers | steps, batch by batch | with refill | times |\n|---|---|---|---|")
    noise = np.random.default_rng(0)
    drawn = {
        "all 16": np.full((QUESTIONS, 8), 16),
        "geometric, mean 32, at most 512": noise.geometric(1 / 32, (QUESTIONS, 8)).clip(max=512),
        "geometric, mean 128, at most 512": noise.geometric(1 / 128, (QUESTIONS, 8)).clip(max=512),
        "log-normal, median 64, sigma 1, at most 512": np.exp(noise.normal(np.log(64), 1, (QUESTIONS, 8))).clip(1, 512),
    }
    for name, lengths in drawn.items():
        groups = np.ceil(lengths.max(1)).astype(int).tolist()
        batches = sum(max(groups[first : first + AT_ONCE]) for first in range(0, QUESTIONS, AT_ONCE))
        refilled = steps_with_refill(groups, AT_ONCE)
        print(f"| {name} | {batches:,} | {refilled:,} | {batches / refilled:.2f} |")


def steps_with_refill(lengths: Sequence[int], at_once: int) -> int:
    """Return the steps until all groups of these lengths are sampled, where each makes place for the next."""
    ends = [0] * at_once
    for length in lengths:
        heapq.heapreplace(ends, ends[0] + length)
    return max(ends)


def measure(turns: int) -> None:
    """Print processor seconds of a group, shared and not."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        source = open_checkpoint(str(make_tiny(Path(scratch) / "model", width=256, layers=6, vision_layers=4)))
        model = source.load(torch.device("cpu"), "float32", "sdpa")
    config = TrainConfig(grpo=GrpoConfig(kl=0))
    print("| frames | tokens of the prompt | tokens an answer | shared, s | not shared, s | times | counted | limit |")
    print("|" + "---|" * 8)
    for frames, tokens in POINTS:
        noise = NoiseQuestions(1, frames, SIDE["small"])
        prompt = source.build(noise.question(0), noise.clips(0))
        load = load_of(prompt, 8, tokens)
        inputs = prompt_inputs(prompt, torch.device("cpu"), torch.float32)
        take_turns(model, inputs, replace(load, answers=1, tokens=2), source.placeholders, 1)
        seconds = take_turns(model, inputs, load, source.placeholders, turns)
        shared, alone = (median(column) for column in seconds)
        print(
            f"| {frames} | {load.prompt:,} | {tokens} | {shared:.2f} | {alone:.2f} | **{alone / shared:.1f}** "
            f"| {times_less(model, config, load):.1f} | {token_limit(load):.1f} |",
            flush=True,
        )


def take_turns(
    model: Any, inputs: Mapping[str, torch.Tensor], load: Load, banned: Sequence[int], turns: int
) -> list[list[float]]:
    """Return processor seconds of turns with the prompt shared, and without; some tokens cannot be drawn."""
    sampling: Any = {"max_tokens": load.tokens, "ends": frozenset[int](), "banned": banned}

    def shared() -> None:
        prefix = read_prefix(model, inputs)
        (answers,) = generate(model, [prefix], load.answers, seeds=[(0,)], **sampling)
        scores = answer_scores(model, prefix, [answer.ids for answer in answers])
        torch.autograd.backward(scores.logprobs.sum())

    def alone() -> None:
        ids = []
        for row in range(load.answers):
            with torch.no_grad():
                prefix = read_prefix(model, inputs)
            ((answer,),) = generate(model, [prefix], 1, seeds=[(row,)], **sampling)
            ids.append(answer.ids)
        for scores in full_scores(model, inputs, ids):
            torch.autograd.backward(scores.logprobs.sum())

    ways: list[Callable[[], None]] = [shared, alone]
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(turns):
        for way, column in zip(ways, seconds, strict=True):
            start = time.process_time()
            way()
            column.append(time.process_time() - start)
    return seconds


def main() -> None:
    """Read the command line, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("does", choices=("count", "measure"))
    parser.add_argument("--turns", type=int, default=3, help="of each way, where seconds are measured")
    chosen = parser.parse_args()
    if chosen.does == "count":
        count()
    else:
        measure(chosen.turns)


if __name__ == "__main__":
    main()
