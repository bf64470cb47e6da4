"""Training in two processes equals training in one, with copied or sharded weights; checkpoints fit both."""

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

SCRIPT = Path(__file__).parents[1] / "helpers/distributed.py"
CLOSE = 1e-5

LORA = {"model__lora": "{rank = 4, alpha = 8}"}
FSDP = {"run__sharding": '"fsdp"'}
HALF = {"run__dtype": '"bfloat16"'}
FILLED = {"grpo__dynamic_sampling": 3, "grpo__reward": '"strict"', "grpo__updates": 2}
PARTS = {"grpo__updates": 2, "log__trackers": '["tensorboard"]'}


@pytest.fixture
def three_step_config(config: Callable[..., TrainConfig]) -> Callable[..., TrainConfig]:
    """Make the configuration of three steps on three questions each, two for one process and one for the other.

    AdamW's steps are in proportion to gradients that are small against `eps`: else the rounding of a gradient that is
    nearly 0 would decide about the direction of a whole step.
    """

    def make_config(**changed: Any) -> TrainConfig:
        defaults = {"run__steps": 3, "grpo__kl": 0.1, "optim__lr": 2e-3, "optim__eps": 1e-3, "log__save_every": 1}
        return config(**{**defaults, "log__keep": 3, **changed})

    return make_config


def torchrun(folder: Path, jobs: dict[str, dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Run jobs in two processes, each into a subfolder of its name; `config` of a job is a configuration."""
    job_list = []
    for name, job in jobs.items():
        (folder / f"{name}.toml").write_text(tomli_w.dumps(as_table(job["config"])), "utf-8")
        job_list.append({**job, "config": str(folder / f"{name}.toml"), "out": str(folder / name)})
    options = ["--standalone", "--nproc-per-node", "2"]
    command = ["-m", "torch.distributed.run", *options, str(SCRIPT), json.dumps(job_list)]
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, *command], cwd=root, capture_output=True, text=True, check=False, timeout=600
    )


def load_weights(run: Path) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(run / "model/model.safetensors")
    return tensors


def assert_equal_runs(one: TrainRun, other: TrainRun) -> None:
    assert one.manifest is not None
    assert other.manifest is not None
    assert len(one.steps) == len(other.steps) == 3
    for step, other_step in zip(one.steps, other.steps, strict=True):
        assert other_step.loss == pytest.approx(step.loss, rel=CLOSE, abs=1e-6)
        assert other_step.grad_norm == pytest.approx(step.grad_norm, rel=CLOSE)
        assert other_step.lr == step.lr
        assert other_step.changed == pytest.approx(step.changed, abs=1e-3)
        assert (other_step.failed, other_step.skipped, other_step.epoch) == (step.failed, step.skipped, step.epoch)
        assert step.all is not None
        assert other_step.all is not None
        assert other_step.all.groups == step.all.groups
        assert other_step.all.tokens == step.all.tokens
        for name in ("smooth", "strict", "parsed", "distinct", "zero_variance", "truncated"):
            assert getattr(other_step.all, name) == pytest.approx(getattr(step.all, name))
        for name in ("kl", "entropy"):
            assert getattr(other_step.all, name) == pytest.approx(getattr(step.all, name), rel=1e-4, abs=1e-6)
        assert other_step.categories.keys() == step.categories.keys()
        assert other_step.gap is not None
        assert other_step.gap < 1e-4
    other_weights = load_weights(Path(str(other.path)))
    for name, tensor in load_weights(Path(str(one.path))).items():
        assert (other_weights[name] - tensor).abs().max() <= CLOSE * tensor.abs().max(), name


def test_train_in_two_processes_equals_train_in_one(
    three_step_config: Callable[..., TrainConfig], model: Path, small: Path, tmp_path: Path
) -> None:
    """Compare copied and sharded weights, full training and LoRA, recomputation, two updates per batch with a tracker,
    dynamic sampling, a mixture, and a batch in which one process has no question that can be shown.
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
    mixed = {"data__path": "", "data__sets__ours__path": f'"{small / "data"}"'}
    mixed |= {"data__sets__one__path": f'"{small / "data"}"', "data__sets__one__weight": "2", "data__mix": "even"}
    single_runs = {
        "full": train(three_step_config(), tmp_path / "full"),
        "lora": train(three_step_config(**LORA), tmp_path / "lora"),
        "parts": train(three_step_config(**PARTS), tmp_path / "parts"),
        "filled": train(three_step_config(**FILLED), tmp_path / "filled"),
        "failing": train(three_step_config(**failing), tmp_path / "failing"),
        "mixed": train(three_step_config(**mixed), tmp_path / "mixed"),
    }
    assert second in {failure.index for failure in single_runs["failing"].failures if failure.step == 1}
    texts = [text for sample in single_runs["full"].shown for text in sample.texts]
    assert len({len(text) for text in texts}) > 1
    assert any(step.loss and step.all and step.all.smooth > 0 for step in single_runs["full"].steps)
    start = load_weights(model.parent)
    after = load_weights(tmp_path / "full")
    assert max(float((after[name] - start[name]).abs().max()) for name in start) > 1e-4

    completed = torchrun(
        tmp_path,
        {
            "full-copies": {"config": three_step_config()},
            "mixed-copies": {"config": three_step_config(**mixed)},
            "mixed-shards": {"config": three_step_config(**mixed, **FSDP)},
            "full-shards": {"config": three_step_config(**FSDP, run__recompute="true")},
            "lora-copies": {"config": three_step_config(**LORA)},
            "lora-shards": {"config": three_step_config(**LORA, **FSDP)},
            "parts-copies": {"config": three_step_config(**PARTS)},
            "parts-shards": {"config": three_step_config(**PARTS, **FSDP)},
            "filled-copies": {"config": three_step_config(**FILLED)},
            "filled-shards": {"config": three_step_config(**FILLED, **FSDP)},
            "failing-copies": {"config": three_step_config(**failing)},
            "failing-shards": {"config": three_step_config(**failing, **FSDP)},
            "full-more": {"config": three_step_config(**FSDP), "of": str(tmp_path / "full")},
            "lora-more": {"config": three_step_config(**LORA, **FSDP), "of": str(tmp_path / "lora")},
            "half": {"config": three_step_config(**HALF, **FSDP)},
            "half-more": {"config": three_step_config(**HALF, **FSDP), "of": str(tmp_path / "half")},
        },
    )

    assert completed.returncode == 0, completed.stderr[-4000:]
    for name, single_run in single_runs.items():
        for layout in ("copies", "shards"):
            parallel_run = read_train_run(tmp_path / f"{name}-{layout}")
            assert parallel_run.manifest is not None
            assert parallel_run.manifest.describe["processes"] == 2
            assert_equal_runs(single_run, parallel_run)
    for layout in ("copies", "shards"):
        # Only one process writes to the tracker.
        (events,) = (tmp_path / f"parts-{layout}/videossr").glob("events.out.*")
        assert events.stat().st_size > 1000
    # A run of one process is resumed by two, and a run of two by one.
    assert_equal_runs(single_runs["full"], read_train_run(tmp_path / "full-more"))
    assert_equal_runs(single_runs["lora"], read_train_run(tmp_path / "lora-more"))
    for name in ("full", "lora"):
        rewind(tmp_path / f"{name}-shards", tmp_path / f"{name}-less")
        settings = LORA if name == "lora" else {"run__recompute": "true"}
        assert_equal_runs(single_runs[name], train(three_step_config(**settings), tmp_path / f"{name}-less"))
    # Shards of bfloat16 weights have float32 masters, so that a run resumes exactly.
    half_weights, resumed_weights = (load_weights(tmp_path / name) for name in ("half", "half-more"))
    assert all(torch.equal(half_weights[name], resumed_weights[name]) for name in half_weights)
    assert {step.loss for step in read_train_run(tmp_path / "half").steps} == {
        step.loss for step in read_train_run(tmp_path / "half-more").steps
    }


def test_train_reports_a_dead_process_and_names_the_last_checkpoint(
    three_step_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """The processes are started without torchrun, which would end the surviving one before it can print its message."""
    (tmp_path / "run.toml").write_text(tomli_w.dumps(as_table(three_step_config(run__steps=60))), "utf-8")
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
    surviving, killed = (
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
        assert surviving.poll() is None, surviving.communicate()[1]
        time.sleep(0.05)
    killed.kill()
    output = surviving.communicate(timeout=600)[1]
    killed.communicate()

    assert surviving.returncode == 2
    message = re.search(
        r"^videossr: process 0 cannot go on, most likely since another one has ended: .*", output, re.M | re.S
    )
    assert message is not None, output
    checkpoint = latest(tmp_path / "run")
    assert f"The last checkpoint is {checkpoint}" in message[0]
    assert read_train_run(tmp_path / "run").manifest is None
