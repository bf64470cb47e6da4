"""Counted operations equal those that torch counts while the functions of the trainer run."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from videossr.clock import uniform_clock
from videossr.engine import shared_prefix
from videossr.engine.checkpoint import open_checkpoint
from videossr.engine.generation import generate
from videossr.engine.recomputation import gradient_checkpointing
from videossr.engine.shared_prefix import answer_scores, full_scores, read_prefix
from videossr.models.tiny import PATCH, Family, make_tiny
from videossr.question import VIDEO, Clip, Question
from videossr.training.config import GrpoConfig, Lora, ModelConfig, RunSettings, TrainConfig
from videossr.training.cost import flops
from videossr.training.cost.flops import Counter, Load, OperationCount, load_of, peak_flops
from videossr.training.policy import Policy, load_policy, prepare_model

CPU = torch.device("cpu")
G, A = 4, 6
CONFIG = TrainConfig(run=RunSettings(device="cpu"), grpo=GrpoConfig(rollouts=G, max_tokens=A))
ANSWERS = [[1 + row] * A for row in range(G)]


@pytest.fixture(scope="module", params=get_args(Family))
def policy_inputs_load(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Policy, Any, Load]:
    family: Family = request.param
    source = open_checkpoint(str(make_tiny(tmp_path_factory.mktemp("tiny") / family, family=family, layers=3)))
    side = 8 * PATCH[family]
    clock = uniform_clock(8, 8000)
    frames = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8)
    question = Question("one", "videossr/counting", "", f"{VIDEO}\nHow many?", "1,2,3", (clock,))
    policy = load_policy(source, CONFIG.model, device=CPU, needs_reference=CONFIG.needs_reference)
    model: Any = policy.model
    model.set_attn_implementation("eager")  # torch's counter knows no fused one
    if family.endswith("_moe"):
        model.set_experts_implementation("eager")
    prompt = policy.prompt(question, [Clip(frames, clock)], A)
    return policy, policy.inputs(prompt), load_of(prompt, G, A)


def grouped_convolution_backward(
    grads: Sequence[int], _inputs: object, weight: Sequence[int], *_: Any, **__: Any
) -> int:
    """Count the two products of the backward pass; torch's own formula takes one by channel for a full one."""
    return 4 * prod(grads) * prod(weight[1:])


def torch_count() -> FlopCounterMode:
    return FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.convolution_backward: grouped_convolution_backward}
    )


def count_group(policy: Policy, config: TrainConfig, load: Load) -> OperationCount:
    return Counter(policy.model, config.run, config.grpo, masked=False).group(load)


def run_backward(losses: Sequence[torch.Tensor]) -> None:
    torch.stack(list(losses)).sum().backward()  # type: ignore[no-untyped-call]


def test_counter_counts_a_group_with_a_shared_prefix_like_torch(policy_inputs_load: tuple[Policy, Any, Load]) -> None:
    policy, inputs, load = policy_inputs_load
    work = count_group(policy, CONFIG, load)
    with torch_count() as forward:
        prefix = read_prefix(policy.model, inputs)
    assert work.vision + work.prefill == pytest.approx(forward.get_total_flops(), rel=0.02)
    with torch_count() as decode:
        generate(policy.model, [prefix], G, max_tokens=A, seeds=[(0,)], ends=frozenset())
    assert work.decode == pytest.approx(decode.get_total_flops(), rel=0.02)
    with torch_count() as loss:
        scores = answer_scores(policy.model, prefix, ANSWERS)
    assert work.loss == pytest.approx(loss.get_total_flops(), rel=0.02)
    with torch_count() as backward:
        run_backward([scores.logprobs.sum()])
    assert work.backward == pytest.approx(backward.get_total_flops(), rel=0.02)
    assert work.reference == work.vision + work.prefill + work.loss


def test_counter_counts_answers_in_several_parts_like_torch(
    policy_inputs_load: tuple[Policy, Any, Load], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, inputs, load = policy_inputs_load
    whole = count_group(policy, CONFIG, load)
    for module in (shared_prefix, flops):
        monkeypatch.setattr(module, "SCORED_AT_ONCE", 3 * (A - 1))  # so that the last of four answers is alone
    prefix = read_prefix(policy.model, inputs)
    with torch_count() as loss:
        scores = answer_scores(policy.model, prefix, ANSWERS)
    with torch_count() as backward:
        run_backward([scores.logprobs.sum()])
    parts = count_group(policy, CONFIG, load)
    assert parts.loss == pytest.approx(loss.get_total_flops(), rel=0.02)
    assert parts.loss < whole.loss
    assert parts.backward + parts.recomputed == pytest.approx(backward.get_total_flops(), rel=0.02)


def test_counter_counts_a_group_without_a_shared_prefix_like_torch(
    policy_inputs_load: tuple[Policy, Any, Load],
) -> None:
    policy, inputs, load = policy_inputs_load
    config = replace(CONFIG, run=RunSettings(device="cpu", share_prefix=False))
    work = count_group(policy, config, load)
    with torch_count() as decode:
        prefixes = list(read_prefix(policy.model, inputs, G).rows())
        generate(policy.model, prefixes, 1, max_tokens=A, seeds=[(k,) for k in range(G)], ends=frozenset())
    assert work.decode == pytest.approx(decode.get_total_flops(), rel=0.03)
    with torch_count() as forward:
        score_batches = list(full_scores(policy.model, inputs, ANSWERS, rows=G))
    assert work.vision + work.prefill + work.loss == pytest.approx(forward.get_total_flops(), rel=0.03)
    with torch_count() as backward:
        run_backward([score_batch.logprobs.sum() for score_batch in score_batches])
    assert work.backward == pytest.approx(backward.get_total_flops(), rel=0.03)
    assert work.needed > 2.5 * count_group(policy, CONFIG, load).needed


def test_counter_leaves_out_the_backward_pass_of_a_frozen_vision_tower(
    policy_inputs_load: tuple[Policy, Any, Load],
) -> None:
    policy, inputs, load = policy_inputs_load
    policy.model.model.visual.requires_grad_(False)
    try:
        work = count_group(policy, CONFIG, load)
        prefix = read_prefix(policy.model, inputs)
        scores = answer_scores(policy.model, prefix, ANSWERS)
        with torch_count() as backward:
            run_backward([scores.logprobs.sum()])
    finally:
        policy.model.model.visual.requires_grad_(True)
    assert work.backward == pytest.approx(backward.get_total_flops(), rel=0.02)


def test_counter_masked_leaves_out_hidden_attention(policy_inputs_load: tuple[Policy, Any, Load]) -> None:
    policy, _, load = policy_inputs_load
    count = partial(Counter, policy.model, CONFIG.run, CONFIG.grpo)
    masked_count, full_count = (count(masked=masked).group(load) for masked in (True, False))
    text = policy.model.config.get_text_config()
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    attention = sum(hasattr(layer, "self_attn") for layer in policy.layers)
    hidden = 2 * attention * text.num_attention_heads * width * load.prompt**2
    assert full_count.prefill - masked_count.prefill == pytest.approx(hidden)
    assert full_count.backward - masked_count.backward == pytest.approx(2 * hidden)


def test_counter_follows_method_recompute_and_kl(policy_inputs_load: tuple[Policy, Any, Load]) -> None:
    policy, _, load = policy_inputs_load
    one = replace(load, answers=1)
    supervised = count_group(policy, replace(CONFIG, run=RunSettings(method="sft")), one)
    assert supervised.decode == supervised.reference == supervised.recomputed == 0
    recomputing = count_group(policy, replace(CONFIG, run=RunSettings(recompute=True)), load)
    assert recomputing.needed == count_group(policy, CONFIG, load).needed
    assert recomputing.recomputed > 0
    assert count_group(policy, replace(CONFIG, grpo=GrpoConfig(kl=0)), load).reference == 0
    assert (recomputing + recomputing).needed == 2 * recomputing.needed


def test_peak_flops_of_an_unknown_device_is_measured() -> None:
    reached = peak_flops(CPU, torch.float32)
    assert 1e8 < reached < 1e14


def test_peak_flops_of_known_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    card = torch.device("cuda")
    for name, peak in (
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert peak_flops(card, torch.bfloat16) == peak, name


def test_counter_needs_no_loaded_weights(policy_inputs_load: tuple[Policy, Any, Load], tmp_path: Path) -> None:
    policy, _, load = policy_inputs_load
    with torch.device("meta"):
        kind: Any = type(policy.model)
        empty = kind(policy.model.config)
    assert count_group(replace(policy, model=empty), CONFIG, load) == count_group(policy, CONFIG, load)


@pytest.mark.parametrize("lora", [False, True])
def test_counter_counts_what_is_recomputed_like_torch(policy_inputs_load: tuple[Policy, Any, Load], lora: bool) -> None:
    """Recomputation stops before the last product of a layer, whose output nothing needs."""
    policy, inputs, load = policy_inputs_load
    model: Any = policy.model
    if lora:
        model = prepare_model(copy.deepcopy(model), ModelConfig(lora=Lora(rank=2)))
    config = replace(CONFIG, run=RunSettings(device="cpu", recompute=True))
    work = Counter(model, config.run, config.grpo, masked=False).group(load)
    with gradient_checkpointing(model):
        scores = answer_scores(model, read_prefix(model, inputs), ANSWERS)
    with torch_count() as backward:
        run_backward([scores.logprobs.sum()])
    assert work.backward + work.recomputed == pytest.approx(backward.get_total_flops(), rel=0.02)
