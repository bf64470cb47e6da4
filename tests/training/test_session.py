"""A whole run of a tiny model on real questions: what it leaves, how it goes on, and what stops it."""

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


def figures(run: TrainRun) -> list[Step]:
    """What must repeat: all but how long it took and what memory it took."""
    return [replace(each, seconds={}, wall=0, prompts_per_second=0, mfu=None, memory_gib=0) for each in run.steps]


def weights(run: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(run / "model/model.safetensors")
    return tensors


def same(one: Path, other: Path) -> bool:
    mine, yours = weights(one), weights(other)
    return mine.keys() == yours.keys() and all(torch.equal(mine[name], yours[name]) for name in mine)


class StoppedError(Exception):
    """As if the machine had been switched off."""


class StopAt(SilentObserver):
    """Stop a run behind a step."""

    def __init__(self, number: int) -> None:
        self._number = number

    def on_step(self, step: Step, total: int) -> None:
        if step.step == self._number:
            raise StoppedError


def test_a_run_leaves_all_that_it_promises(config: Make, model: Path, tmp_path: Path) -> None:
    observer = RecordingObserver()
    done = train(config(), tmp_path / "run", observer=observer)
    assert [(step.step, total) for step, total in observer.steps] == [(step, 6) for step in range(1, 7)]
    assert observer.groups == [(group, 3) for _ in range(6) for group in (1, 2, 3)]
    assert done.manifest is not None
    assert done.manifest.steps == 6
    used = done.manifest.describe["GiB used"]
    assert used == round(max(step.memory_gib for step in done.steps), 3), "one figure, of a step and of the run"
    assert done.manifest.describe["full forward passes"] == "none: prefixes are shared"
    assert [step.epoch for step in done.steps] == pytest.approx([step / 3 for step in range(1, 7)])
    for step in done.steps:
        assert step.all is not None
        assert step.all.groups == 3
        assert sum(each.groups for each in step.categories.values()) == 3
        assert set(step.categories) <= set(CATEGORIES)
        assert step.gap < 1e-4
        assert step.changed > 0.9
        assert step.lr == 1e-3
        assert step.all.entropy > 0
        assert sum(step.seconds.values()) <= step.wall * 1.05
        assert {"vision", "prefill", "decode", "reference", "loss", "optimizer"} <= set(step.seconds)
    assert done.steps[0].all is not None
    assert done.steps[0].all.kl == pytest.approx(0, abs=1e-6)
    assert {each.step for each in done.shown} == {1, 2, 4, 6}
    assert all((tmp_path / "run/samples" / each.frames).exists() for each in done.shown)
    assert all(len(each.texts) == len(each.advantages) == 4 for each in done.shown)
    assert sorted(each.name for each in (tmp_path / "run/checkpoints").iterdir()) == ["step-000004", "step-000006"]
    trained = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "run/model")
    source = transformers.AutoModelForImageTextToText.from_pretrained(model)
    moved = [
        name
        for name, each in trained.named_parameters()
        if not torch.equal(each, dict(source.named_parameters())[name])
    ]
    assert len(moved) > 0.9 * len(dict(source.named_parameters()))
    assert train(config(), tmp_path / "run").steps == done.steps  # nothing is left to do


@pytest.mark.parametrize(
    "how",
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
def test_a_stopped_run_goes_on_exactly(config: Make, tmp_path: Path, how: dict[str, Any]) -> None:
    whole = train(config(**how), tmp_path / "whole")
    for number in (1, 3):
        with pytest.raises(StoppedError):
            train(config(**how), tmp_path / "part", observer=StopAt(number))
    done = train(config(**how), tmp_path / "part")
    assert figures(done) == figures(whole)
    assert same(tmp_path / "part", tmp_path / "whole")
    assert len({step.loss for step in done.steps}) > 3
    assert any(step.all is None or step.all.smooth > 0 for step in done.steps)


class StopWhenLoaded(SilentObserver):
    """Stop a run that resumes, before its first step."""

    def on_message(self, text: str) -> None:
        if text.startswith("goes on from"):
            raise StoppedError


def test_a_run_is_made_longer_or_ends_sooner(config: Make, tmp_path: Path) -> None:
    whole = train(config(), tmp_path / "whole")
    assert len(whole.steps) == 6
    assert train(config(run__steps=3), tmp_path / "part").manifest is not None
    with pytest.raises(ValueError, match="has made 3 steps, more than are asked for now"):
        train(config(run__steps=2), tmp_path / "part")
    before = {name: (tmp_path / "part" / name).read_bytes() for name in (CONFIG, MANIFEST)}
    with pytest.raises(StoppedError):  # and nothing is lost of a complete run before there is more of it
        train(config(), tmp_path / "part", observer=StopWhenLoaded())
    assert {name: (tmp_path / "part" / name).read_bytes() for name in (CONFIG, MANIFEST)} == before
    longer = train(config(), tmp_path / "part")
    assert longer.config.run.steps is None
    assert longer.manifest is not None
    assert longer.manifest.steps == 6
    assert figures(longer) == figures(whole)
    assert same(tmp_path / "part", tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(config(), tmp_path / "sooner", observer=StopAt(4))
    sooner = train(config(run__steps=3), tmp_path / "sooner")
    assert figures(sooner) == figures(whole)[:3]


def test_a_rate_that_falls_fixes_the_number_of_steps(config: Make, tmp_path: Path) -> None:
    falling = {"optim__schedule": "linear", "run__method": "sft"}
    train(config(**falling, run__steps=2), tmp_path / "run")
    assert train(config(**falling, run__steps=2, run__epochs=5), tmp_path / "run").manifest is not None  # as many
    with pytest.raises(ValueError, match=r"run\.steps is 2 there, 3 now; the rate is linear, which depends on them\."):
        train(config(**falling, run__steps=3), tmp_path / "run")


def test_sharing_changes_nothing_but_the_time(config: Make, tmp_path: Path) -> None:
    """Supervised steps draw nothing, so that both ways see the same."""
    observer = RecordingObserver()
    on = train(config(run__method="sft"), tmp_path / "on", observer=observer)
    assert not any("full forward passes" in text for text in observer.messages)
    off = train(config(run__method="sft", run__share_prefix="false"), tmp_path / "off", observer=observer)
    assert "full forward passes, answer by answer: run.share_prefix is off" in observer.messages
    assert [step.loss for step in on.steps] == pytest.approx([step.loss for step in off.steps], rel=1e-4)


@pytest.mark.parametrize("how", [{"run.decode_groups": 3}, {"run.recompute": "true"}, {"run.share_prefix": "false"}])
def test_other_ways_of_computing_also_certify(config: Make, tmp_path: Path, how: dict[str, Any]) -> None:
    done = train(config(**how), tmp_path / "run")
    assert all(step.gap < 1e-4 for step in done.steps)


def test_how_groups_are_decoded_does_not_change_what_is_drawn(config: Make, tmp_path: Path) -> None:
    one = train(config(run__steps=2), tmp_path / "one")
    all_ = train(config(run__steps=2, run__decode_groups=3, run__recompute="true"), tmp_path / "all")
    assert [each.texts for each in one.shown] == [each.texts for each in all_.shown]
    assert [step.loss for step in one.steps] == pytest.approx([step.loss for step in all_.steps], abs=1e-5)


def test_a_step_in_which_nothing_differs_is_skipped_without_a_kl(config: Make, raw: Path, tmp_path: Path) -> None:
    """A model that knows nothing is never exactly right."""
    ignorant = config(model__path=f'"{raw}"', grpo__reward="strict", grpo__kl=0, run__steps=2)
    done = train(ignorant, tmp_path / "run")
    assert [step.skipped for step in done.steps] == ["in every group that counts all rewards are equal"] * 2
    assert all(step.changed == 0 and step.all and step.all.zero_variance == 1 for step in done.steps)
    filled = replace(ignorant, grpo=replace(ignorant.grpo, dynamic_sampling=2))
    assert [step.skipped for step in train(filled, tmp_path / "filled").steps] == ["every answer is left out"] * 2
    held = train(config(model__path=f'"{raw}"', grpo__reward="strict", run__steps=2), tmp_path / "held")
    assert [step.skipped for step in held.steps] == ["", ""]


def differ(step: Step) -> int:
    """How many groups of a step have rewards that differ."""
    assert step.all is not None
    return round(step.all.groups * (1 - step.all.zero_variance))


def test_dynamic_sampling_asks_until_enough_groups_differ(config: Make, tmp_path: Path) -> None:
    filled = config(grpo__reward="strict", grpo__dynamic_sampling=3, run__epochs=6)
    done = train(filled, tmp_path / "run")
    asked = [after - before for before, after in itertools.pairwise([0, *(step.batches for step in done.steps)])]
    assert done.manifest is not None
    assert done.manifest.steps == len(done.steps) == done.steps[-1].step < 18
    assert 18 <= done.steps[-1].batches < 18 + 3
    assert len({*asked}) > 1
    for step, batches in zip(done.steps, asked, strict=True):
        assert step.all is not None
        assert step.all.groups == 3 * batches
        assert step.epoch == pytest.approx(step.batches / 3)
        assert differ(step) >= 3 or batches == 3
        assert differ(step) < 3 or batches == 1 or differ(step) < 6
    assert train(filled, tmp_path / "run") == done
    with pytest.raises(ValueError, match=f"has made {len(done.steps)} steps, more than are asked for now"):
        train(replace(filled, run=replace(filled.run, epochs=3)), tmp_path / "run")
    for epochs in (1, 3, 6):
        again = train(replace(filled, run=replace(filled.run, epochs=epochs)), tmp_path / "again")
    assert figures(again) == figures(done)
    assert same(tmp_path / "again", tmp_path / "run")


def test_with_dynamic_sampling_groups_without_variance_do_not_count(config: Make, tmp_path: Path) -> None:
    """Where nothing is learned, several steps draw what one does that they fill; all losses are over constants.

    What is drawn decides whether some groups differ and others do not, in answers of several lengths: seeds are tried.
    """
    one = {"grpo__kl": 0, "grpo__aggregate": "constant", "grpo__temperature": 0.7, "optim__lr": 0}
    for seed in range(20):
        filling = config(**one, run__seed=seed, run__steps=1, grpo__dynamic_sampling=3)
        (filled,) = train(filling, tmp_path / f"filled{seed}").steps
        assert filled.all is not None
        if filled.batches > 1 and 0 < differ(filled) < filled.all.groups and abs(filled.loss) > 1e-4:
            break
    else:
        pytest.fail("no seed draws such groups")
    asked = train(config(**one, run__seed=seed, run__steps=3), tmp_path / "plain").steps[: filled.batches]
    assert filled.skipped == ""
    assert filled.all.groups == 3 * filled.batches
    assert differ(filled) == sum(map(differ, asked))
    assert filled.loss * differ(filled) == pytest.approx(3 * sum(step.loss for step in asked), rel=1e-5)


def test_a_pack_that_is_damaged_in_the_middle_of_a_run(config: Make, small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small / "corpus", copy / "corpus")
    shutil.copytree(small / "data", copy / "data")
    pack = max((copy / "corpus/packs").iterdir(), key=lambda each: each.stat().st_size)
    frames = bytearray(pack.read_bytes())
    frames[-len(frames) // 8] ^= 0xFF  # in the frames of the last of its videos
    pack.write_bytes(frames)
    done = train(config(data__path=f'"{copy / "data"}"', data__corpus=f'"{copy / "corpus"}"'), tmp_path / "run")
    assert done.manifest is not None
    assert done.failures
    assert sum(step.failed for step in done.steps) == len(done.failures)
    assert all(pack.name in failure.error for failure in done.failures)
    assert len(done.failures) < 18


def test_nothing_can_be_shown(config: Make, small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small, copy)
    for pack in (copy / "corpus").rglob("*.pack"):
        pack.write_bytes(b"")
    with pytest.raises(ValueError, match="data: not one of its first questions can be shown: "):
        train(config(data__path=f'"{copy / "data"}"', data__corpus=f'"{copy / "corpus"}"'), tmp_path / "run")


def spoiled(model: Path, to: Path) -> Path:
    shutil.copytree(model, to)
    tensors = load_file(to / "model.safetensors")
    name = next(name for name in tensors if name.endswith("layers.1.mlp.down_proj.weight"))
    tensors[name][0, 0] = torch.nan
    save_file(tensors, to / "model.safetensors", metadata={"format": "pt"})
    return to


@pytest.mark.parametrize(
    ("how", "said"),
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
def test_what_cannot_be_done_is_told_first(config: Make, tmp_path: Path, how: dict[str, Any], said: str) -> None:
    with pytest.raises((VideoSSRError, OSError)) as caught:
        train(config(**how), tmp_path / "run")
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("there", [False, True])
def test_a_checkpoint_that_is_refused_leaves_the_folder_free(
    config: Make, model: Path, tmp_path: Path, there: bool
) -> None:
    out = tmp_path / "run"
    if there:
        out.mkdir()
    bad = spoiled(model, tmp_path / "bad")
    with pytest.raises(ValueError, match="weights hold values that are not finite"):
        train(config(model__path=f'"{bad}"'), out)
    assert out.exists() == there
    assert not there or not [*out.iterdir()]
    assert train(config(run__steps=1), out).manifest is not None, "the same --out takes a sound checkpoint"


def test_where_memory_ends_the_way_out_is_told(config: Make, tmp_path: Path) -> None:
    class Greedy(SilentObserver):
        def on_group(self, done: int, total: int) -> None:
            if list((tmp_path / "run/checkpoints").glob("*")):
                torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(ValueError, match=r"memory has ended: .*recompute=true.*last checkpoint is .*step-000002"):
        train(config(), tmp_path / "run", observer=Greedy())
    assert len(train(config(run__recompute="true"), tmp_path / "run").steps) == 6


def test_a_clock_that_the_family_cannot_tell(config: Make, videos: Path, tmp_path: Path) -> None:
    """Qwen2.5-VL can express steps of equal length only, which a clock that was moved to key frames has not."""
    index_videos(videos / "edge/plain.mp4", tmp_path / "corpus", Plan(kind="snap", frames=16, max_pixels=4096))
    mirror = CATEGORIES["grounding/mirror"]
    uneven = {"grounding/mirror": {**mirror, "config": {**mirror["config"], "gates": False}}}
    mixture = recipe.ResolvedRecipe(Recipe(name="uneven", max_pixels=4096, categories=uneven), "uneven")
    build_dataset(mixture, Corpus(tmp_path / "corpus"), tmp_path / "data", templates=load_templates())
    other = make_tiny(tmp_path / "other", family="qwen2_5_vl", width=64, layers=2)
    asked = config(model__path=f'"{other}"', data__path=f'"{tmp_path / "data"}"')
    with pytest.raises(ValueError, match=r"data, category grounding/mirror: .*can express equal steps only"):
        train(asked, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_was_asked_otherwise(config: Make, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(config(), tmp_path / "run", observer=StopAt(2))
    with pytest.raises(ValueError, match=r"optim.lr is 0.001 there, 0.01 now.*Choose another --out"):
        train(config(optim__lr=0.01), tmp_path / "run")
    train(config(log__save_every=3, data__threads=2), tmp_path / "run")


def test_questions_that_changed_meanwhile(config: Make, small: Path, tmp_path: Path) -> None:
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
    train(config(), tmp_path / "run")  # a run that is complete is that of its own questions alone
    with pytest.raises(ValueError, match=r"run was trained on other questions than .*other has now; choose another"):
        train(other, tmp_path / "run")


def test_recipes_are_whole() -> None:
    assert {"train-paper", "train-1xh200"} <= set(names())
    for name in names():
        load_config(name)
    paper = load_config("train-paper")
    assert (paper.run.batch, paper.grpo.rollouts, paper.grpo.kl, paper.optim.lr) == (64, 8, 1e-3, 1e-6)
    assert (paper.grpo.clip_low, paper.grpo.aggregate, paper.optim.clip_norm) == (0.2, "token", 1.0)


def test_to_train_on_a_benchmark_is_remarked_on(config: Make, small: Path, tmp_path: Path) -> None:
    mixture = recipe.ResolvedRecipe(
        Recipe(name="frozen", benchmark=True, max_pixels=4096, categories=CATEGORIES), "frozen"
    )
    build_dataset(mixture, Corpus(small / "corpus"), tmp_path / "frozen", templates=load_templates())
    observer = RecordingObserver()
    asked = config(data__path=f'"{tmp_path / "frozen"}"', run__steps=1)
    train(asked, tmp_path / "run", observer=observer)
    remark = f"{tmp_path / 'frozen'} is a benchmark: it cannot measure a model that was trained on it"
    assert remark in observer.messages


def test_trackers_are_told(config: Make, tmp_path: Path) -> None:
    train(config(log__trackers='["tensorboard"]', run__steps=2), tmp_path / "run")
    written = b"".join(each.read_bytes() for each in (tmp_path / "run/videossr").rglob("events.*"))
    assert b"optim.lr" in written
    assert b"jigsaw" in written


def test_a_run_that_is_told_to_stop_finishes_its_step(config: Make, tmp_path: Path) -> None:
    class Interrupt(SilentObserver):
        def on_step(self, step: Step, total: int) -> None:
            if step.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(config(log__save_every=0), tmp_path / "run", observer=Interrupt())
    assert str((tmp_path / "run/model").readlink()) == "checkpoints/step-000003"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    observer = RecordingObserver()
    done = train(config(log__save_every=0), tmp_path / "run", observer=observer)
    assert any("goes on from" in text for text in observer.messages)
    assert figures(done) == figures(train(config(log__save_every=0), tmp_path / "whole"))
    (tmp_path / "run/manifest.json").unlink()
    (tmp_path / "run/model").unlink()  # as if it had been killed between the last checkpoint and its name
    assert train(config(log__save_every=0), tmp_path / "run").steps == done.steps
    assert str((tmp_path / "run/model").readlink()) == "checkpoints/step-000006"


def test_a_checkpoint_that_is_damaged_is_named(config: Make, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(config(), tmp_path / "run", observer=StopAt(5))
    newest = tmp_path / "run/checkpoints/step-000004"
    state = newest / "trainer/state.pt"
    state.write_bytes(bytes(reversed(state.read_bytes())))
    with pytest.raises(ValueError, match=r"step-000004 is damaged: .*Delete it, and the same command goes on"):
        train(config(), tmp_path / "run")
    shutil.rmtree(newest)
    assert train(config(), tmp_path / "run").manifest is not None


def test_parts_of_a_batch_are_one_step(config: Make, tmp_path: Path) -> None:
    done = train(config(grpo__updates=5, run__steps=2), tmp_path / "run")
    for step in done.steps:
        assert step.skipped == ""
        assert step.grad_norm > 0
        assert step.gap < 1e-4
