"""TRL's trainer, extended to videos, computes our loss, so `benchmarks/train_step.py` compares the same work."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.integration.conftest import Ask
from videossr.dataset.dataset import VideoSSRDataset
from videossr.engine.checkpoint import Checkpoint, open_checkpoint, prompt_inputs
from videossr.engine.shared_prefix import answer_scores, read_prefix
from videossr.models.tiny import make_tiny
from videossr.training.config import GrpoConfig
from videossr.training.grpo import EPSILON, group_advantages, group_loss

pytestmark = pytest.mark.integration

CPU = torch.device("cpu")
TOKENS = 7
QUESTIONS = (0, 7)
"""Two prompts of unequal length, so that TRL pads."""

LENGTHS = ((7, 3, 1, 5), (2, 7, 7, 4))
REWARDS = ((0.25, 1.0, 0.0, 0.5), (0.0, 0.0, 1.0, 0.75))
THEIR_EPSILON = 1e-4
"""What TRL adds to a group's deviation."""

CASES = [
    ({"loss": "dapo", "beta": 0.0, "scale": "group"}, GrpoConfig(aggregate="token", kl=0)),
    ({"loss": "dapo", "beta": 0.01, "scale": "group"}, GrpoConfig(aggregate="token", kl=0.01)),
    ({"loss": "grpo", "beta": 0.0, "scale": "group"}, GrpoConfig(aggregate="answer", kl=0)),
    ({"loss": "grpo", "beta": 0.01, "scale": "group"}, GrpoConfig(aggregate="answer", kl=0.01)),
    (
        {"loss": "dr_grpo", "beta": 0.01, "scale": "none"},
        GrpoConfig(aggregate="constant", kl=0.01, scale="none", max_tokens=TOKENS),
    ),
]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(str(make_tiny(tmp_path_factory.mktemp("policy") / "model")))


@pytest.fixture(scope="module")
def reference(policy: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Make a reference close to the policy; the KL of the policy with itself would have no gradient."""
    folder = make_tiny(tmp_path_factory.mktemp("reference") / "model")
    weights = safetensors.torch.load_file(policy.folder / "model.safetensors")
    dice = torch.Generator().manual_seed(1)
    changed = {
        name: tensor * (1 + 0.05 * torch.randn(tensor.shape, generator=dice)) for name, tensor in weights.items()
    }
    safetensors.torch.save_file(changed, folder / "model.safetensors", {"format": "pt"})
    return open_checkpoint(str(folder))


def make_answers(policy: Checkpoint) -> list[list[list[int]]]:
    """Draw answers of any tokens but special ones; answers that are not cut off end with the end token."""
    dice = np.random.default_rng(0)
    known = [token for token in range(len(policy.tokenizer)) if token not in policy.tokenizer.all_special_ids]
    return [
        [
            [
                *dice.choice(known, length - (length < TOKENS)).tolist(),
                *[policy.tokenizer.eos_token_id] * (length < TOKENS),
            ]
            for length in lengths
        ]
        for lengths in LENGTHS
    ]


def compute_our_loss(
    policy: Checkpoint,
    reference: Checkpoint,
    dataset: VideoSSRDataset,
    answers: list[list[list[int]]],
    config: GrpoConfig,
) -> tuple[float, dict[str, torch.Tensor]]:
    """Return our loss and gradients with a shared prefix, and with TRL's epsilon in the advantages."""
    model, reference_model = (checkpoint.load(CPU, "float32", "sdpa") for checkpoint in (policy, reference))
    losses = []
    for index, group, rewards in zip(QUESTIONS, answers, REWARDS, strict=True):
        inputs = prompt_inputs(policy.build(dataset.question(index), dataset.clips(index)), CPU, torch.float32)
        scores = answer_scores(model, read_prefix(model, inputs), group, banned=policy.placeholders)
        with torch.no_grad():
            reference_logprobs = answer_scores(
                reference_model, read_prefix(reference_model, inputs), group, banned=policy.placeholders
            ).logprobs
        advantage = torch.tensor(group_advantages(rewards, config.scale))
        if config.scale == "group":
            deviation = np.std(rewards, ddof=1)
            advantage *= float((deviation + EPSILON) / (deviation + THEIR_EPSILON))
        losses.append(group_loss(scores, advantage, config, reference=reference_logprobs if config.kl else None))
    loss = torch.stack([part.total for part in losses]).sum() / sum(part.weight for part in losses)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


@pytest.fixture(scope="module")
def trl_results(
    ask: Ask, policy: Checkpoint, reference: Checkpoint, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[float], Path]:
    """Return TRL's loss for each case, and a folder with its gradients."""
    out = tmp_path_factory.mktemp("gradients")
    question: dict[str, Any] = {
        "library": sysconfig.get_paths()["purelib"],
        "policy": str(policy.folder),
        "reference": str(reference.folder),
        "dataset": str(dataset),
        "questions": QUESTIONS,
        "answers": make_answers(policy),
        "rewards": REWARDS,
        "tokens": TOKENS,
        "rows": 2,
        "cases": [case for case, _ in CASES],
        "out": str(out),
    }
    return ask("trl", "trl_loss.py", question), out


@pytest.mark.parametrize("number", range(len(CASES)))
def test_group_loss_and_gradients_equal_those_of_trl(
    trl_results: tuple[list[float], Path], policy: Checkpoint, reference: Checkpoint, dataset: Path, number: int
) -> None:
    """The gradients of all weights agree in float32, with clips, padding, several passes and shuffled rows."""
    losses, folder = trl_results
    trl_gradients = safetensors.torch.load_file(folder / f"{number}.safetensors")
    loss, gradients = compute_our_loss(
        policy, reference, VideoSSRDataset(dataset), make_answers(policy), CASES[number][1]
    )
    assert loss == pytest.approx(losses[number], rel=1e-5, abs=1e-6)
    assert trl_gradients.keys() == gradients.keys()
    assert any("visual" in name for name in trl_gradients)
    for name, gradient in gradients.items():
        assert (gradient - trl_gradients[name]).norm() <= 1e-5 * trl_gradients[name].norm() + 1e-8, name
    assert max(gradient.norm().item() for gradient in gradients.values()) > 0.01


def test_trl_trainer_trains_on_sampled_answers(ask: Ask, policy: Checkpoint, dataset: Path, tmp_path: Path) -> None:
    """TRL samples with its own generation, step after step, as in the benchmark."""
    question = {
        "library": sysconfig.get_paths()["purelib"],
        "checkpoint": str(policy.folder),
        "dataset": str(dataset),
        "prompts": 2,
        "rollouts": 4,
        "tokens": TOKENS,
        "rows": 2,
        "steps": 2,
        "lines": str(tmp_path / "steps.jsonl"),
    }
    answer = ask("trl", "trl_steps.py", question)
    fewest, most = answer["tokens"]
    assert answer["version"].startswith("1.16.")
    assert 1 <= fewest <= most == TOKENS
    assert [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
    ]
