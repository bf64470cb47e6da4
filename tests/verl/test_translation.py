"""Every key of a configuration is translated to verl, decides the rows, has no meaning there, or is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from videossr.errors import ConfigError
from videossr.export.trainer import Cluster
from videossr.training.config import TrainConfig, keys, load_config
from videossr.verl.rules import RULES, Overrides
from videossr.verl.settings import Rows, check_own, settings_of, total_steps, word
from videossr.verl.translation import translate, value_of

ROWS = Rows(640, 8192)

KEYS = sorted({key for key in keys() if not key.startswith("data.sets.")} - {"model.lora"} | {"data.sets"})
"""All keys that have a value: adapters are a table of keys. A mixture is taken as one."""

LABELLED: dict[str, Any] = {
    "data.source": "videossr/choice",
    "data.video.fps": 1.0,
    "data.video.max_frames": 8,
    "data.video.nframes": 8,
    "data.video.max_pixels": 4096,
    "data.video.min_pixels": 4096,
    "data.video.total_pixels": 65536,
    "data.sets": {"mine": {"path": "mine.jsonl"}},
}
"""Keys for labelled rows, of which verl takes no value."""

OTHER: dict[str, Any] = {
    "model.path": "other",
    "model.layout": "wrapped",
    "model.train_vision": False,
    "model.lora.rank": 8,
    "model.lora.alpha": 8,
    "model.lora.targets": "q_proj",
    "data.path": "other",
    "data.corpus": "other",
    "data.anywhere": True,
    **LABELLED,
    "data.categories": ["jigsaw/6"],
    "data.share": [0.0, 0.5],
    "data.mix": "even",
    "data.threads": 2,
    "data.ahead_mb": 64,
    "run.engine": "verl",
    "run.method": "sft",
    "run.batch": 32,
    "run.epochs": 2.0,
    "run.steps": 3,
    "run.seed": 1,
    "run.device": "cpu",
    "run.dtype": "float32",
    "run.share_prefix": False,
    "run.rows": 2,
    "run.decode_groups": 2,
    "run.recompute": False,
    "run.offload_activations": True,
    "run.sharding": "none",
    "run.memory_gib": 10.0,
    "run.peak_tflops": 100.0,
    "grpo.rollouts": 4,
    "grpo.max_tokens": 32,
    "grpo.temperature": 0.5,
    "grpo.reward": "strict",
    "grpo.scale": "none",
    "grpo.aggregate": "answer",
    "grpo.clip_low": 0.1,
    "grpo.clip_high": 0.28,
    "grpo.updates": 2,
    "grpo.kl": 0.0,
    "grpo.kl_estimator": "squared",
    "grpo.drop_noise": True,
    "grpo.drop_truncated": True,
    "grpo.dynamic_sampling": 10,
    "optim.lr": 1e-5,
    "optim.betas": [0.9, 0.95],
    "optim.eps": 1e-6,
    "optim.weight_decay": 0.1,
    "optim.clip_norm": 0.5,
    "optim.schedule": "cosine",
    "optim.warmup": 5,
    "optim.weights": "stochastic",
    "optim.moments": "offload",
    "log.save_every": 7,
    "log.keep": 5,
    "log.samples_every": 3,
    "log.trackers": ["wandb"],
    "log.project": "other",
}
"""For each key a value that `train-paper` does not have."""

REFUSED = {
    "model.layout": "wrapped",
    "model.train_vision": False,
    **LABELLED,
    "data.mix": "single",
    "run.method": "sft",
    "run.seed": 2**40,
    "run.device": "mps",
    "run.memory_gib": 10.0,
    "grpo.updates": 3,
    "grpo.drop_noise": True,
    "grpo.drop_truncated": True,
    "optim.schedule": "linear",
    "optim.weights": "plain",
    "optim.moments": "8bit",
    "log.trackers": ["dvclive"],
}


def changed(**settings: Any) -> TrainConfig:
    return load_config("train-paper", {name.replace("__", "."): value for name, value in settings.items()})


def other(key: str) -> TrainConfig:
    """Return `train-paper` with another value of one key."""
    return load_config("train-paper", {key: OTHER[key]})


def settings(config: TrainConfig) -> Overrides:
    return settings_of(config, translate(config), Cluster(1, 8), ROWS, "/here")


def test_every_key_has_one_rule() -> None:
    assert sorted(RULES) == KEYS == sorted(OTHER)


@pytest.mark.parametrize("key", KEYS)
def test_another_value_of_a_key_changes_what_its_rule_says(key: str) -> None:
    config = other(key)
    assert value_of(config, key) != value_of(changed(), key)
    kind = RULES[key].kind
    if kind == "one value" or key == "model.train_vision":
        with pytest.raises(ConfigError, match=f"^{key}="):
            translate(config)
    elif kind == "set":
        assert settings(config) != settings(changed())
    else:
        assert settings(config) == settings(changed())


@pytest.mark.parametrize("key", REFUSED)
def test_a_refusal_names_the_key_the_value_and_a_way_out(key: str) -> None:
    value = REFUSED[key]
    with pytest.raises(ConfigError) as refused:
        translate(load_config("train-paper", {key: value}))
    message = str(refused.value)
    shown = ", ".join(value) if isinstance(value, dict) else str(tuple(value) if isinstance(value, list) else value)
    assert message.startswith(f"{key}={shown.lower() if isinstance(value, bool) else shown}: ")
    assert any(
        words in message for words in ("--engine videossr", "--verl.", "Take ", "at most", "choose", "Leave it out")
    )


def test_only_rules_that_say_so_refuse_anything() -> None:
    """A rule that refuses a value is in the test above with one."""
    plain = changed()
    refusing = {key for key, rule in RULES.items() if any(rule.fault(load) for load in _many())}
    assert refusing == set(REFUSED)
    assert not any(rule.fault(plain) for rule in RULES.values())


def _many() -> list[TrainConfig]:
    return [load_config("train-paper", {key: value}) for key, value in REFUSED.items()] + [other(key) for key in OTHER]


def test_recipes_of_one_card_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"optim.weights=stochastic: .*--optim.weights=master"):
        translate(load_config("train-1xh200"))
    with pytest.raises(ConfigError, match=r"run.method=sft: .*--engine videossr"):
        translate(load_config("train-nano-sft"))


def test_adapters_are_merged_for_the_engine_that_samples() -> None:
    config = changed(model__lora__rank=8, model__train_vision=False)
    made = translate(config)
    assert {
        "actor_rollout_ref.model.lora_rank": 8,
        "actor_rollout_ref.model.lora_alpha": 16,
        "actor_rollout_ref.model.lora.merge": True,
        "actor_rollout_ref.model.target_modules": "all-linear",
        "actor_rollout_ref.model.exclude_modules": ".*visual.*",
    }.items() <= made.settings.items()
    assert any("adapters beside the model" in note for note in made.notes)


def test_dynamic_sampling_says_that_verl_has_no_bound() -> None:
    made = translate(changed(grpo__dynamic_sampling=10))
    assert made.settings["algorithm.filter_groups.enable"] is True
    assert made.settings["+trainer.v1.sampler.sampler_kwargs.filter_groups"] is True
    assert any("grpo.dynamic_sampling=10" in note for note in made.notes)


@pytest.mark.parametrize(
    ("epochs", "rows", "steps"),
    [(1.0, 640, 10), (1.0, 650, 10), (1.5, 640, 15), (0.01, 640, 1), (3.0, 127, 3)],
)
def test_total_steps_are_of_whole_batches(epochs: float, rows: int, steps: int) -> None:
    assert total_steps(changed(run__epochs=epochs), rows) == steps


def test_a_run_that_saves_only_the_last_step_saves_it() -> None:
    assert settings(changed(log__save_every=0))["trainer.save_freq"] == 10


@pytest.mark.parametrize(
    ("name", "way_out"),
    [
        ("actor_rollout_ref.actor.optim.lr", "Set --optim.lr"),
        ("+reward.custom_reward_function.reward_kwargs.reward", "Set --grpo.reward"),
        ("trainer.n_gpus_per_node", "Set --gpus"),
        ("actor_rollout_ref.actor.optim", "Set one key of it by itself"),
        ("trainer", "Set one key of it by itself"),
        ("trainer.default_local_dir", "it must stay as it is"),
        ("trainer.v1.sampler.custom_sampler.path", "it must stay as it is"),
    ],
)
def test_settings_of_verl_that_are_decided_elsewhere_are_refused(name: str, way_out: str) -> None:
    check_own({"actor_rollout_ref.rollout.gpu_memory_utilization": "0.4"}, translate(changed()))
    with pytest.raises(ConfigError, match=way_out):
        check_own({name: "1"}, translate(changed()))


def test_words_are_quoted_where_hydra_would_read_more_than_a_word() -> None:
    assert word("a", "constant") == "a=constant"
    assert word("a", [0.9, "x y", None]) == "a=[0.9,'x y',null]"
    assert word("a", True) == "a=True"
    assert word("a", "/x y=z") == "a='/x y=z'"
    assert word("a", "it's") == r"a='it\'s'"
    assert word("a", "b\\'\\") == r"a='b\\\'\\'"
    with pytest.raises(ConfigError, match="takes for a reference to a setting"):
        word("a", "/x/${b}")
    assert word("a", "null") == "a='null'"
