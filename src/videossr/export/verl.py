"""Rows of samples for verl, and the command that trains on them with the paper's settings.

    train.parquet      one row a sample; a row refers to its clips, and holds no frames
    agent_loop.yaml    where verl finds the agent loop
    requirements.txt   the versions that all this is made for
    train.sh           the command, with every setting; written last, so that a folder which has it is complete

`videossr export verl DATASET --out FOLDER` writes it; `videossr.verl` is what verl calls while it trains.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from videossr.dataset.dataset import VideoSSRDataset
from videossr.export.folder import write_table, write_unless_same
from videossr.export.trainer import (
    ANSWER_TOKENS,
    HASH,
    MODEL,
    PROMPT_TOKENS,
    Cluster,
    check_shares,
    check_text,
    micro_batch,
    prompt_tokens,
    rounded_tokens,
    script_hash,
)
from videossr.question import Question
from videossr.storage.output_dir import OutputDir
from videossr.storage.provenance import installed_versions
from videossr.training.config import TrainConfig, load_config
from videossr.untrusted import one_line
from videossr.verl.clips import CACHE_MB, Reference
from videossr.verl.versions import MADE_FOR

VERB = "export verl"
AGENT = "videossr"
"""Name of the agent loop in rows."""

OTHER_MEDIA = ("<image>", "<audio>")
"""What verl takes for a placeholder in any text."""

Overrides: TypeAlias = dict[str, object]
"""Settings of verl by their dotted names. A name that starts with ``+`` is new to its configuration."""

ROWS = pa.schema(
    [
        ("data_source", pa.string()),
        ("agent_name", pa.string()),
        ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        (
            "videos",
            pa.list_(
                pa.struct(
                    [
                        ("dataset", pa.string()),
                        ("corpus", pa.string()),
                        ("index", pa.int64()),
                        ("id", pa.string()),
                        ("clip", pa.int64()),
                    ]
                )
            ),
        ),
        ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
        ("extra_info", pa.struct([("index", pa.int64()), ("id", pa.string()), ("category", pa.string())])),
    ]
)


def export_verl(
    dataset: VideoSSRDataset, out: Path, cluster: Cluster, *, corpus: str | None = None, batch: int | None = None
) -> Path:
    """Write the rows and the command. An export that was stopped is completed; of one that is there, what differs.

    Args:
        dataset: the samples.
        out: the folder to write.
        cluster: the machines to train on.
        corpus: where the frame packs of the dataset are, if not where it says.
        batch: samples a step; by default the paper's 64.

    Returns:
        The script.

    Raises:
        ConfigError: verl or Qwen3-VL cannot take a sample, or the batch cannot be shared by the cards.
        OutputError: `out` holds something else.
    """
    config = load_config("train-paper", {} if batch is None else {"run.batch": batch})
    check_shares(config, cluster, len(dataset), "verl")
    asked = [dataset.question(index) for index in range(len(dataset))]
    sizes = list(zip(dataset["height"], dataset["width"], strict=True))
    for question in asked:
        check_text(question, "verl", OTHER_MEDIA)
    longest = max(prompt_tokens(question, size) for question, size in zip(asked, sizes, strict=True))
    settings = overrides(config, cluster, max(PROMPT_TOKENS, rounded_tokens(longest)))
    place = "" if corpus is None else str(dataset.corpus.path)
    script = out / "train.sh"
    output = OutputDir(out, VERB, "export for verl")
    with output.open({"hash": dataset.hash}, reopen=script_hash(script) == dataset.hash):
        rows = [
            _row(question, index, category, str(dataset.path), place)
            for index, (question, category) in enumerate(zip(asked, dataset["category"], strict=True))
        ]
        write_table(out / "train.parquet", rows, ROWS)
        loop = f"- name: {AGENT}\n  _target_: videossr.verl.agent_loop.SampleAgentLoop\n"
        write_unless_same(out / "agent_loop.yaml", loop.encode())
        write_unless_same(out / "requirements.txt", _requirements().encode())
        write_unless_same(script, _script(dataset, settings, cluster).encode())
        script.chmod(0o755)
    return script


def overrides(config: TrainConfig, cluster: Cluster, longest: int) -> Overrides:
    """Translate a configuration of GRPO to verl's settings.

    Args:
        config: the configuration.
        cluster: the machines.
        longest: tokens of a prompt, at most.

    Returns:
        The settings. Paths of exported files start with ``$here``, and the model is ``$MODEL``: the script knows both.
    """
    grpo, optim, run = config.grpo, config.optim, config.run
    micro = micro_batch(config, cluster)
    actor, rollout, ref = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "ref"))
    return {
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": grpo.scale == "group",
        "algorithm.use_kl_in_reward": False,
        "data.train_files": "$here/train.parquet",
        "data.val_files": "$here/train.parquet",
        "data.val_max_samples": 1,
        "data.train_batch_size": run.batch,
        "data.max_prompt_length": longest,
        "data.max_response_length": ANSWER_TOKENS,
        "data.filter_overlong_prompts": False,
        "data.truncation": "error",
        "data.shuffle": True,
        "data.seed": run.seed,
        "data.image_patch_size": 16,
        "data.custom_cls.path": "pkg://videossr.verl.dataset",
        "data.custom_cls.name": "SampleRowsDataset",
        "+data.videossr.cache_mb": CACHE_MB,
        "+data.mm_processor_kwargs.do_resize": False,
        "+data.mm_processor_kwargs.do_sample_frames": False,
        "actor_rollout_ref.model.path": "$MODEL",
        "actor_rollout_ref.model.use_remove_padding": True,
        "actor_rollout_ref.model.enable_gradient_checkpointing": run.recompute,
        f"{actor}.freeze_vision_tower": not config.model.train_vision,
        f"{actor}.optim.lr": optim.lr,
        f"{actor}.optim.betas": f"[{','.join(map(str, optim.betas))}]",
        f"{actor}.optim.weight_decay": optim.weight_decay,
        f"{actor}.optim.clip_grad": optim.clip_norm,
        f"{actor}.optim.lr_scheduler_type": optim.schedule,
        f"{actor}.optim.lr_warmup_steps": optim.warmup,
        f"{actor}.ppo_mini_batch_size": run.batch // grpo.updates,
        f"{actor}.ppo_micro_batch_size_per_gpu": micro,
        f"{actor}.clip_ratio_low": grpo.clip_low,
        f"{actor}.clip_ratio_high": grpo.clip_high,
        f"{actor}.loss_agg_mode": "token-mean",
        f"{actor}.use_kl_loss": config.has_kl,
        f"{actor}.kl_loss_coef": grpo.kl,
        f"{actor}.kl_loss_type": "low_var_kl",
        f"{actor}.entropy_coeff": 0,
        f"{ref}.log_prob_micro_batch_size_per_gpu": micro,
        f"{ref}.fsdp_config.param_offload": True,
        f"{rollout}.name": "vllm",
        f"{rollout}.n": grpo.rollouts,
        f"{rollout}.temperature": grpo.temperature,
        f"{rollout}.top_p": 1.0,
        f"{rollout}.top_k": -1,
        f"{rollout}.tensor_model_parallel_size": 1,
        f"{rollout}.gpu_memory_utilization": 0.5,
        f"{rollout}.max_num_batched_tokens": longest + ANSWER_TOKENS,
        f"{rollout}.log_prob_micro_batch_size_per_gpu": micro,
        f"{rollout}.agent.agent_loop_config_path": "$here/agent_loop.yaml",
        f"+{rollout}.engine_kwargs.vllm.mm_processor_cache_gb": 0,
        "reward.custom_reward_function.path": "pkg://videossr.rewards",
        "reward.custom_reward_function.name": "compute_score",
        "+reward.custom_reward_function.reward_kwargs.reward": grpo.reward,
        "trainer.nnodes": cluster.nodes,
        "trainer.n_gpus_per_node": cluster.gpus,
        "trainer.total_epochs": max(1, round(run.epochs)),
        "trainer.save_freq": config.log.save_every or -1,
        "trainer.max_actor_ckpt_to_keep": config.log.keep,
        "trainer.default_local_dir": "$here/checkpoints",
        "trainer.val_before_train": False,
        "trainer.test_freq": -1,
        "trainer.project_name": config.log.project,
        "trainer.experiment_name": "verl",
        "trainer.logger": '["console","file"]',
    }


def _row(question: Question, index: int, category: str, dataset: str, corpus: str) -> dict[str, Any]:
    """Write the row of a sample."""
    turns = [("system", question.system)] * bool(question.system) + [("user", question.prompt)]
    return {
        "data_source": question.data_source,
        "agent_name": AGENT,
        "prompt": [{"role": role, "content": content} for role, content in turns],
        "videos": [
            Reference(dataset=dataset, corpus=corpus, index=index, id=question.id, clip=clip)
            for clip in range(len(question.clocks))
        ],
        "reward_model": {"style": "rule", "ground_truth": question.answer},
        "extra_info": {"index": index, "id": question.id, "category": category},
    }


def _requirements() -> str:
    """Write the packages of every node. verl's extras name what its engines want."""
    others = [f"{name}=={version}" for name, version in MADE_FOR.items() if name != "verl"]
    (own,) = [f"{name}=={version}" for name, version in installed_versions(["videossr"]).items()]
    return "\n".join([f"verl[vllm,fsdp]=={MADE_FOR['verl']}", *others, own, ""])


def _script(dataset: VideoSSRDataset, settings: Mapping[str, object], cluster: Cluster) -> str:
    """Write the command, with every setting on a line of its own."""
    made_for = ", ".join(f"{name} {version}" for name, version in MADE_FOR.items())
    ray = ['export RAY_ADDRESS="${RAY_ADDRESS:-auto}"  # of the cluster that `ray start` has made'] * (
        cluster.nodes > 1
    )
    lines = [
        "#!/bin/sh",
        f"# GRPO of {one_line(str(dataset.path))} on {cluster.nodes} x {cluster.gpus} GPUs, for {made_for}.",
        f"# {HASH}{dataset.hash}",
        "# Settings given to this script replace those below: sh train.sh trainer.save_freq=10",
        "set -eu",
        'here=$(cd "$(dirname "$0")" && pwd)',
        f"MODEL=${{MODEL:-{MODEL}}}",
        *ray,
        'export VERL_FILE_LOGGER_PATH="${VERL_FILE_LOGGER_PATH:-$here/steps.jsonl}"',
        "python -m videossr.verl.versions",
        "exec python -m verl.trainer.main_ppo \\",
        *(f"    {_word(name, value)} \\" for name, value in settings.items()),
        '    "$@"',
        "",
    ]
    return "\n".join(lines)


def _word(name: str, value: object) -> str:
    """Write a setting as a word of the shell. Hydra takes a path in quotes whatever it holds."""
    text = str(value)
    if text.startswith("$"):
        return f"\"{name}='{text}'\""
    return shlex.quote(f"{name}={text}")
