"""Compare log-probabilities with gradient for a group of answers: behind one shared prompt, and by full passes.

    python benchmarks/shared_prefix.py --family qwen3_5

A tiny model with random weights, one clip of 48 frames, 8 answers of 10 tokens, float32, one thread. Both ways take
turns, the first of which is a warm-up; the figures are medians of processor time, and the largest gap between their
log-probabilities. docs/concepts/shared-prefix.md has the result for Qwen3.5.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import get_args

import numpy as np
import torch

from videossr.clock import uniform_clock
from videossr.engine.checkpoint import open_checkpoint, prompt_inputs
from videossr.engine.shared_prefix import answer_scores, full_scores, read_prefix
from videossr.models.tiny import PATCH, Family, make_tiny
from videossr.question import VIDEO, Clip, Question

FRAMES, ANSWERS, TOKENS, TURNS = 48, 8, 10, 4


def main() -> None:
    """Read the command line, measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=get_args(Family), default="qwen3_5")
    family: Family = parser.parse_args().family
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = open_checkpoint(str(make_tiny(Path(scratch) / "model", family=family, layers=8)))
        model = checkpoint.load(torch.device("cpu"), "float32", "sdpa")
    clock, side = uniform_clock(FRAMES, 24_000), 16 * PATCH[family]
    frames = np.random.default_rng(0).integers(0, 256, (FRAMES, side, side, 3), np.uint8)
    question = Question("q", "videossr/grounding", "", f"{VIDEO}\nWhen?", "1.0-2.0", (clock,))
    inputs = prompt_inputs(checkpoint.build(question, [Clip(frames, clock)]), torch.device("cpu"), torch.float32)
    answers = np.random.default_rng(0).integers(20, 600, (ANSWERS, TOKENS)).tolist()

    def shared() -> torch.Tensor:
        scores = answer_scores(model, read_prefix(model, inputs), answers).logprobs
        torch.autograd.backward(scores.sum())
        return scores.detach()

    def full() -> torch.Tensor:
        rows = []
        for scores in full_scores(model, inputs, answers):
            torch.autograd.backward(scores.logprobs.sum())
            rows.append(scores.logprobs.detach())
        return torch.cat(rows)

    ways: dict[str, Callable[[], torch.Tensor]] = {"shared": shared, "full passes": full}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, torch.Tensor] = {}
    for _ in range(TURNS):
        for name, way in ways.items():
            start = time.process_time()
            found[name] = way()
            seconds[name].append(time.process_time() - start)
    medians = {name: median(turns[1:]) for name, turns in seconds.items()}
    print(f"{family}, prompt of {inputs['input_ids'].shape[1]} tokens, {ANSWERS} answers of {TOKENS}")
    for name, value in medians.items():
        print(f"{name}: {value:.2f} s")
    gap = float((found["shared"] - found["full passes"]).abs().max())
    print(f"{medians['full passes'] / medians['shared']:.1f} times less time; largest gap {gap:.1e}")


if __name__ == "__main__":
    main()
