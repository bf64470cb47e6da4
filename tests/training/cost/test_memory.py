"""The memory plan follows every setting, and recommends settings that fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from videossr.errors import ConfigError
from videossr.models.tiny import make_tiny
from videossr.training.config import GrpoConfig, Lora, ModelConfig, OptimConfig, RunSettings, TrainConfig
from videossr.training.cost.flops import Load
from videossr.training.cost.memory import GIB, MemoryPlan, empty_model, memory_plan, plan_run, shortage_message

LOAD = Load(prompt=1000, pictures=((12, 256),), answers=8, tokens=16)
BASE = TrainConfig(run=RunSettings(dtype="bfloat16"))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def shape(folder: Path) -> Any:
    return transformers.AutoConfig.from_pretrained(folder)


def plan_for(shape: Any, config: TrainConfig = BASE, load: Load = LOAD, processes: int = 1) -> MemoryPlan:
    return memory_plan(empty_model(shape, config.model, torch.bfloat16), config, load, processes)


def sizes(plan: MemoryPlan) -> dict[str, int]:
    return {row.name: row.size for row in plan.rows}


def run(**settings: Any) -> TrainConfig:
    return replace(BASE, run=replace(BASE.run, **settings))


def optim(**settings: Any) -> TrainConfig:
    return replace(BASE, optim=OptimConfig(**settings))


def test_memory_plan_of_weights_gradients_and_moments_is_exact(shape: Any) -> None:
    with torch.device("meta"):
        model = transformers.AutoModelForImageTextToText.from_config(shape)
    count = sum(parameter.numel() for parameter in model.parameters())
    rows = sizes(plan_for(shape))
    assert rows["weights"] == rows["reference"] == 2 * count
    assert rows["gradients, float32"] == rows["masters, float32"] == 4 * count
    assert rows["moments, float32"] == 8 * count
    assert sizes(plan_for(shape, optim(weights="stochastic")))["masters, float32"] == 0
    assert 2 * count < sizes(plan_for(shape, optim(moments="8bit")))["moments, 8bit"] < 2.1 * count
    whole = memory_plan(empty_model(shape, BASE.model, torch.float32), BASE, LOAD)
    assert sizes(whole)["weights"] == 4 * count
    assert sizes(whole)["masters, float32"] == 0


def test_memory_plan_of_experts_in_either_precision(tmp_path: Path) -> None:
    shape = transformers.AutoConfig.from_pretrained(make_tiny(tmp_path, family="qwen3_vl_moe"))
    half, full = (
        sizes(memory_plan(empty_model(shape, BASE.model, dtype), BASE, LOAD))
        for dtype in (torch.bfloat16, torch.float32)
    )
    name = "activations of the prompts"
    assert 1.5 * half[name] < full[name] <= 2 * half[name]  # norms are computed in float32 either way


def test_memory_plan_of_pictures_of_several_sizes(shape: Any) -> None:
    one = plan_for(shape)
    assert plan_for(shape, load=replace(LOAD, pictures=((8, 256), (4, 256)))).total == one.total
    mixed = plan_for(shape, load=replace(LOAD, pictures=((6, 256), (24, 64))))
    assert mixed.total == pytest.approx(one.total, rel=0.05)


def test_memory_plan_follows_the_settings(shape: Any) -> None:
    plan = plan_for(shape)
    offloaded = plan_for(shape, optim(moments="offload"))
    assert offloaded.host == sizes(plan)["masters, float32"] + sizes(plan)["moments, float32"]
    assert offloaded.total == plan.total - offloaded.host
    without_kl = plan_for(shape, replace(BASE, grpo=GrpoConfig(kl=0)))
    assert sizes(without_kl)["reference"] == sizes(without_kl)["key-value cache of the reference"] == 0
    sharded = sizes(plan_for(shape, run(sharding="fsdp"), processes=4))
    assert sharded["moments, float32"] == sizes(plan)["moments, float32"] // 4
    whole = sizes(plan)["weights"] + sizes(plan)["gradients, float32"]
    assert sharded["weights and gradients that are not sharded yet"] == whole
    assert sharded["weights"] + sharded["gradients, float32"] == whole // 4
    assert sizes(plan_for(shape, processes=4)) == sizes(plan)
    row_name = "activations of the prompts"
    recomputed = sizes(plan_for(shape, run(recompute=True)))
    assert recomputed[row_name] < sizes(plan)[row_name] / 3
    assert recomputed["one layer, recomputed"] > 0
    offloaded = plan_for(shape, run(recompute=True, offload_activations=True))
    assert offloaded.host > 0
    moved = sum(recomputed[name] - sizes(offloaded)[name] for name in (row_name, "activations of the answers"))
    assert offloaded.host == moved
    text = shape.get_text_config()
    keys = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * LOAD.prompt * 2
    assert keys <= sizes(offloaded)[row_name] < 1.2 * keys
    with pytest.raises(ConfigError, match=r"run\.offload_activations needs run\.recompute=true"):
        plan_for(shape, run(offload_activations=True))
    several = replace(LOAD, tokens=512)
    assert sizes(plan_for(shape, load=several))["logits of the answers"] == 3 * 1024 * text.vocab_size * 4
    assert sizes(plan_for(shape, run(decode_groups=3)))[row_name] == 3 * sizes(plan)[row_name]
    longer = sizes(plan_for(shape, load=replace(LOAD, prompt=2000, pictures=((24, 256),))))
    assert longer[row_name] == pytest.approx(2 * sizes(plan)[row_name], rel=0.01)
    frozen = sizes(plan_for(shape, replace(BASE, model=ModelConfig(train_vision=False))))
    assert frozen[row_name] < 0.8 * sizes(plan)[row_name]
    alone, rows = (plan_for(shape, run(share_prefix=False, rows=rows)) for rows in (1, 8))
    name = "activations of the answers"
    assert sizes(rows)[name] == pytest.approx(8 * sizes(alone)[name], rel=0.01)
    assert sizes(plan_for(shape, replace(BASE, run=RunSettings(method="sft"))))["key-value cache of sampling"] == 0


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft asks in the old way
def test_memory_plan_of_lora_has_small_gradients_and_no_reference(shape: Any) -> None:
    config = replace(BASE, model=ModelConfig(lora=Lora(rank=4)))
    rows, full = sizes(plan_for(shape, config)), sizes(plan_for(shape))
    assert rows["gradients, float32"] < full["gradients, float32"] / 5
    assert rows["reference"] == 0
    assert rows["weights"] > full["weights"]


def test_memory_plan_table_and_facts_add_up(shape: Any) -> None:
    plan = plan_for(shape)
    lines = plan.table().splitlines()
    assert len(lines) == 1 + sum(1 for row in plan.rows if row.size)
    assert f"{plan.total / GIB:.2f} GiB" in lines[-1]
    assert plan.facts()["total"] == round(plan.total / GIB, 3)
    whole = sum(row.size for row in plan.rows)
    assert plan.sum("always") < plan.total < whole


@pytest.mark.slow
def test_shortage_message_recommends_fsdp_to_several_processes(tmp_path: Path) -> None:
    shape = transformers.AutoConfig.from_pretrained(make_tiny(tmp_path, layers=16))
    small = Load(prompt=40, pictures=((1, 16),), answers=2, tokens=4)
    config = run(recompute=True)

    def plan_again(config: TrainConfig, processes: int = 4) -> MemoryPlan:
        return plan_for(shape, config, small, processes)

    plan = plan_again(config)
    assert "--run.sharding=fsdp about" in shortage_message(plan, plan.total - 1, config, plan_again, processes=4)
    assert "fsdp" not in shortage_message(plan, plan.total - 1, config, plan_again, processes=1)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_shortage_message_names_settings_that_fit(shape: Any, folder: Path) -> None:
    config = run(decode_groups=4)
    plan = plan_for(shape, config)

    def plan_on_cpu(other: TrainConfig) -> MemoryPlan:
        if other.run.offload_activations:
            raise ConfigError("not from a CPU")
        return plan_for(shape, other)

    def message_for(room: int, plan_of: Callable[[TrainConfig], MemoryPlan] = plan_on_cpu) -> str:
        return shortage_message(plan, room, config, plan_of)

    assert not message_for(plan.total)
    message = message_for(plan.total - 1)
    assert f"needs about {plan.total / GIB:.2f} GiB" in message
    assert "--run.recompute=true about" in message
    tight = plan_for(shape, optim(moments="8bit", weights="stochastic")).total
    smaller_room = min(tight, plan_for(shape, run(recompute=True)).total) - 1
    assert "--optim" in message_for(smaller_room)
    on_card = message_for(smaller_room, lambda other: plan_for(shape, other))
    assert "--run.recompute=true --run.offload_activations=true" in on_card
    assert "no setting makes it fit" in message_for(1)
    small = replace(config, run=replace(config.run, memory_gib=plan.total / GIB / 2))
    _, problem = plan_run(folder, small, LOAD, device=CPU, dtype=torch.bfloat16)
    assert "offload_activations" not in problem
    with pytest.raises(ConfigError, match="moves states to RAM, where those of a CPU are"):
        plan_run(folder, run(recompute=True, offload_activations=True), LOAD, device=CPU, dtype=torch.bfloat16)
    assert f"of {plan.total / GIB / 2:.2f}" in problem
    assert plan_run(folder, config, LOAD, device=CPU, dtype=torch.bfloat16) == (plan, "")
