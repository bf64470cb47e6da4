"""Groups are learned from as they end, and no more prompts are held than are answered at once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from videossr.clock import uniform_clock
from videossr.engine.checkpoint import Checkpoint
from videossr.engine.shared_prefix import SharedPrefix, read_prefix
from videossr.models.tiny import Family
from videossr.question import VIDEO, Clip, Question
from videossr.training import rollouts
from videossr.training.config import GrpoConfig, ModelConfig, RunSettings
from videossr.training.cost.timing import PhaseTimer
from videossr.training.loader import PreparedQuestion
from videossr.training.policy import load_policy
from videossr.training.rollouts import RolloutWorker

CPU = torch.device("cpu")


@pytest.mark.parametrize("share_prefix", [True, False])
def test_rollouts_hold_no_more_prompts_than_are_answered_at_once(
    tiny: Callable[[Family], Checkpoint], monkeypatch: pytest.MonkeyPatch, share_prefix: bool
) -> None:
    source = tiny("qwen3_vl")
    policy = load_policy(source, ModelConfig(), device=CPU, share_prefix=share_prefix)
    run = RunSettings(decode_groups=2, share_prefix=share_prefix, rows=2)
    worker = RolloutWorker(policy, run, GrpoConfig(rollouts=4, max_tokens=6), PhaseTimer(CPU))
    held: list[weakref.ref[torch.Tensor]] = []
    taken: list[int] = []
    done: list[int] = []

    def record(*given: Any) -> SharedPrefix:
        gc.collect()
        alive = sum(keys() is not None for keys in held)
        assert alive <= (len(taken) - 1 - len(done) if share_prefix else 3), "a prompt is held that was learned from"
        prefix = read_prefix(*given)
        assert prefix.logits.requires_grad == share_prefix
        held.append(weakref.ref(prefix.layers[0].first))
        return prefix

    def questions() -> Iterator[PreparedQuestion]:
        clock = uniform_clock(4, 4000)
        for index in range(5):
            taken.append(index)
            frames = np.random.default_rng(index).integers(0, 256, (4, 64, 64, 3), np.uint8)
            question = Question(str(index), "videossr/counting", "", f"{VIDEO}\nHow many?", "1,2,3", (clock,))
            prompt = source.build(question, [Clip(frames, clock)])
            yield PreparedQuestion(index, question, "counting", "counting", prompt)

    monkeypatch.setattr(rollouts, "read_prefix", record)
    for rollout in worker.rollouts(questions(), 1):
        done.append(rollout.prepared.index)
        assert len(taken) - len(done) < 2, "a question is taken before there is a place"
        assert len(rollout.answers) == len(rollout.texts) == 4
        assert (rollout.prefix is not None) == share_prefix
        rollout.prefix = None  # as `backward` does
    assert sorted(done) == list(range(5))
