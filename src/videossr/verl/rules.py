"""The rules by which each key of a configuration becomes settings of verl 0.9.1.

A key decides settings of verl or which rows are written, has no meaning there, or has values for which verl has
nothing, which are refused. `videossr.verl.translation` applies them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias

from videossr.dataset.published.shown import VideoSettings
from videossr.training.config import TrainConfig

Overrides: TypeAlias = dict[str, object]
"""Settings of verl by their dotted names. A name that starts with ``+`` is new to its configuration."""

ACTOR, ROLLOUT, REF, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "ref", "model"))

SAMPLER = "trainer.v1.sampler"
"""Where verl's settings name the class that takes groups of answers out of its queue."""

TRACKERS = ("tensorboard", "wandb", "mlflow", "swanlab", "clearml", "trackio")
"""Trackers that verl and accelerate both know, under the same names."""

LARGEST_SEED = 2**32 - 1
"""Of NumPy, which workers of verl seed."""

Kind = Literal["set", "rows", "no effect", "one value"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of one key of the configuration.

    Attributes:
        kind: "set" where verl has a setting for it, "rows" where it decides which rows are written, "no effect"
            where nothing in verl depends on it, "one value" where verl has nothing for any other, which is refused.
        words: what verl does with it, for the documentation.
        settings: returns the settings of verl that it decides.
        fault: returns why a value is refused, and the way out; empty where it is not.
        note: returns what a user should know of a value; empty where there is nothing.
    """

    kind: Kind
    words: str
    settings: Callable[[TrainConfig], Overrides] = lambda _config: {}
    fault: Callable[[TrainConfig], str] = lambda _config: ""
    note: Callable[[TrainConfig], str] = lambda _config: ""


def _refuse(bad: Callable[[TrainConfig], object], why: str) -> Callable[[TrainConfig], str]:
    """Return the `fault` of a rule that refuses one kind of value."""
    return lambda config: why if bad(config) else ""


def _lora(config: TrainConfig) -> Overrides:
    """Adapters are merged into the weights that vLLM gets: it would apply none to the vision tower."""
    lora = config.model.lora
    return {} if lora is None else {f"{MODEL}.lora_rank": lora.rank, f"{MODEL}.lora.merge": True}


def _frozen_vision(config: TrainConfig) -> Overrides:
    return {} if config.model.lora is None or config.model.train_vision else {f"{MODEL}.exclude_modules": ".*visual.*"}


def _dtype(config: TrainConfig) -> Overrides:
    """The default of verl is bfloat16 with float32 masters. flash-attn, its default too, has no float32."""
    if config.run.dtype != "float32":
        return {}
    kinds = ("param", "reduce", "buffer")
    mixed = {f"+{part}.fsdp_config.mixed_precision.{kind}_dtype": "fp32" for part in (ACTOR, REF) for kind in kinds}
    attention = {f"+{MODEL}.override_config.attn_implementation": "sdpa", f"{MODEL}.use_remove_padding": False}
    return {**mixed, **attention, f"{ROLLOUT}.dtype": "float32"}


def _filter(config: TrainConfig) -> Overrides:
    """Our sampler takes its settings from `sampler_kwargs`, since verl gives those of its own to no other."""
    if config.grpo.dynamic_sampling == 1:
        return {}
    names = ("algorithm.filter_groups.enable", f"+{SAMPLER}.sampler_kwargs.filter_groups")
    return dict.fromkeys(names, True)


def _trackers(config: TrainConfig) -> Overrides:
    return {"trainer.logger": [*("console", "file"), *config.log.trackers]}


def _unknown_tracker(config: TrainConfig) -> str:
    unknown = [name for name in config.log.trackers if name not in TRACKERS]
    return f"verl does not know {unknown[0]}. Take {', '.join(TRACKERS)}" if unknown else ""


_AGGREGATE = {"token": "token-mean", "answer": "seq-mean-token-mean", "constant": "seq-mean-token-sum-norm"}
_KL = {"low_variance": "low_var_kl", "plain": "k1", "squared": "k2"}

_OURS = "or train with --engine videossr"
_TUNE = "or set memory of verl itself, such as --verl.actor_rollout_ref.rollout.gpu_memory_utilization=0.4"


def _video_rule(name: str) -> Rule:
    return Rule(
        "one value",
        "must be unset: rows must say how much of a video they show",
        fault=_refuse(
            lambda config: getattr(config.data.video, name) is not None,
            f"verl is told by the rows how much of a video they show. Write it into them, {_OURS}",
        ),
    )


RULES: Mapping[str, Rule] = {
    "model.path": Rule("set", "the model", lambda config: {f"{MODEL}.path": config.model.path}),
    "model.layout": Rule(
        "one value",
        "the processor of transformers 5.9.0 writes the layout `bare`; any other is refused",
        fault=_refuse(
            lambda config: config.model.layout not in (None, "bare"),
            f"verl with transformers 5.9.0 writes the layout bare. Leave it out, {_OURS}",
        ),
    ),
    "model.train_vision": Rule(
        "set",
        "`false` with adapters: `exclude_modules`; without them it is refused, since verl accepts "
        "`freeze_vision_tower` and freezes nothing",
        _frozen_vision,
        _refuse(
            lambda config: not config.model.train_vision and config.model.lora is None,
            "verl 0.9.1 accepts freeze_vision_tower and freezes nothing. Train adapters with --model.lora.rank=64, "
            f"let the vision tower learn with --model.train_vision=true, {_OURS}",
        ),
    ),
    "model.lora.rank": Rule(
        "set",
        "`lora_rank`; vLLM gets the weights with the adapters merged. verl's merge of a checkpoint leaves adapters "
        "beside the model, so that there is no `RUN/model`",
        _lora,
        note=lambda config: (
            ""
            if config.model.lora is None
            else "verl's merge of a checkpoint leaves the adapters beside the model that it writes"
        ),
    ),
    "model.lora.alpha": Rule(
        "set",
        "`lora_alpha`; none: 2 * rank",
        lambda config: (
            {} if (lora := config.model.lora) is None else {f"{MODEL}.lora_alpha": lora.alpha or 2 * lora.rank}
        ),
    ),
    "model.lora.targets": Rule(
        "set",
        "`target_modules`",
        lambda config: {} if (lora := config.model.lora) is None else {f"{MODEL}.target_modules": lora.targets},
    ),
    "data.path": Rule("rows", "rows refer to its questions"),
    "data.corpus": Rule("rows", "rows name it"),
    "data.anywhere": Rule("rows", "rows say so"),
    "data.source": Rule(
        "one value",
        "must be unset: rows must say how they are scored",
        fault=_refuse(
            lambda config: config.data.source is not None,
            f"verl reads how a row is scored from its data_source. Write it into the rows, {_OURS}",
        ),
    ),
    **{f"data.video.{field.name}": _video_rule(field.name) for field in fields(VideoSettings)},
    "data.sets": Rule(
        "one value",
        "must be unset: a mixture is refused",
        fault=_refuse(lambda config: config.data.sets, f"verl is given one set, with --data.path. Take one, {_OURS}"),
    ),
    "data.categories": Rule("rows", "only these are written"),
    "data.share": Rule("rows", "only this share is written, the same as our trainer takes"),
    "data.mix": Rule(
        "one value",
        "verl shuffles; `even` and `single` are refused",
        fault=_refuse(
            lambda config: config.data.mix != "shuffled",
            f"verl fills its batches as the shuffled rows fall. Choose --data.mix=shuffled, {_OURS}",
        ),
    ),
    "data.threads": Rule(
        "no effect", "verl's agent loops render, `--verl.actor_rollout_ref.rollout.agent.num_workers`"
    ),
    "data.ahead_mb": Rule("no effect", "each process of verl keeps rendered frames, `--verl.data.videossr.cache_mb`"),
    "run.engine": Rule("no effect", "it is what chooses verl"),
    "run.method": Rule(
        "one value",
        "GRPO alone; `sft` is refused",
        fault=_refuse(
            lambda config: config.run.method != "grpo", "with verl there is GRPO alone. Train with --engine videossr"
        ),
    ),
    "run.batch": Rule("set", "`train_batch_size`", lambda config: {"data.train_batch_size": config.run.batch}),
    "run.epochs": Rule(
        "set", "`total_training_steps`: passes of whole batches, since verl leaves out the rest of a pass"
    ),
    "run.steps": Rule("set", "`total_training_steps`"),
    "run.seed": Rule(
        "set",
        "of the order of the rows and of sampling; batches and answers are others than those of our trainer",
        lambda config: {"data.seed": config.run.seed, f"{ROLLOUT}.seed": config.run.seed},
        _refuse(
            lambda config: config.run.seed > LARGEST_SEED, f"workers of verl take a seed of at most {LARGEST_SEED}"
        ),
    ),
    "run.device": Rule(
        "one value",
        "`auto` and `cuda`; any other is refused",
        fault=_refuse(
            lambda config: config.run.device not in ("auto", "cuda"),
            f"verl trains on GPUs of CUDA, of which it counts --gpus on each node. Leave it out, {_OURS}",
        ),
    ),
    "run.dtype": Rule(
        "set", "`float32`: FSDP and vLLM in float32, attention by PyTorch, padded batches; else verl's bfloat16", _dtype
    ),
    "run.share_prefix": Rule(
        "no effect", "verl reads the prompt of a group again for each answer; vLLM samples behind a cached one"
    ),
    "run.rows": Rule(
        "no effect",
        "answers at once are 4 at most, `--verl.actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu`",
    ),
    "run.decode_groups": Rule("no effect", "vLLM fills its own batches"),
    "run.recompute": Rule(
        "set",
        "`enable_gradient_checkpointing`",
        lambda config: {f"{MODEL}.enable_gradient_checkpointing": config.run.recompute},
    ),
    "run.offload_activations": Rule(
        "set",
        "`enable_activation_offload`",
        lambda config: {f"{MODEL}.enable_activation_offload": config.run.offload_activations},
    ),
    "run.sharding": Rule("no effect", "verl always shards with FSDP"),
    "run.memory_gib": Rule(
        "one value",
        "must be unset: verl and vLLM share a card by `--verl.actor_rollout_ref.rollout.gpu_memory_utilization`",
        fault=_refuse(lambda config: config.run.memory_gib is not None, f"verl plans no memory. Leave it out, {_TUNE}"),
    ),
    "run.peak_tflops": Rule("no effect", "verl knows the peaks of GPUs itself; its MFU is of the update alone"),
    "grpo.rollouts": Rule("set", "`rollout.n`", lambda config: {f"{ROLLOUT}.n": config.grpo.rollouts}),
    "grpo.max_tokens": Rule(
        "set", "`max_response_length`", lambda config: {"data.max_response_length": config.grpo.max_tokens}
    ),
    "grpo.temperature": Rule(
        "set",
        "`temperature`, with `top_p` 1 and `top_k` -1",
        lambda config: {
            f"{ROLLOUT}.temperature": config.grpo.temperature,
            f"{ROLLOUT}.top_p": 1.0,
            f"{ROLLOUT}.top_k": -1,
        },
    ),
    "grpo.reward": Rule(
        "set",
        "`reward_kwargs` of `compute_score`",
        lambda config: {"+reward.custom_reward_function.reward_kwargs.reward": config.grpo.reward},
    ),
    "grpo.scale": Rule(
        "set",
        "`norm_adv_by_std_in_grpo`",
        lambda config: {"algorithm.norm_adv_by_std_in_grpo": config.grpo.scale == "group"},
    ),
    "grpo.aggregate": Rule(
        "set",
        "`loss_agg_mode`: `token-mean`, `seq-mean-token-mean`, or `seq-mean-token-sum-norm` over `max_tokens`",
        lambda config: {
            f"{ACTOR}.loss_agg_mode": _AGGREGATE[config.grpo.aggregate],
            f"{ACTOR}.loss_scale_factor": config.grpo.max_tokens if config.grpo.aggregate == "constant" else None,
        },
    ),
    "grpo.clip_low": Rule("set", "`clip_ratio_low`", lambda config: {f"{ACTOR}.clip_ratio_low": config.grpo.clip_low}),
    "grpo.clip_high": Rule(
        "set", "`clip_ratio_high`", lambda config: {f"{ACTOR}.clip_ratio_high": config.grpo.clip_high}
    ),
    "grpo.updates": Rule(
        "set",
        "`ppo_mini_batch_size`; above 1 verl's dual clip (3) acts as well, and its learning rate moves once a step",
        lambda config: {f"{ACTOR}.ppo_mini_batch_size": config.run.batch // config.grpo.updates},
        _refuse(
            lambda config: config.run.batch % config.grpo.updates,
            "verl wants equal parts of a batch: choose a divisor of run.batch",
        ),
    ),
    "grpo.kl": Rule(
        "set",
        "`kl_loss_coef`; 0: `use_kl_loss=false`",
        lambda config: {f"{ACTOR}.use_kl_loss": config.has_kl, f"{ACTOR}.kl_loss_coef": config.grpo.kl},
    ),
    "grpo.kl_estimator": Rule(
        "set",
        "`kl_loss_type`: `low_var_kl`, `k1`, `k2`",
        lambda config: {f"{ACTOR}.kl_loss_type": _KL[config.grpo.kl_estimator]},
    ),
    "grpo.drop_noise": Rule(
        "one value",
        "`true` is refused",
        fault=_refuse(
            lambda config: config.grpo.drop_noise,
            f"verl has no filter for such groups. Choose --grpo.drop_noise=false, {_OURS}",
        ),
    ),
    "grpo.drop_truncated": Rule(
        "one value",
        "`true` is refused",
        fault=_refuse(
            lambda config: config.grpo.drop_truncated,
            f"verl 0.9.1 leaves out no answers that were cut off. Choose --grpo.drop_truncated=false, {_OURS}",
        ),
    ),
    "grpo.dynamic_sampling": Rule(
        "set",
        "above 1: `filter_groups` by the reward; verl asks without bound until a step has `run.batch` groups",
        _filter,
        note=lambda config: (
            "verl asks until enough groups have different rewards, however many batches that takes"
            if config.grpo.dynamic_sampling > 1
            else ""
        ),
    ),
    "optim.lr": Rule("set", "`lr`", lambda config: {f"{ACTOR}.optim.lr": config.optim.lr}),
    "optim.betas": Rule("set", "`betas`", lambda config: {f"{ACTOR}.optim.betas": [*config.optim.betas]}),
    "optim.eps": Rule(
        "set",
        "`override_optimizer_config`",
        lambda config: {f"+{ACTOR}.optim.override_optimizer_config.eps": config.optim.eps},
    ),
    "optim.weight_decay": Rule(
        "set", "`weight_decay`", lambda config: {f"{ACTOR}.optim.weight_decay": config.optim.weight_decay}
    ),
    "optim.clip_norm": Rule("set", "`clip_grad`", lambda config: {f"{ACTOR}.optim.clip_grad": config.optim.clip_norm}),
    "optim.schedule": Rule(
        "set",
        "`lr_scheduler_type`; `linear` is refused",
        lambda config: {f"{ACTOR}.optim.lr_scheduler_type": config.optim.schedule},
        _refuse(
            lambda config: config.optim.schedule == "linear",
            f"verl has constant and cosine for FSDP. Choose one of them, {_OURS}",
        ),
    ),
    "optim.warmup": Rule(
        "set",
        "`lr_warmup_steps`: the full rate is reached at the same step, but verl's first step has rate 0",
        lambda config: {f"{ACTOR}.optim.lr_warmup_steps": config.optim.warmup},
    ),
    "optim.weights": Rule(
        "one value",
        "`master`, as verl does it; `stochastic` and `plain` are refused, unless `run.dtype` is `float32`",
        fault=_refuse(
            lambda config: config.optim.weights != "master" and config.run.dtype != "float32",
            f"verl keeps float32 masters, in parts on all cards. Choose --optim.weights=master, {_OURS}",
        ),
    ),
    "optim.moments": Rule(
        "set",
        "`float32`, or `offload`: `optimizer_offload`; `8bit` is refused",
        lambda config: {f"{ACTOR}.fsdp_config.optimizer_offload": config.optim.moments == "offload"},
        _refuse(
            lambda config: config.optim.moments == "8bit",
            "verl's FSDP was not tried with the optimizer of torchao. Its float32 moments lie in parts on all cards: "
            f"choose --optim.moments=float32 or offload, {_OURS}",
        ),
    ),
    "log.save_every": Rule("set", "`save_freq`; 0: the last step alone"),
    "log.keep": Rule(
        "set", "`max_actor_ckpt_to_keep`", lambda config: {"trainer.max_actor_ckpt_to_keep": config.log.keep}
    ),
    "log.samples_every": Rule(
        "no effect", "no sample answers are kept; `--verl.trainer.rollout_data_dir=FOLDER` writes all of verl's"
    ),
    "log.trackers": Rule(
        "set", f"`logger`; others than {', '.join(TRACKERS)} are refused", _trackers, _unknown_tracker
    ),
    "log.project": Rule("set", "`project_name`", lambda config: {"trainer.project_name": config.log.project}),
}
"""What becomes of each key of `TrainConfig`. The length of a run is set where the number of rows is known."""
