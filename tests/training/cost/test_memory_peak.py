"""The memory plan is within 5 % of what torch's allocator had in use at the worst moment of two training steps."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.profiler import ProfilerActivity, profile

from videossr.clock import uniform_clock
from videossr.engine import shared_prefix
from videossr.engine.checkpoint import open_checkpoint
from videossr.models.tiny import Family, make_tiny
from videossr.question import VIDEO, Clip, Question
from videossr.rewards import Scores
from videossr.training.config import GrpoConfig, Lora, ModelConfig, OptimConfig, RunSettings, TrainConfig
from videossr.training.cost import memory
from videossr.training.cost.flops import load_of
from videossr.training.cost.memory import empty_model, memory_plan
from videossr.training.cost.timing import PhaseTimer
from videossr.training.grpo import group_advantages
from videossr.training.loader import PreparedQuestion
from videossr.training.optim import Optimizer
from videossr.training.policy import load_policy
from videossr.training.rollouts import RolloutWorker, select_answers

CPU = torch.device("cpu")
KEEP = TrainConfig(run=RunSettings(device="cpu", rows=2), grpo=GrpoConfig(rollouts=4, max_tokens=8))
RECOMPUTE = replace(KEEP, run=replace(KEEP.run, recompute=True))


@contextmanager
def allocated() -> Iterator[Callable[[], int]]:
    """Record what torch allocates and frees on the CPU; the yielded function returns the largest sum, in bytes."""
    gc.collect()  # what an earlier test has left would count when it is freed
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        yield lambda: max(accumulate(size for _, size in sorted(changes)))
    events: Any = recorded.profiler
    changes = [
        (event.start_ns(), event.nbytes()) for event in events.kineto_results.events() if event.name() == "[memory]"
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "dtype", "family"),
    [
        pytest.param(KEEP, torch.float32, "qwen3_vl", id="keep"),
        pytest.param(RECOMPUTE, torch.float32, "qwen3_vl", id="recompute"),
        pytest.param(RECOMPUTE, torch.float32, "qwen3_5", id="qwen3_5"),
        pytest.param(
            replace(KEEP, run=replace(KEEP.run, share_prefix=False)), torch.float32, "qwen3_vl", id="not shared"
        ),
        pytest.param(replace(KEEP, model=ModelConfig(lora=Lora(rank=8))), torch.float32, "qwen3_vl", id="lora"),
        pytest.param(
            replace(
                RECOMPUTE,
                run=replace(RECOMPUTE.run, decode_groups=2),
                grpo=replace(RECOMPUTE.grpo, kl=0),
                optim=OptimConfig(weights="stochastic"),
                model=ModelConfig(train_vision=False),
            ),
            torch.bfloat16,
            "qwen3_vl",
            id="bfloat16, frozen tower, two groups, no KL",
        ),
        pytest.param(
            replace(RECOMPUTE, grpo=replace(RECOMPUTE.grpo, max_tokens=33)), torch.float32, "qwen3_vl", id="in parts"
        ),
    ],
)
def test_memory_plan_is_within_5_percent_of_the_peak(
    tmp_path: Path, config: TrainConfig, dtype: torch.dtype, family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (shared_prefix, memory):
        monkeypatch.setattr(module, "SCORED_AT_ONCE", 64)  # less than the answers of one setting have together
    source = open_checkpoint(str(make_tiny(tmp_path, family=family, width=384, layers=4)))
    clock = uniform_clock(24, 24000)
    frames = np.random.default_rng(0).integers(0, 256, (24, 160, 160, 3), np.uint8)
    question = Question("one", "videossr/counting", "", f"{VIDEO}\nHow many?", "1,2,3", (clock,))
    prompt = source.build(question, [Clip(frames, clock)])
    load = load_of(prompt, config.grpo.rollouts, config.grpo.max_tokens)
    shape = transformers.AutoConfig.from_pretrained(tmp_path)
    plan = memory_plan(empty_model(shape, config.model, dtype), config, load)
    loaded = load_policy(
        source,
        config.model,
        device=CPU,
        dtype=dtype,
        needs_reference=config.needs_reference,
        share_prefix=config.run.share_prefix,
    )
    policy = replace(loaded, ends=frozenset())  # answers are as long as they may be
    weights = sum(weight.nbytes for model in (policy.model, policy.frozen) if model for weight in model.parameters())
    with allocated() as peak:
        optimizer = Optimizer(policy.model.named_parameters(), config.optim)
        worker = RolloutWorker(policy, config.run, config.grpo, PhaseTimer(CPU))
        for step, batches in ((1, 1), (2, 2)):  # the first step makes the moments, the first batch the gradients
            for _ in range(batches):
                questions = [PreparedQuestion(k, question, "", "", prompt) for k in range(config.run.decode_groups)]
                for rollout in worker.rollouts(questions, step):
                    rewards = [Scores(float(k), float(k), True) for k in range(config.grpo.rollouts)]
                    advantages = group_advantages([reward.smooth for reward in rewards], config.grpo.scale)
                    group = select_answers(rollout, rewards, advantages, config.grpo)
                    worker.backward(group, worker.reference_logprobs(group))
                    del rollout, group
            optimizer.step(step)
    assert plan.total == pytest.approx(weights + peak(), rel=0.05), plan.table()
