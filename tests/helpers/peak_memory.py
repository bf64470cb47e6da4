"""Train groups in a process of its own: `python peak_memory.py CHECKPOINT OUT recompute share`.

Writes the plan and the measured peak in bytes; the peak is without the memory used before the model was loaded.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch

from videossr.clock import uniform_clock
from videossr.engine.checkpoint import open_checkpoint
from videossr.question import VIDEO, Clip, Question
from videossr.training.config import GrpoConfig, RunSettings, TrainConfig
from videossr.training.cost.flops import load_of
from videossr.training.cost.memory import plan_run
from videossr.training.cost.timing import PhaseTimer
from videossr.training.grpo import group_advantages
from videossr.training.loader import PreparedQuestion
from videossr.training.optim import Optimizer
from videossr.training.policy import load_policy
from videossr.training.rollouts import RolloutWorker, reward_values, score_answers, select_answers
from videossr.training.trainer import used_gib

PAGE = os.sysconf("SC_PAGESIZE")


def main(folder: Path, out: Path, recompute: bool, share: bool) -> None:
    source = open_checkpoint(str(folder))
    clock = uniform_clock(24, 24000)
    frames = np.random.default_rng(0).integers(0, 256, (24, 192, 192, 3), np.uint8)
    question = Question("one", "videossr/counting", "", f"{VIDEO}\nHow many?", "1,2,3", (clock,))
    run = RunSettings(recompute=recompute, share_prefix=share, device="cpu")
    config = TrainConfig(run=run, grpo=GrpoConfig(rollouts=4, max_tokens=8))
    prompt = source.build(question, [Clip(frames, clock)])
    load = load_of(prompt, config.grpo.rollouts, config.grpo.max_tokens)
    plan, problem = plan_run(folder, config, load, device=torch.device("cpu"))
    assert not problem, problem
    before = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    policy = load_policy(
        source,
        config.model,
        device=torch.device("cpu"),
        needs_reference=config.needs_reference,
        share_prefix=share,
    )
    optimizer = Optimizer(policy.model.named_parameters(), config.optim)
    worker = RolloutWorker(policy, config.run, config.grpo, PhaseTimer(policy.device))
    for step in (1, 2):  # moments are made in the first
        (rollout,) = worker.rollouts([PreparedQuestion(0, question, "counting", "counting", prompt)], step)
        rewards = score_answers(question, rollout.texts)
        advantages = group_advantages(reward_values(rewards, config.grpo), config.grpo.scale)
        group = select_answers(rollout, rewards, advantages, config.grpo)
        for loss in worker.losses(group, worker.reference_logprobs(group)):
            loss.backward()
        optimizer.step(step)
    peak = used_gib(policy.device) * 2**30 - before
    out.write_text(json.dumps({"plan": plan.total, "peak": peak, "rows": plan.facts()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "recompute", sys.argv[4] == "share")
