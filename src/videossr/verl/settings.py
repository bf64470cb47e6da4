"""All settings of a run of verl, and how they are written as words of its command line.

`videossr.verl.translation` has those that a configuration decides; here are those of the machines and of the rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from videossr.errors import ConfigError
from videossr.export.trainer import Cluster, micro_batch
from videossr.references import CACHE_MB
from videossr.training.config import TrainConfig
from videossr.verl.rules import ACTOR, MODEL, REF, ROLLOUT, SAMPLER, Overrides
from videossr.verl.translation import Translation


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a run.

    Attributes:
        count: how many there are.
        longest: tokens of a prompt, at most.
    """

    count: int
    longest: int


def total_steps(config: TrainConfig, rows: int) -> int:
    """Return the steps of a run: of each pass the whole batches, at least one."""
    if config.run.steps:
        return config.run.steps
    whole, part = divmod(config.run.epochs, 1)
    batches = rows // config.run.batch
    return max(1, int(whole) * batches + int(round(part * rows, 6) // config.run.batch))


def settings_of(config: TrainConfig, translation: Translation, cluster: Cluster, rows: Rows, here: str) -> Overrides:
    """Return all settings of a run.

    Args:
        config: the configuration.
        translation: of the configuration.
        cluster: the machines.
        rows: that were written.
        here: folder of the exported files, or a name for it that the reader of the settings replaces.
    """
    grpo, run = config.grpo, config.run
    micro = micro_batch(config, cluster)
    steps = total_steps(config, rows.count)
    return {
        "algorithm.adv_estimator": "grpo",
        "algorithm.use_kl_in_reward": False,
        "data.train_files": f"{here}/train.parquet",
        "data.val_files": f"{here}/train.parquet",
        "data.val_max_samples": 1,
        "data.max_prompt_length": rows.longest,
        "data.filter_overlong_prompts": False,
        "data.truncation": "error",
        "data.shuffle": True,
        "data.image_patch_size": 16,
        "data.custom_cls.path": "pkg://videossr.verl.dataset",
        "data.custom_cls.name": "SampleRowsDataset",
        "+data.videossr.cache_mb": CACHE_MB,
        "+data.mm_processor_kwargs.do_resize": False,
        "+data.mm_processor_kwargs.do_sample_frames": False,
        f"{MODEL}.use_remove_padding": True,
        f"{ACTOR}.ppo_micro_batch_size_per_gpu": micro,
        f"{ACTOR}.entropy_coeff": 0,
        f"{REF}.log_prob_micro_batch_size_per_gpu": micro,
        f"{REF}.fsdp_config.param_offload": True,
        f"{ROLLOUT}.name": "vllm",
        f"{ROLLOUT}.tensor_model_parallel_size": 1,
        f"{ROLLOUT}.gpu_memory_utilization": 0.5,
        f"{ROLLOUT}.max_num_batched_tokens": rows.longest + grpo.max_tokens,
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu": micro,
        f"{ROLLOUT}.agent.agent_loop_config_path": f"{here}/agent_loop.yaml",
        f"+{ROLLOUT}.engine_kwargs.vllm.mm_processor_cache_gb": 0,
        "reward.custom_reward_function.path": "pkg://videossr.rewards",
        "reward.custom_reward_function.name": "compute_score",
        f"{SAMPLER}.custom_sampler.path": "pkg://videossr.verl.sampler",
        f"{SAMPLER}.custom_sampler.name": "GroupSampler",
        f"+{SAMPLER}.sampler_kwargs.reward": grpo.reward,
        f"+{SAMPLER}.sampler_kwargs.batch": run.batch,
        f"+{SAMPLER}.sampler_kwargs.max_tokens": grpo.max_tokens,
        "trainer.nnodes": cluster.nodes,
        "trainer.n_gpus_per_node": cluster.gpus,
        "trainer.total_training_steps": steps,
        "trainer.total_epochs": math.ceil(steps / (rows.count // run.batch)),
        "trainer.save_freq": config.log.save_every or steps,
        "trainer.default_local_dir": f"{here}/checkpoints",
        "trainer.resume_mode": "auto",
        "trainer.val_before_train": False,
        "trainer.test_freq": -1,
        "trainer.experiment_name": "verl",
        "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH": f"{here}/steps.jsonl",
        "+ray_kwargs.ray_init.runtime_env.env_vars.TENSORBOARD_DIR": f"{here}/tensorboard",
        "hydra.run.dir": f"{here}/hydra",
        **translation.settings,
    }


DECIDED: Mapping[str, str] = {
    "trainer.total_training_steps": "run.steps",
    "trainer.total_epochs": "run.epochs",
    "trainer.save_freq": "log.save_every",
    "trainer.nnodes": "--nodes",
    "trainer.n_gpus_per_node": "--gpus",
}
"""What decides settings beside those that a rule does."""

FIXED = (
    *(
        "data.train_files",
        "data.custom_cls",
        "trainer.default_local_dir",
        "trainer.resume_mode",
        "reward.custom_reward_function",
    ),
    *("data.truncation", "data.filter_overlong_prompts", "hydra.run.dir", f"{ROLLOUT}.agent.agent_loop_config_path"),
    *("algorithm.use_kl_in_reward", f"{ACTOR}.entropy_coeff"),
    *(SAMPLER, "algorithm.adv_estimator", "ray_kwargs.ray_init.runtime_env.env_vars.VERL_FILE_LOGGER_PATH"),
)
"""Settings, and tables of them, without which the run could not be followed, or would be another method."""


def check_own(own: Mapping[str, str], translation: Translation) -> None:
    """Raise ConfigError where a setting that a user gives verl is decided elsewhere.

    Args:
        own: settings by the names that verl has for them.
        translation: of the configuration.
    """
    decided = {**translation.keys, **DECIDED}
    keys = {name.lstrip("+"): key for name, key in decided.items()}
    for name in own:
        plain = name.lstrip("+~")
        if key := keys.get(plain):
            way_out = key if key.startswith("--") else f"--{key}"
            raise ConfigError(f"--verl.{name}: the configuration decides it. Set {way_out}")
        if inner := next((known for known in (*keys, *FIXED) if known.startswith(f"{plain}.")), None):
            raise ConfigError(
                f"--verl.{name}: it is a table with {inner}, which is decided. Set one key of it by itself"
            )
        if any(f"{plain}.".startswith(f"{known}.") for known in FIXED):
            raise ConfigError(f"--verl.{name}: it must stay as it is, so that the run is the one that is recorded")


def word(name: str, value: object) -> str:
    """Write a setting as a word of verl's command line, in the grammar of Hydra."""
    return f"{name}={written(value)}"


def written(value: object) -> str:
    """Write a value as Hydra reads it. Text is quoted where it is more than a plain word."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if not isinstance(value, str):
        return str(value)
    is_word = re.fullmatch(r"[A-Za-z_][\w.-]*|pkg://[\w.]+", value) and value.lower() not in _OTHER_TYPES
    return value if is_word else quoted(value)


_OTHER_TYPES = ("null", "true", "false", "inf", "nan")
"""Words that Hydra does not take for text."""


def quoted(text: str) -> str:
    """Quote a text for Hydra, in which backslashes before a quote are doubled.

    Raises:
        ConfigError: it has a ``${``, which verl reads as a reference to another setting, however it is escaped.
    """
    if "${" in text:
        raise ConfigError(f"{text} has ${{, which verl takes for a reference to a setting: choose another name")
    return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text) + "'"
