"""Whole training runs of a tiny model: the files that they write, resuming, and errors."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.helpers.training import CATEGORIES, RecordingObserver
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.errors import VideoSSRError
from videossr.models.tiny import make_tiny
from videossr.templates import load_templates
from videossr.training.config import TrainConfig, load_config, names
from videossr.training.runs.observer import SilentObserver
from videossr.training.runs.records import CONFIG, MANIFEST, Step, TrainRun
from videossr.training.session import train
from videossr.video.plan import Plan

Make = Callable[..., TrainConfig]


def comparable_steps(run: TrainRun) -> list[Step]:
    """Return the steps of a run without times and memory, which do not repeat."""
    return [replace(step, seconds={}, wall=0, prompts_per_second=0, mfu=None, memory_gib=0) for step in run.steps]


def load_weights(run: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(run / "model/model.safetensors")
    return tensors


def have_equal_weights(one: Path, other: Path) -> bool:
    weights, other_weights = load_weights(one), load_weights(other)
    return weights.keys() == other_weights.keys() and all(
        torch.equal(weights[name], other_weights[name]) for name in weights
    )


class StoppedError(Exception):
    """Stops a run as if the machine had been switched off."""


class StopAt(SilentObserver):
    """Stop a run after a step."""

    def __init__(self, number: int) -> None:
        self._number = number

    def on_step(self, step: Step, total: int) -> None:
        if step.step == self._number:
            raise StoppedError


def test_train_writes_steps_samples_checkpoints_and_a_manifest(config: Make, model: Path, tmp_path: Path) -> None:
    observer = RecordingObserver()
    run = train(config(), tmp_path / "run", observer=observer)
    assert [(step.step, total) for step, total in observer.steps] == [(step, 6) for step in range(1, 7)]
    assert observer.groups == [(group, 3) for _ in range(6) for group in (1, 2, 3)]
    assert run.manifest is not None
    assert run.manifest.steps == 6
    gib_used = run.manifest.describe["GiB used"]
    assert gib_used == round(max(known(step.memory_gib) for step in run.steps), 3), (
        "steps and the run report the same figure"
    )
    assert run.manifest.describe["full forward passes"] == "none: prefixes are shared"
    assert [step.epoch for step in run.steps] == pytest.approx([step / 3 for step in range(1, 7)])
    for step in run.steps:
        assert step.all is not None
        assert step.all.groups == 3
        assert sum(means.groups for means in step.categories.values()) == 3
        assert set(step.categories) <= set(CATEGORIES)
        assert known(step.gap) < 1e-4
        assert known(step.changed) > 0.9
        assert step.lr == 1e-3
        assert known(step.all.entropy) > 0
        assert sum(step.seconds.values()) <= step.wall * 1.05
        assert {"vision", "prefill", "decode", "reference", "loss", "optimizer"} <= set(step.seconds)
    assert run.steps[0].all is not None
    assert run.steps[0].all.kl == pytest.approx(0, abs=1e-6)
    assert {sample.step for sample in run.shown} == {1, 2, 4, 6}
    assert all((tmp_path / "run/samples" / sample.frames).exists() for sample in run.shown)
    assert all(len(sample.texts) == len(sample.advantages) == 4 for sample in run.shown)
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == ["step-000004", "step-000006"]
    trained = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "run/model")
    source = transformers.AutoModelForImageTextToText.from_pretrained(model)
    moved = [
        name
        for name, parameter in trained.named_parameters()
        if not torch.equal(parameter, dict(source.named_parameters())[name])
    ]
    assert len(moved) > 0.9 * len(dict(source.named_parameters()))
    assert train(config(), tmp_path / "run").steps == run.steps  # nothing is left to do


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model.lora": "{rank = 4, alpha = 8}"},
        {"run.dtype": "bfloat16", "optim.weights": "stochastic"},
        {"run.dtype": "bfloat16", "optim.weights": "master"},
        {"run.method": "sft"},
        {"grpo.updates": 2, "optim.schedule": "cosine", "optim.warmup": 2},
        {"grpo.updates": 2, "grpo.dynamic_sampling": 2, "run.epochs": 4},
    ],
)
def test_train_resumes_a_stopped_run_exactly(config: Make, tmp_path: Path, changes: dict[str, Any]) -> None:
    whole = train(config(**changes), tmp_path / "whole")
    for number in (1, 3):
        with pytest.raises(StoppedError):
            train(config(**changes), tmp_path / "part", observer=StopAt(number))
    resumed = train(config(**changes), tmp_path / "part")
    assert comparable_steps(resumed) == comparable_steps(whole)
    assert have_equal_weights(tmp_path / "part", tmp_path / "whole")
    assert len({step.loss for step in resumed.steps}) > 3
    assert any(step.all is None or step.all.smooth > 0 for step in resumed.steps)


class StopWhenLoaded(SilentObserver):
    """Stop a run that resumes, before its first step."""

    def on_message(self, text: str) -> None:
        if text.startswith("goes on from"):
            raise StoppedError


def test_train_extends_a_run_and_refuses_to_shorten_it(config: Make, tmp_path: Path) -> None:
    whole = train(config(), tmp_path / "whole")
    assert len(whole.steps) == 6
    assert train(config(run__steps=3), tmp_path / "part").manifest is not None
    with pytest.raises(ValueError, match="has made 3 steps, more than are asked for now"):
        train(config(run__steps=2), tmp_path / "part")
    before = {name: (tmp_path / "part" / name).read_bytes() for name in (CONFIG, MANIFEST)}
    with pytest.raises(StoppedError):  # the files of a complete run stay until the longer run makes a step
        train(config(), tmp_path / "part", observer=StopWhenLoaded())
    assert {name: (tmp_path / "part" / name).read_bytes() for name in (CONFIG, MANIFEST)} == before
    longer = train(config(), tmp_path / "part")
    assert longer.config.run.steps is None
    assert longer.manifest is not None
    assert longer.manifest.steps == 6
    assert comparable_steps(longer) == comparable_steps(whole)
    assert have_equal_weights(tmp_path / "part", tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(config(), tmp_path / "sooner", observer=StopAt(4))
    sooner = train(config(run__steps=3), tmp_path / "sooner")
    assert comparable_steps(sooner) == comparable_steps(whole)[:3]


def test_train_refuses_another_number_of_steps_with_a_schedule(config: Make, tmp_path: Path) -> None:
    falling = {"optim__schedule": "linear", "run__method": "sft"}
    train(config(**falling, run__steps=2), tmp_path / "run")
    # Other epochs do not change the number of steps.
    assert train(config(**falling, run__steps=2, run__epochs=5), tmp_path / "run").manifest is not None
    with pytest.raises(ValueError, match=r"run\.steps is 2 there, 3 now; the rate is linear, which depends on them\."):
        train(config(**falling, run__steps=3), tmp_path / "run")


def test_train_with_and_without_share_prefix_has_the_same_losses(config: Make, tmp_path: Path) -> None:
    """Supervised steps sample no answers, so both runs see the same."""
    observer = RecordingObserver()
    shared = train(config(run__method="sft"), tmp_path / "on", observer=observer)
    assert not any("full forward passes" in text for text in observer.messages)
    unshared = train(config(run__method="sft", run__share_prefix="false"), tmp_path / "off", observer=observer)
    assert "full forward passes, answer by answer: run.share_prefix is off" in observer.messages
    assert [step.loss for step in shared.steps] == pytest.approx([step.loss for step in unshared.steps], rel=1e-4)


@pytest.mark.parametrize(
    "changes", [{"run.decode_groups": 3}, {"run.recompute": "true"}, {"run.share_prefix": "false"}]
)
def test_train_has_a_small_gap_with_other_ways_of_computing(
    config: Make, tmp_path: Path, changes: dict[str, Any]
) -> None:
    run = train(config(**changes), tmp_path / "run")
    assert all(known(step.gap) < 1e-4 for step in run.steps)


def test_train_draws_the_same_answers_whatever_decode_groups_is(config: Make, tmp_path: Path) -> None:
    one_by_one = train(config(run__steps=2), tmp_path / "one")
    together = train(config(run__steps=2, run__decode_groups=3, run__recompute="true"), tmp_path / "all")
    assert [sample.texts for sample in one_by_one.shown] == [sample.texts for sample in together.shown]
    assert [step.loss for step in one_by_one.steps] == pytest.approx([step.loss for step in together.steps], abs=1e-5)


def test_train_skips_steps_of_equal_rewards(config: Make, raw: Path, tmp_path: Path) -> None:
    """A model with random weights is never exactly right."""
    train_config = config(model__path=f'"{raw}"', grpo__reward="strict", grpo__kl=0, run__steps=2)
    run = train(train_config, tmp_path / "run")
    assert [step.skipped for step in run.steps] == ["in every group that counts all rewards are equal"] * 2
    assert all(step.changed == 0 and step.all and step.all.zero_variance == 1 for step in run.steps)
    dynamic = replace(train_config, grpo=replace(train_config.grpo, dynamic_sampling=2))
    assert [step.skipped for step in train(dynamic, tmp_path / "filled").steps] == ["every answer is left out"] * 2
    with_kl = train(config(model__path=f'"{raw}"', grpo__reward="strict", run__steps=2), tmp_path / "held")
    assert [step.skipped for step in with_kl.steps] == ["in every group that counts all rewards are equal"] * 2
    assert all(step.changed == 0 for step in with_kl.steps)


def count_differing_groups(step: Step) -> int:
    """Return how many groups of a step have rewards that differ."""
    assert step.all is not None
    return round(step.all.groups * (1 - step.all.zero_variance))


def test_dynamic_sampling_draws_batches_until_enough_groups_differ(config: Make, tmp_path: Path) -> None:
    train_config = config(grpo__reward="strict", grpo__dynamic_sampling=3, run__epochs=6)
    run = train(train_config, tmp_path / "run")
    batches_per_step = [
        after - before for before, after in itertools.pairwise([0, *(asked_batches(step) for step in run.steps)])
    ]
    assert run.manifest is not None
    assert run.manifest.steps == len(run.steps) == run.steps[-1].step < 18
    assert 18 <= asked_batches(run.steps[-1]) < 18 + 3
    assert len({*batches_per_step}) > 1
    for step, batches in zip(run.steps, batches_per_step, strict=True):
        assert step.all is not None
        assert step.all.groups == 3 * batches
        assert step.epoch == pytest.approx(asked_batches(step) / 3)
        assert count_differing_groups(step) >= 3 or batches == 3
        assert count_differing_groups(step) < 3 or batches == 1 or count_differing_groups(step) < 6
    assert train(train_config, tmp_path / "run") == run
    with pytest.raises(ValueError, match=f"has made {len(run.steps)} steps, more than are asked for now"):
        train(replace(train_config, run=replace(train_config.run, epochs=3)), tmp_path / "run")
    for epochs in (1, 3, 6):
        shorter_first = train(replace(train_config, run=replace(train_config.run, epochs=epochs)), tmp_path / "again")
    assert comparable_steps(shorter_first) == comparable_steps(run)
    assert have_equal_weights(tmp_path / "again", tmp_path / "run")


def test_dynamic_sampling_leaves_groups_without_variance_out_of_the_loss(config: Make, tmp_path: Path) -> None:
    """With a learning rate of 0, one filled step draws the same groups as several plain steps.

    Seeds are tried until some of the drawn groups differ and others do not. Losses are divided by a constant, so that
    they can be compared.
    """
    settings = {"grpo__kl": 0, "grpo__aggregate": "constant", "grpo__temperature": 0.7, "optim__lr": 0}
    for seed in range(20):
        train_config = config(**settings, run__seed=seed, run__steps=1, grpo__dynamic_sampling=3)
        (filled,) = train(train_config, tmp_path / f"filled{seed}").steps
        assert filled.all is not None
        batches = asked_batches(filled)
        if batches > 1 and 0 < count_differing_groups(filled) < filled.all.groups and abs(filled.loss) > 1e-4:
            break
    else:
        pytest.fail("no seed draws such groups")
    plain_steps = train(config(**settings, run__seed=seed, run__steps=3), tmp_path / "plain").steps[:batches]
    assert filled.skipped == ""
    assert filled.all.groups == 3 * batches
    assert count_differing_groups(filled) == sum(map(count_differing_groups, plain_steps))
    assert filled.loss * count_differing_groups(filled) == pytest.approx(
        3 * sum(step.loss for step in plain_steps), rel=1e-5
    )


def test_train_records_questions_of_a_damaged_pack_as_failures(config: Make, small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small / "corpus", copy / "corpus")
    shutil.copytree(small / "data", copy / "data")
    pack = max((copy / "corpus/packs").iterdir(), key=lambda path: path.stat().st_size)
    frames = bytearray(pack.read_bytes())
    frames[-len(frames) // 8] ^= 0xFF  # in the frames of the last of its videos
    pack.write_bytes(frames)
    run = train(config(data__path=f'"{copy / "data"}"', data__corpus=f'"{copy / "corpus"}"'), tmp_path / "run")
    assert run.manifest is not None
    assert run.failures
    assert sum(step.failed for step in run.steps) == len(run.failures)
    assert all(pack.name in failure.error for failure in run.failures)
    assert len(run.failures) < 18


def test_train_refuses_data_of_which_no_question_can_be_shown(config: Make, small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small, copy)
    for pack in (copy / "corpus").rglob("*.pack"):
        pack.write_bytes(b"")
    with pytest.raises(ValueError, match="data: not one of its first questions can be shown: "):
        train(config(data__path=f'"{copy / "data"}"', data__corpus=f'"{copy / "corpus"}"'), tmp_path / "run")


def copy_with_nan_weight(model: Path, to: Path) -> Path:
    shutil.copytree(model, to)
    tensors = load_file(to / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layers.1.mlp.down_proj.weight"))
    tensors[name][0, 0] = torch.nan
    save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})
    return to


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.path": ""}, "model.path is not set: give --model.path=FOLDER"),
        ({"data.path": ""}, "data.path is not set"),
        ({"data.path": "nowhere"}, "nowhere"),
        ({"model.path": "nowhere"}, "nowhere: no such folder"),
        ({"data.categories": '["jigsaw/9"]'}, "there is no 'jigsaw/9'"),
        ({"run.device": "gpu"}, "device=gpu"),
        ({"model.layout": "odd"}, "odd"),
        ({"log.trackers": '["odd"]'}, "odd is not installed. Installed: "),
        ({"run.memory_gib": 0.01}, "GiB of 0.0"),
    ],
)
def test_train_refuses_invalid_settings_before_it_writes(
    config: Make, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((VideoSSRError, OSError)) as raised:
        train(config(**changes), tmp_path / "run")
    assert message in str(raised.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("folder_exists", [False, True])
def test_train_leaves_the_folder_free_after_refusing_a_checkpoint(
    config: Make, model: Path, tmp_path: Path, folder_exists: bool
) -> None:
    out = tmp_path / "run"
    if folder_exists:
        out.mkdir()
    bad = copy_with_nan_weight(model, tmp_path / "bad")
    with pytest.raises(ValueError, match="weights hold values that are not finite"):
        train(config(model__path=f'"{bad}"'), out)
    assert out.exists() == folder_exists
    assert not folder_exists or not [*out.iterdir()]
    assert train(config(run__steps=1), out).manifest is not None, "the same --out can be used with a sound checkpoint"


def test_train_says_how_to_go_on_where_memory_ends(config: Make, tmp_path: Path) -> None:
    class Greedy(SilentObserver):
        def on_group(self, done: int, total: int) -> None:
            if list((tmp_path / "run/checkpoints").glob("*")):
                torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(ValueError, match=r"memory has ended: .*recompute=true.*last checkpoint is .*step-000002"):
        train(config(), tmp_path / "run", observer=Greedy())
    assert len(train(config(run__recompute="true"), tmp_path / "run").steps) == 6


def test_train_refuses_a_clock_that_the_model_family_cannot_express(config: Make, videos: Path, tmp_path: Path) -> None:
    """Qwen2.5-VL can only express equal steps; a clock of the plan `snap`, moved to key frames, has others."""
    index_videos(videos / "edge/plain.mp4", tmp_path / "corpus", Plan(kind="snap", frames=16, max_pixels=4096))
    mirror = CATEGORIES["grounding/mirror"]
    uneven = {"grounding/mirror": {**mirror, "config": {**mirror["config"], "gates": False}}}
    mixture = recipe.ResolvedRecipe(Recipe(name="uneven", max_pixels=4096, categories=uneven), "uneven")
    build_dataset(mixture, Corpus(tmp_path / "corpus"), tmp_path / "data", templates=load_templates())
    other = make_tiny(tmp_path / "other", family="qwen2_5_vl", width=64, layers=2)
    train_config = config(model__path=f'"{other}"', data__path=f'"{tmp_path / "data"}"')
    with pytest.raises(ValueError, match=r"data, category grounding/mirror: .*can express equal steps only"):
        train(train_config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_train_refuses_to_resume_with_another_learning_rate(config: Make, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(config(), tmp_path / "run", observer=StopAt(2))
    with pytest.raises(ValueError, match=r"optim.lr is 0.001 there, 0.01 now.*Choose another --out"):
        train(config(optim__lr=0.01), tmp_path / "run")
    train(config(log__save_every=3, data__threads=2), tmp_path / "run")


def test_train_refuses_to_resume_with_other_questions(config: Make, small: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(config(), tmp_path / "run", observer=StopAt(3))
    build_dataset(
        recipe.ResolvedRecipe(Recipe(name="small", max_pixels=4096, categories=CATEGORIES), "small"),
        Corpus(small / "corpus"),
        tmp_path / "other",
        templates=load_templates(),
        seed=1,
    )
    other = config(data__path=f'"{tmp_path / "other"}"')
    with pytest.raises(ValueError, match="was trained on other questions than"):
        train(other, tmp_path / "run")
    train(config(), tmp_path / "run")  # a complete run also refuses other questions
    with pytest.raises(ValueError, match=r"run was trained on other questions than .*other now; choose another"):
        train(other, tmp_path / "run")


def test_training_recipes_load_and_train_paper_has_the_papers_values() -> None:
    assert {"train-paper", "train-1xh200"} <= set(names())
    for name in names():
        load_config(name)
    paper = load_config("train-paper")
    assert (paper.run.batch, paper.grpo.rollouts, paper.grpo.kl, paper.optim.lr) == (64, 8, 1e-3, 1e-6)
    assert (paper.grpo.clip_low, paper.grpo.aggregate, paper.optim.clip_norm) == (0.2, "token", 1.0)


def test_train_warns_of_training_on_a_benchmark(config: Make, small: Path, tmp_path: Path) -> None:
    mixture = recipe.ResolvedRecipe(
        Recipe(name="frozen", benchmark=True, max_pixels=4096, categories=CATEGORIES), "frozen"
    )
    build_dataset(mixture, Corpus(small / "corpus"), tmp_path / "frozen", templates=load_templates())
    observer = RecordingObserver()
    train_config = config(data__path=f'"{tmp_path / "frozen"}"', run__steps=1)
    train(train_config, tmp_path / "run", observer=observer)
    warning = f"{tmp_path / 'frozen'} is a benchmark: it cannot measure a model that was trained on it"
    assert warning in observer.messages


def test_train_writes_metrics_to_trackers(config: Make, tmp_path: Path) -> None:
    train(config(log__trackers='["tensorboard"]', run__steps=2), tmp_path / "run")
    written = b"".join(path.read_bytes() for path in (tmp_path / "run/videossr").rglob("events.*"))
    assert b"optim.lr" in written
    assert b"jigsaw" in written


def test_train_finishes_its_step_and_saves_on_sigterm(config: Make, tmp_path: Path) -> None:
    class Interrupt(SilentObserver):
        def on_step(self, step: Step, total: int) -> None:
            if step.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(config(log__save_every=0), tmp_path / "run", observer=Interrupt())
    assert str((tmp_path / "run/model").readlink()) == "checkpoints/step-000003"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    observer = RecordingObserver()
    run = train(config(log__save_every=0), tmp_path / "run", observer=observer)
    assert any("goes on from" in text for text in observer.messages)
    assert comparable_steps(run) == comparable_steps(train(config(log__save_every=0), tmp_path / "whole"))
    (tmp_path / "run/manifest.json").unlink()
    (tmp_path / "run/model").unlink()  # as if it had been killed between the last checkpoint and its name
    assert train(config(log__save_every=0), tmp_path / "run").steps == run.steps
    assert str((tmp_path / "run/model").readlink()) == "checkpoints/step-000006"


def test_train_names_a_damaged_checkpoint(config: Make, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(config(), tmp_path / "run", observer=StopAt(5))
    newest = tmp_path / "run/checkpoints/step-000004"
    state = newest / "trainer/state.pt"
    state.write_bytes(bytes(reversed(state.read_bytes())))
    with pytest.raises(ValueError, match=r"step-000004 is damaged: .*Delete it, and the same command goes on"):
        train(config(), tmp_path / "run")
    shutil.rmtree(newest)
    assert train(config(), tmp_path / "run").manifest is not None


def known(value: float | None) -> float:
    """Return a figure that our own trainer always measures."""
    assert value is not None
    return value


def asked_batches(step: Step) -> int:
    """Return the batches that were asked so far, which our own trainer always counts."""
    return int(known(step.batches))


def test_train_with_several_updates_counts_one_step_per_batch(config: Make, tmp_path: Path) -> None:
    run = train(config(grpo__updates=5, run__steps=2), tmp_path / "run")
    for step in run.steps:
        assert step.skipped == ""
        assert step.grad_norm > 0
        assert known(step.gap) < 1e-4
