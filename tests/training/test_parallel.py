"""Two processes learn what one does, however weights lie over them; and their checkpoints are those of one."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from tests.helpers.distributed import rewind
from videossr.dataset.dataset import VideoSSRDataset
from videossr.training.batching import batch_for_step
from videossr.training.checkpoints.checkpoint import latest
from videossr.training.config import TrainConfig, as_table
from videossr.training.runs.records import TrainRun, read_train_run
from videossr.training.session import train

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks for it

TOGETHER = Path(__file__).parents[1] / "helpers/distributed.py"
CLOSE = 1e-5

LORA = {"model__lora": "{rank = 4, alpha = 8}"}
FSDP = {"run__sharding": '"fsdp"'}
HALF = {"run__dtype": '"bfloat16"'}
FILLED = {"grpo__dynamic_sampling": 3, "grpo__reward": '"strict"', "grpo__updates": 2}
PARTS = {"grpo__updates": 2, "log__trackers": '["tensorboard"]'}


@pytest.fixture
def asked(config: Callable[..., TrainConfig]) -> Callable[..., TrainConfig]:
    """Three steps on three questions each, two for one process and one for the other.

    AdamW's steps are in proportion to gradients that are small against `eps`: else the rounding of a gradient that is
    nearly 0 would decide about the direction of a whole step.
    """

    def made(**changed: Any) -> TrainConfig:
        how = {"run__steps": 3, "grpo__kl": 0.1, "optim__lr": 2e-3, "optim__eps": 1e-3, "log__save_every": 1}
        return config(**{**how, "log__keep": 3, **changed})

    return made


def torchrun(folder: Path, jobs: dict[str, dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Two processes make runs of these names in a folder. `config` of a job is a configuration."""
    told = []
    for name, job in jobs.items():
        (folder / f"{name}.toml").write_text(tomli_w.dumps(as_table(job["config"])), "utf-8")
        told.append({**job, "config": str(folder / f"{name}.toml"), "out": str(folder / name)})
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(TOGETHER), json.dumps(told)]
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, *command], cwd=root, capture_output=True, text=True, check=False, timeout=600
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(run / "model/model.safetensors")
    return tensors


def assert_same(one: TrainRun, other: TrainRun) -> None:
    assert one.manifest is not None
    assert other.manifest is not None
    assert len(one.steps) == len(other.steps) == 3
    for mine, yours in zip(one.steps, other.steps, strict=True):
        assert yours.loss == pytest.approx(mine.loss, rel=CLOSE, abs=1e-6)
        assert yours.grad_norm == pytest.approx(mine.grad_norm, rel=CLOSE)
        assert yours.lr == mine.lr
        assert yours.changed == pytest.approx(mine.changed, abs=1e-3)
        assert (yours.failed, yours.skipped, yours.epoch) == (mine.failed, mine.skipped, mine.epoch)
        assert mine.all is not None
        assert yours.all is not None
        assert yours.all.groups == mine.all.groups
        assert yours.all.tokens == mine.all.tokens
        for name in ("smooth", "strict", "parsed", "distinct", "zero_variance", "truncated"):
            assert getattr(yours.all, name) == pytest.approx(getattr(mine.all, name))
        for name in ("kl", "entropy"):
            assert getattr(yours.all, name) == pytest.approx(getattr(mine.all, name), rel=1e-4, abs=1e-6)
        assert yours.categories.keys() == mine.categories.keys()
        assert yours.gap < 1e-4
    theirs = weights(Path(str(other.path)))
    for name, tensor in weights(Path(str(one.path))).items():
        assert (theirs[name] - tensor).abs().max() <= CLOSE * tensor.abs().max(), name


def test_two_processes_learn_what_one_does(
    asked: Callable[..., TrainConfig], model: Path, small: Path, tmp_path: Path
) -> None:
    """Copies and shards, all weights and LoRA, with recomputing, in two updates a batch while a tracker looks on,
    with batches that are filled, and where one process has nothing to show at times.
    """
    broken = tmp_path / "broken"
    shutil.copytree(small / "corpus", broken)
    questions = VideoSSRDataset(small / "data")
    categories = [questions.category(index) for index in range(len(questions))]
    packs = [questions.sample(index).sources[0].content[:2] for index in range(len(questions))]
    batches = ((seed, batch_for_step(1, range(len(questions)), categories, 3, "shuffled", seed)) for seed in range(99))
    # A question that is all that the second process has, and whose pack no other of its batch needs.
    seed, second = next((seed, b) for seed, (a, b, c) in batches if packs[b] not in (packs[a], packs[c]))
    (broken / "packs" / f"{packs[second]}.pack").write_bytes(b"")
    failing = {"data__corpus": f'"{broken}"', "run__seed": f"{seed}"}
    one = {
        "full": train(asked(), tmp_path / "full"),
        "lora": train(asked(**LORA), tmp_path / "lora"),
        "parts": train(asked(**PARTS), tmp_path / "parts"),
        "filled": train(asked(**FILLED), tmp_path / "filled"),
        "failing": train(asked(**failing), tmp_path / "failing"),
    }
    assert second in {each.index for each in one["failing"].failures if each.step == 1}
    texts = [text for each in one["full"].shown for text in each.texts]
    assert len({len(text) for text in texts}) > 1
    assert any(step.loss and step.all and step.all.smooth > 0 for step in one["full"].steps)
    start = weights(model.parent)
    after = weights(tmp_path / "full")
    assert max(float((after[name] - start[name]).abs().max()) for name in start) > 1e-4

    done = torchrun(
        tmp_path,
        {
            "full-copies": {"config": asked()},
            "full-shards": {"config": asked(**FSDP, run__recompute="true")},
            "lora-copies": {"config": asked(**LORA)},
            "lora-shards": {"config": asked(**LORA, **FSDP)},
            "parts-copies": {"config": asked(**PARTS)},
            "parts-shards": {"config": asked(**PARTS, **FSDP)},
            "filled-copies": {"config": asked(**FILLED)},
            "filled-shards": {"config": asked(**FILLED, **FSDP)},
            "failing-copies": {"config": asked(**failing)},
            "failing-shards": {"config": asked(**failing, **FSDP)},
            "full-more": {"config": asked(**FSDP), "of": str(tmp_path / "full")},
            "lora-more": {"config": asked(**LORA, **FSDP), "of": str(tmp_path / "lora")},
            "half": {"config": asked(**HALF, **FSDP)},
            "half-more": {"config": asked(**HALF, **FSDP), "of": str(tmp_path / "half")},
        },
    )

    assert done.returncode == 0, done.stderr[-4000:]
    for name, alone in one.items():
        for how in ("copies", "shards"):
            together = read_train_run(tmp_path / f"{name}-{how}")
            assert together.manifest is not None
            assert together.manifest.describe["processes"] == 2
            assert_same(alone, together)
    for how in ("copies", "shards"):
        (events,) = (tmp_path / f"parts-{how}/videossr").glob("events.out.*")  # one process tells the tracker
        assert events.stat().st_size > 1000
    # Begun by one process, and gone on with by two; and the other way.
    assert_same(one["full"], read_train_run(tmp_path / "full-more"))
    assert_same(one["lora"], read_train_run(tmp_path / "lora-more"))
    for name in ("full", "lora"):
        rewind(tmp_path / f"{name}-shards", tmp_path / f"{name}-less")
        rest = LORA if name == "lora" else {"run__recompute": "true"}
        assert_same(one[name], train(asked(**rest), tmp_path / f"{name}-less"))
    # With float32 masters, which the parts of bfloat16 weights have: exactly.
    half, more = (weights(tmp_path / name) for name in ("half", "half-more"))
    assert all(torch.equal(half[name], more[name]) for name in half)
    assert {step.loss for step in read_train_run(tmp_path / "half").steps} == {
        step.loss for step in read_train_run(tmp_path / "half-more").steps
    }


def test_where_a_process_dies_the_other_says_so_and_nothing_is_lost(
    asked: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """Started by hand: torchrun would end the other one before it can say anything."""
    (tmp_path / "run.toml").write_text(tomli_w.dumps(as_table(asked(run__steps=60))), "utf-8")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    command = [
        sys.executable,
        "-m",
        "videossr.cli",
        "train",
        str(tmp_path / "run.toml"),
        "--out",
        str(tmp_path / "run"),
    ]
    stays, dies = (
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    )
    while not (tmp_path / "run/checkpoints/step-000001").exists():
        assert stays.poll() is None, stays.communicate()[1]
        time.sleep(0.05)
    dies.kill()
    told = stays.communicate(timeout=600)[1]
    dies.communicate()

    assert stays.returncode == 2
    found = re.search(
        r"^videossr: process 0 cannot go on, most likely since another one has ended: .*", told, re.M | re.S
    )
    assert found is not None, told
    kept = latest(tmp_path / "run")
    assert f"The last checkpoint is {kept}" in found[0]
    assert read_train_run(tmp_path / "run").manifest is None
