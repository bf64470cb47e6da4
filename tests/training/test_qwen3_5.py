"""Qwen3.5 is trained like the other families, alone and in two processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.training import learn_form
from tests.training.test_parallel import FSDP, load_weights, torchrun
from videossr.errors import ConfigError
from videossr.models.tiny import make_tiny
from videossr.training.config import TrainConfig
from videossr.training.runs.records import TrainRun, read_train_run
from videossr.training.session import train

Make = Callable[..., TrainConfig]
CLOSE = 3e-5


@pytest.fixture(scope="module")
def start(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that has learned the form of answers a little, so that its rewards differ."""
    folder = tmp_path_factory.mktemp("qwen3_5")
    raw = make_tiny(folder / "raw", family="qwen3_5", width=64, layers=2)
    return learn_form(raw, small, folder, epochs=10)


@pytest.fixture
def two_steps(config: Make, start: Path) -> Make:
    def make_config(**changed: Any) -> TrainConfig:
        settings = {"model__path": f'"{start}"', "run__steps": 2, "grpo__kl": 0.1, "optim__eps": 1e-3}
        return config(**{**settings, "log__save_every": 1, "log__keep": 2, **changed})

    return make_config


def assert_equal_runs(one: TrainRun, other: TrainRun) -> None:
    assert len(one.steps) == len(other.steps) == 2
    for step, other_step in zip(one.steps, other.steps, strict=True):
        assert other_step.loss == pytest.approx(step.loss, rel=CLOSE, abs=1e-6)
        assert other_step.grad_norm == pytest.approx(step.grad_norm, rel=CLOSE)
        assert step.gap is not None
        assert step.gap < 1e-4
    others = load_weights(Path(str(other.path)))
    for name, tensor in load_weights(Path(str(one.path))).items():
        assert (others[name] - tensor).abs().max() <= CLOSE * tensor.abs().max(), name


def test_two_processes_equal_one(two_steps: Make, tmp_path: Path) -> None:
    alone = train(two_steps(), tmp_path / "alone")
    assert any(step.loss for step in alone.steps)
    jobs: dict[str, dict[str, Any]] = {
        "copies": {"config": two_steps()},
        "shards": {"config": two_steps(**FSDP, run__recompute="true")},
        "more": {"config": two_steps(**FSDP), "of": str(tmp_path / "alone")},
    }
    completed = torchrun(tmp_path, jobs)
    assert completed.returncode == 0, completed.stderr[-4000:]
    for name in jobs:
        assert_equal_runs(alone, read_train_run(tmp_path / name))


def test_an_adapter_that_could_not_learn_is_refused(two_steps: Make, tmp_path: Path) -> None:
    lora = '{rank = 4, targets = ".*linear_attn.*"}'
    with pytest.raises(ConfigError, match=r"model.lora.targets takes .*conv1d, where an adapter has no effect"):
        train(two_steps(model__lora=lora), tmp_path / "run")
