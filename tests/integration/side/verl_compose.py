"""Compose and validate settings with verl's own configuration, without a run.

Question: [[hydra overrides], …]. Answer: for each list the resolved configuration that verl would train with.
"""

import json
import sys
from pathlib import Path

import torch
import torchvision_ops  # noqa: F401  (before verl)
import verl
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config
from verl.workers.config.optimizer import build_optimizer

CONFIG = Path(verl.__file__).parent / "trainer" / "config"


def composed(overrides):
    """Compose one configuration, validate it, and make the typed parts of it that workers make."""
    with initialize_config_dir(str(CONFIG), version_base=None):
        config = compose("ppo_trainer", overrides)
    validate_config(config, need_reference_policy(config), need_critic(config))
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    omega_conf_to_dataclass(config.actor_rollout_ref.rollout)
    optimizer = build_optimizer([torch.nn.Parameter(torch.zeros(2))], actor.optim)
    resolved = OmegaConf.to_container(config, resolve=True)
    resolved["optimizer"] = {name: optimizer.defaults[name] for name in ("lr", "betas", "eps", "weight_decay")}
    return resolved


Path(sys.argv[1]).write_text(json.dumps([composed(overrides) for overrides in json.load(sys.stdin)]), "utf-8")
