"""A tiny model of each family, and prompts for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from videossr.clock import even
from videossr.models.checkpoint import Checkpoint, open_checkpoint, prompt_inputs
from videossr.models.tiny import PATCH, Family, make_tiny
from videossr.question import VIDEO, Clip, Question

Inputs = dict[str, torch.Tensor]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family], Checkpoint]:
    """A tiny checkpoint of a family."""

    @cache
    def made(family: Family) -> Checkpoint:
        folder: Path = make_tiny(tmp_path_factory.mktemp("tiny") / family, family=family, width=64, layers=3)
        return open_checkpoint(str(folder))

    return made


@pytest.fixture(scope="session")
def asked(tiny: Callable[[Family], Checkpoint]) -> Callable[..., Inputs]:
    """What a model reads for a question of so many clips, each of so many noisy frames."""

    def made(family: Family = "qwen3_vl", clips: int = 1, frames: int = 8, seed: int = 0) -> Inputs:
        side = 4 * PATCH[family]
        noise = np.random.default_rng(seed)
        shown = [
            Clip(noise.integers(0, 256, (frames, side, side, 3), np.uint8), even(frames, frames * 500))
            for _ in range(clips)
        ]
        prompt = f"{VIDEO}\n" * clips + "When is it?"
        question = Question("q", "videossr/grounding", "Look.", prompt, "1.0-2.0", tuple(each.clock for each in shown))
        return prompt_inputs(tiny(family).build(question, shown), torch.device("cpu"), torch.float32)

    return made
