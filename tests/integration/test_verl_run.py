"""A run of verl's own trainer on an exported dataset: two steps on a CPU, a checkpoint, and its merge into a model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from tests.helpers.scripts import script_words
from tests.integration.conftest import HERE, ROOT
from videossr.cli import main
from videossr.dataset.dataset import VideoSSRDataset
from videossr.export.trainer import Cluster
from videossr.export.verl import export_verl
from videossr.models.tiny import make_tiny

pytestmark = pytest.mark.integration

PYTHON = ROOT / ".side/verl/bin/python"
MINUTES = 12
"""How long verl may take; where a rollout fails, it waits without end."""

STEPS, PROMPTS, ROLLOUTS = 2, 2, 2
CATEGORIES = ("grounding/mirror", "jigsaw/6", "counting/easy", "grounding/shuffle")
"""Of the rows in their order: one clip and several clips in each batch."""

ACTOR, ROLLOUT, REF = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "ref"))
KINDS = ("param", "reduce", "buffer")
"""Of numbers that FSDP would make bfloat16; the engine computes in float32, and so must the trainer to be compared."""

STORAGE = "transfer_queue.backend.SimpleStorage"
ON_CPU = [
    "data.shuffle=False",
    f"data.train_batch_size={PROMPTS}",
    "data.max_prompt_length=3072",
    "data.max_response_length=8",
    "data.dataloader_num_workers=0",
    "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
    "actor_rollout_ref.model.use_remove_padding=False",
    "actor_rollout_ref.model.enable_gradient_checkpointing=False",
    f"{ACTOR}.optim.lr=1e-3",
    f"{ACTOR}.ppo_mini_batch_size={PROMPTS}",
    f"{ACTOR}.ppo_micro_batch_size_per_gpu=1",
    f"{ACTOR}.use_torch_compile=False",
    *(f"{part}.strategy=fsdp2" for part in (ACTOR, REF)),
    *(f"{part}.fsdp_config.use_torch_compile=False" for part in (ACTOR, REF)),
    *(f"+{part}.fsdp_config.mixed_precision.{kind}_dtype=fp32" for part in (ACTOR, REF) for kind in KINDS),
    *(f"{part}.log_prob_micro_batch_size_per_gpu=1" for part in (ROLLOUT, REF)),
    f"{ROLLOUT}.name=cpu",
    f"{ROLLOUT}.n={ROLLOUTS}",
    f"{ROLLOUT}.agent.num_workers=1",
    "reward.num_workers=1",
    f"{STORAGE}.num_data_storage_units=1",
    f"{STORAGE}.total_storage_size=1000",
    "trainer.device=cpu",
    "trainer.n_gpus_per_node=1",
    f"trainer.total_training_steps={STEPS}",
    f"trainer.save_freq={STEPS}",
    "ray_kwargs.ray_init.num_cpus=16",
    "+ray_kwargs.ray_init.num_gpus=1",
    "+ray_kwargs.ray_init.include_dashboard=False",
    "+ray_kwargs.ray_init.object_store_memory=500000000",
]


def run_verl(module: str, words: list[str], log: Path) -> str:
    """Run a module of verl in its environment and return what it printed. One retry where ray does not start.

    Ray waits 30 seconds for its own daemon, which a busy machine may exceed.
    """
    settings = {
        "PYTHONPATH": f"{ROOT / 'src'}:{HERE / 'side'}",
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "verl_cpu",
        "VERL_CPU_LOG": str(log),
        "VERL_FILE_LOGGER_PATH": str(log.with_name("steps.jsonl")),
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    for attempt in (1, 2):
        printed = log.with_name(f"{module}-{attempt}.txt")
        with printed.open("w") as file:
            process = subprocess.Popen(
                [str(PYTHON), "-m", module, *words],
                env=os.environ | settings,
                cwd=log.parent,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(60 * MINUTES)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                for end in (signal.SIGTERM, signal.SIGKILL):  # ray ends its daemons when it is asked to
                    if process.poll() is None:
                        os.killpg(process.pid, end)
                        try:
                            process.wait(20)
                        except subprocess.TimeoutExpired:
                            continue
        text = printed.read_text("utf-8", "replace")
        if status == 0:
            return text
        if "timed out during startup" not in text:
            break
    pytest.fail(f"{module}: status {status}\n{text[-6000:]}", pytrace=False)


@pytest.fixture(scope="module")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train, and return the folder of the export with what the run left there."""
    if not PYTHON.exists():
        pytest.fail("no side environment 'verl': run `make integration`, which makes it")
    folder = tmp_path_factory.mktemp("run")
    tiny = make_tiny(folder / "tiny")
    script = export_verl(VideoSSRDataset(dataset), folder / "verl", Cluster(1, 1), batch=4)
    table = pq.read_table(folder / "verl/train.parquet")
    places = {row["category"]: index for index, row in enumerate(table["extra_info"].to_pylist())}
    pq.write_table(table.take([places[category] for category in CATEGORIES]), folder / "verl/train.parquet")
    run_verl("verl.trainer.main_ppo", script_words(script, tiny, *ON_CPU), folder / "engine.jsonl")
    return folder


def engine_log(run: Path) -> list[dict[str, Any]]:
    """Return what the engine wrote: when weights were loaded, and tokens of each request."""
    return [json.loads(line) for line in (run / "engine.jsonl").read_text().splitlines()]


def test_verl_trains_on_rows_of_one_clip_and_of_several(run: Path) -> None:
    entries = engine_log(run)
    asked = [entry for entry in entries if "read" in entry]
    assert len(asked) == STEPS * PROMPTS * ROLLOUTS
    assert {entry["clips"] for entry in asked} == {1, 6}
    assert all(entry["sent"] < entry["read"] for entry in asked)
    assert sum("loaded" in entry for entry in entries) >= STEPS


def test_the_trainer_reads_what_the_engine_reads(run: Path) -> None:
    """The probabilities of the answers would differ, and the number of tokens, if their prompts did."""
    asked = [entry for entry in engine_log(run) if "read" in entry]
    steps = [json.loads(line)["data"] for line in (run / "steps.jsonl").read_text().splitlines()]
    for number, step in enumerate(steps[:STEPS]):
        of_step = asked[number * PROMPTS * ROLLOUTS :][: PROMPTS * ROLLOUTS]
        assert step["global_seqlen/mean"] == sum(entry["read"] + entry["answer"] for entry in of_step)
        assert step["training/rollout_probs_diff_max"] < 1e-5


def test_a_checkpoint_is_merged_into_a_model_that_bench_run_scores(
    run: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    actor = run / f"verl/checkpoints/global_step_{STEPS}/actor"
    words = ["merge", "--backend", "fsdp", "--local_dir", str(actor), "--target_dir", str(run / "merged")]
    run_verl("verl.model_merger", words, run / "merge.jsonl")
    before = safetensors.torch.load_file(run / "tiny/model.safetensors")
    after = safetensors.torch.load_file(run / "merged/model.safetensors")
    assert {weight.dtype for weight in after.values()} == {torch.bfloat16}
    moved = [name for name, weight in after.items() if not torch.equal(weight, before[name].bfloat16())]
    assert len(moved) > len(after) // 2
    with pytest.raises(SystemExit) as done:
        main(["bench", "run", str(dataset), "--model", f"hf:{run / 'merged'}", "--out", str(run / "scores")])
    assert done.value.code == 0, capsys.readouterr()
