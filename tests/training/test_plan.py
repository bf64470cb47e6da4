"""`resolve_plan` resolves a configuration before any weight is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from videossr.errors import ConfigError
from videossr.question_set import open_questions
from videossr.training.batching import RunLength
from videossr.training.config import TrainConfig
from videossr.training.parallel import World
from videossr.training.plan import resolve_dtype, resolve_plan

Make = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    ("name", "device", "dtype"),
    [
        ("auto", "cpu", torch.float32),
        ("auto", "cuda", torch.bfloat16),
        ("bfloat16", "cpu", torch.bfloat16),
        ("float32", "cuda", torch.float32),
    ],
)
def test_resolve_dtype_follows_the_device_where_dtype_is_auto(name: str, device: str, dtype: torch.dtype) -> None:
    assert resolve_dtype(name, torch.device(device)) == dtype


def test_resolve_plan_resolves_device_dtype_length_and_memory(config: Make, small: Path) -> None:
    questions = open_questions(str(small / "data"))
    plan = resolve_plan(config(run__dtype="bfloat16", data__share="[0.0, 0.5]"), questions, World())
    assert plan.device == torch.device("cpu")
    assert plan.dtype == torch.bfloat16
    assert 0 < len(plan.chosen) < len(questions)
    assert plan.length == RunLength(steps=4, batches=4)
    assert (plan.load.answers, plan.load.tokens) == (4, 10)
    assert plan.memory.total > 0
    supervised = resolve_plan(config(run__method="sft"), questions, World())
    assert supervised.load.answers == 1


def test_resolve_plan_refuses_incompatible_settings_before_weights_are_read(config: Make, small: Path) -> None:
    world = World()
    world.size = 2
    train_config = config(model__path="'nowhere'", run__sharding="fsdp", optim__moments="8bit")
    with pytest.raises(ConfigError, match=r"--optim\.moments=8bit .* use --run\.sharding=none"):
        resolve_plan(train_config, open_questions(str(small / "data")), world)
    for settings, message in (({}, "needs run.recompute=true"), ({"run__recompute": "true"}, "those of a CPU are")):
        offloading = config(model__path="'nowhere'", run__offload_activations="true", **settings)
        with pytest.raises(ConfigError, match=message):
            resolve_plan(offloading, open_questions(str(small / "data")), World())
