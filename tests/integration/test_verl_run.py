"""A run of verl's own trainer, by `videossr train --engine verl`: two steps on a CPU, and a third when it goes on.

What is in its folder is read: the steps, a report, and a model.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.integration.conftest import HERE, ROOT
from videossr.cli import main
from videossr.models.tiny import make_tiny
from videossr.training.runs.records import VERL_PHASES, Step, read_train_run

pytestmark = pytest.mark.integration

PYTHON = ROOT / ".side/verl/bin/python"
MINUTES = 12
"""How long verl may take; where a rollout fails, it waits without end."""

STEPS, MORE, PROMPTS, ROLLOUTS = 2, 3, 2, 2
CATEGORIES = ("grounding/mirror", "jigsaw/6")
"""Of the rows: one clip, and several clips."""

ACTOR, ROLLOUT, REF = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "ref"))
STORAGE = "transfer_queue.backend.SimpleStorage"
RAY = "ray_kwargs.ray_init"

SETTINGS = [
    f"--data.categories={json.dumps(CATEGORIES)}",
    f"--run.batch={PROMPTS}",
    "--run.dtype=float32",  # the engine computes in it, and so must the trainer to be compared
    "--run.recompute=false",
    f"--grpo.rollouts={ROLLOUTS}",
    "--grpo.max_tokens=8",
    "--optim.lr=1e-3",
    f"--log.save_every={STEPS}",
    "--log.keep=1",
]
ON_CPU = [
    "data.shuffle=False",
    "data.max_prompt_length=3072",
    "data.dataloader_num_workers=0",
    f"{ACTOR}.ppo_micro_batch_size_per_gpu=1",
    f"{ACTOR}.use_torch_compile=False",
    *(f"{part}.strategy=fsdp2" for part in (ACTOR, REF)),
    *(f"{part}.fsdp_config.use_torch_compile=False" for part in (ACTOR, REF)),
    *(f"{part}.log_prob_micro_batch_size_per_gpu=1" for part in (ROLLOUT, REF)),
    f"{ROLLOUT}.name=cpu",
    f"{ROLLOUT}.agent.num_workers=1",
    "reward.num_workers=1",
    f"{STORAGE}.num_data_storage_units=1",
    f"{STORAGE}.total_storage_size=1000",
    "trainer.device=cpu",
    f"{RAY}.num_cpus=16",
    f"+{RAY}.num_gpus=1",
    f"+{RAY}.include_dashboard=False",
    f"+{RAY}.object_store_memory=500000000",
]


def train(folder: Path, dataset: Path, steps: int) -> str:
    """Run the command in verl's environment and return what it printed. One retry where ray does not start.

    Ray waits 30 seconds for its own daemon, which a busy machine may exceed.
    """
    variables = {
        "PYTHONPATH": f"{ROOT / 'src'}:{HERE / 'side'}",
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "verl_cpu",
        "VERL_CPU_LOG": str(folder / "engine.jsonl"),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    words = ["train", "train-paper", f"--model.path={folder / 'tiny'}", f"--data.path={dataset}", "--engine", "verl"]
    words += ["--gpus", "1", f"--run.steps={steps}", "--out", str(folder / "run"), *SETTINGS]
    words += [f"--verl.{setting}" for setting in ON_CPU]
    for _ in range(2):
        command = subprocess.Popen(
            [str(PYTHON), "-m", "videossr.cli", *words],
            env=os.environ | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            printed, _ = command.communicate(timeout=60 * MINUTES)
        except subprocess.TimeoutExpired:
            command.send_signal(signal.SIGTERM)  # it ends verl and all that ray has started
            printed, _ = command.communicate()
        if command.returncode == 0:
            return printed
        if "timed out during startup" not in (folder / "run/verl/log.txt").read_text("utf-8", "replace"):
            break
    pytest.fail(f"status {command.returncode}\n{printed[-6000:]}", pytrace=False)


@pytest.fixture(scope="module")
def folder(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train two steps; the folder has the run, the model that it began with, and what the engine wrote."""
    if not PYTHON.exists():
        pytest.fail("no side environment 'verl': run `make integration`, which makes it")
    folder = tmp_path_factory.mktemp("it's a = folder")
    make_tiny(folder / "tiny")
    (folder / "printed.txt").write_text(train(folder, dataset, STEPS), "utf-8")
    return folder


def engine_log(folder: Path) -> list[dict[str, Any]]:
    """Return what the engine wrote: when weights were loaded, and tokens of each request."""
    return [json.loads(line) for line in (folder / "engine.jsonl").read_text().splitlines()]


def logged_steps(folder: Path) -> list[dict[str, Any]]:
    """Return what verl logged of the steps of its last session."""
    return [json.loads(line)["data"] for line in (folder / "run/verl/steps.jsonl").read_text().splitlines()]


def test_verl_trains_on_rows_of_one_clip_and_of_several(folder: Path) -> None:
    entries = engine_log(folder)
    asked = [entry for entry in entries if "read" in entry]
    assert len(asked) == STEPS * PROMPTS * ROLLOUTS
    assert {entry["clips"] for entry in asked} == {1, 6}
    assert all(entry["sent"] < entry["read"] for entry in asked)
    assert sum("loaded" in entry for entry in entries) >= STEPS


def test_the_trainer_reads_what_the_engine_reads(folder: Path) -> None:
    """The probabilities of the answers would differ, and the number of tokens, if their prompts did."""
    asked = [entry for entry in engine_log(folder) if "read" in entry]
    for number, step in enumerate(logged_steps(folder)):
        of_step = asked[number * PROMPTS * ROLLOUTS :][: PROMPTS * ROLLOUTS]
        assert step["global_seqlen/mean"] == sum(entry["read"] + entry["answer"] for entry in of_step)
        assert step["training/rollout_probs_diff_max"] < 1e-5


def test_the_steps_of_the_run_are_those_that_verl_made(folder: Path) -> None:
    run = read_train_run(folder / "run")
    assert run.manifest is not None
    assert (run.manifest.steps, run.manifest.versions["verl"]) == (STEPS, "0.9.1")
    assert run.manifest.describe["trainer"] == "verl 0.9.1"
    assert run.config.run.engine == "verl"
    asked = [entry for entry in engine_log(folder) if "read" in entry]
    for number, (step, logged) in enumerate(zip(run.steps, logged_steps(folder), strict=True)):
        check_step(step, number + 1)
        assert step.loss == logged["actor/loss"]
        assert step.wall == logged["timing_s/step"]
        lengths = [entry["answer"] for entry in asked[number * PROMPTS * ROLLOUTS :][: PROMPTS * ROLLOUTS]]
        assert step.all is not None
        assert step.all.tokens == sum(lengths) / len(lengths) == logged["response_length/mean"]
        assert step.all.truncated == logged["response_length/clip_ratio"]
        assert step.all.smooth == logged["critic/score/mean"]
    printed = (folder / "printed.txt").read_text("utf-8")
    assert f"step {STEPS} of {STEPS}: loss" in printed


def check_step(step: Step, number: int) -> None:
    """Check what every step of a run of verl has, and what none has."""
    assert (step.step, step.batches, step.failed) == (number, number, 0)
    assert step.all is not None
    assert step.all.groups == PROMPTS
    assert set(step.categories) <= set(CATEGORIES)
    assert sum(part.groups for part in step.categories.values()) == PROMPTS
    assert step.all.kl is not None
    assert step.all.entropy is not None
    assert {"gen", "ref", "update_actor"} <= set(step.seconds) <= set(VERL_PHASES)
    assert 0 < sum(step.seconds.values()) < step.wall
    assert (step.changed, step.gap, step.mfu, step.memory_gib) == (None, None, None, None)


def test_the_model_of_the_run_is_scored(folder: Path, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = safetensors.torch.load_file(folder / "tiny/model.safetensors")
    after = safetensors.torch.load_file(folder / "run/model/model.safetensors")
    assert {weight.dtype for weight in after.values()} == {torch.bfloat16}
    moved = [name for name, weight in after.items() if not torch.equal(weight, before[name].bfloat16())]
    assert len(moved) > len(after) // 2
    with pytest.raises(SystemExit) as done:
        main(["bench", "run", str(dataset), "--model", f"hf:{folder / 'run/model'}", "--out", str(folder / "scores")])
    assert done.value.code == 0, capsys.readouterr()


def test_report_draws_the_run(folder: Path) -> None:
    with pytest.raises(SystemExit) as done:
        main(["report", str(folder / "run"), "--out", str(folder / "report.html")])
    assert done.value.code == 0
    page = (folder / "report.html").read_text("utf-8")
    assert "verl 0.9.1" in page
    assert "update_actor" in page
    assert "steps are too few to tell whether it learned" in page or "Nothing could be learned" in page


def test_the_same_command_goes_on_from_the_checkpoint(folder: Path, dataset: Path) -> None:
    """The third step is made behind the first two, which stay as they are; a complete run starts nothing."""
    before = read_train_run(folder / "run").steps
    assert f"goes on from step {STEPS}" in train(folder, dataset, MORE)
    run = read_train_run(folder / "run")
    assert run.steps[:STEPS] == before
    assert run.manifest is not None
    assert run.manifest.steps == len(run.steps) == MORE
    check_step(run.steps[-1], MORE)
    asked = [entry for entry in engine_log(folder) if "read" in entry]
    assert len(asked) == MORE * PROMPTS * ROLLOUTS
    assert "nothing is left to do" in train(folder, dataset, MORE)
    assert len(engine_log(folder)) > len(asked)
