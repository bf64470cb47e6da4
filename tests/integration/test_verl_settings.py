"""verl's own configuration takes what configurations of `videossr train` are translated to, value by value."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import Ask
from videossr.export.trainer import Cluster
from videossr.models.tiny import make_tiny
from videossr.training.config import TrainConfig, load_config
from videossr.verl.settings import Rows, settings_of, word
from videossr.verl.translation import translate

pytestmark = pytest.mark.integration

PAPER: dict[str, Any] = {"log.save_every": 0, "run.epochs": 1.5}
ADAPTERS: dict[str, Any] = {
    "model.lora.rank": 8,
    "model.lora.targets": "q_proj|k_proj",
    "model.train_vision": False,
    "optim.moments": "offload",
    "optim.eps": 1e-6,
    "optim.schedule": "cosine",
    "optim.warmup": 5,
    "log.trackers": ["tensorboard", "wandb"],
    "log.project": "null",
    "run.steps": 7,
    "run.seed": 3,
}
DR_GRPO: dict[str, Any] = {
    "grpo.scale": "none",
    "grpo.aggregate": "constant",
    "grpo.clip_high": 0.28,
    "grpo.updates": 2,
    "grpo.kl": 0,
    "grpo.dynamic_sampling": 10,
    "grpo.reward": "strict",
    "run.dtype": "float32",
}
FOLDER = "/runs/it's a = {folder}, $HOME \\"


@pytest.fixture(scope="module")
def composed(ask: Ask, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    tiny = make_tiny(tmp_path_factory.mktemp("tiny") / "it's a = model", width=64, layers=1)
    configs = [load_config("train-paper", {"model.path": str(tiny), **more}) for more in (PAPER, ADAPTERS, DR_GRPO)]
    answered: list[dict[str, Any]] = ask("verl", "verl_compose.py", [words(config) for config in configs])
    return answered


def words(config: TrainConfig) -> list[str]:
    settings = settings_of(config, translate(config), Cluster(2, 4), Rows(640, 9216), FOLDER)
    return [*(word(name, value) for name, value in settings.items()), "data.videossr.cache_mb=64"]


def test_settings_of_the_paper(composed: list[dict[str, Any]]) -> None:
    made = composed[0]
    actor, rollout = (made["actor_rollout_ref"][part] for part in ("actor", "rollout"))
    assert made["optimizer"] == {"lr": 1e-6, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01}
    assert (actor["use_kl_loss"], actor["kl_loss_coef"], actor["kl_loss_type"]) == (True, 1e-3, "low_var_kl")
    assert (actor["loss_agg_mode"], actor["clip_ratio_low"], actor["clip_ratio_high"]) == ("token-mean", 0.2, 0.2)
    assert (rollout["n"], rollout["temperature"], rollout["response_length"]) == (8, 1.0, 64)
    assert made["trainer"]["total_training_steps"] == made["trainer"]["save_freq"] == 15
    assert made["trainer"]["total_epochs"] == 2
    assert made["trainer"]["logger"] == ["console", "file"]


def test_paths_with_quotes_and_signs_arrive_as_they_are(composed: list[dict[str, Any]]) -> None:
    for made in composed:
        assert made["data"]["videossr"] == {"cache_mb": 64}, "a setting of the user replaces ours"
        assert made["trainer"]["default_local_dir"] == f"{FOLDER}/checkpoints"
        assert made["data"]["train_files"] == f"{FOLDER}/train.parquet"
        assert made["actor_rollout_ref"]["model"]["path"].endswith("/it's a = model")
        variables = made["ray_kwargs"]["ray_init"]["runtime_env"]["env_vars"]
        assert variables["VERL_FILE_LOGGER_PATH"] == f"{FOLDER}/steps.jsonl"


def test_settings_of_adapters(composed: list[dict[str, Any]]) -> None:
    made = composed[1]
    model = made["actor_rollout_ref"]["model"]
    assert (model["lora_rank"], model["lora_alpha"], model["lora"]["merge"]) == (8, 16, True)
    assert (model["target_modules"], model["exclude_modules"]) == ("q_proj|k_proj", ".*visual.*")
    assert made["optimizer"]["eps"] == 1e-6
    optim = made["actor_rollout_ref"]["actor"]["optim"]
    assert (optim["lr_scheduler_type"], optim["lr_warmup_steps"]) == ("cosine", 5)
    assert made["actor_rollout_ref"]["actor"]["fsdp_config"]["optimizer_offload"] is True
    assert made["trainer"]["logger"] == ["console", "file", "tensorboard", "wandb"]
    assert made["trainer"]["project_name"] == "null"
    assert made["trainer"]["total_training_steps"] == 7
    assert made["data"]["seed"] == made["actor_rollout_ref"]["rollout"]["seed"] == 3


def test_settings_of_dr_grpo_in_float32(composed: list[dict[str, Any]]) -> None:
    made = composed[2]
    actor = made["actor_rollout_ref"]["actor"]
    assert made["algorithm"]["norm_adv_by_std_in_grpo"] is False
    assert (actor["loss_agg_mode"], actor["loss_scale_factor"]) == ("seq-mean-token-sum-norm", 64)
    assert (actor["use_kl_loss"], actor["clip_ratio_high"], actor["ppo_mini_batch_size"]) == (False, 0.28, 32)
    assert made["algorithm"]["filter_groups"]["enable"] is True
    assert made["trainer"]["v1"]["sampler"]["sampler_kwargs"]["filter_groups"] is True
    assert made["reward"]["custom_reward_function"]["reward_kwargs"] == {"reward": "strict"}
    for part in ("actor", "ref"):
        precision = made["actor_rollout_ref"][part]["fsdp_config"]["mixed_precision"]
        assert set(precision.values()) == {"fp32"}
    assert made["actor_rollout_ref"]["rollout"]["dtype"] == "float32"
