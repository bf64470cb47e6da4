"""ms-swift reads what `videossr export swift` wrote: arguments, clocks, rewards, and two steps of its GRPO trainer.

In the side environment are neither vLLM nor DeepSpeed, and the model is tiny: what only they decide is not tested.
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

from tests.helpers.exports import ShortClipsDataset
from tests.helpers.scripts import script_calls
from tests.helpers.trainer_prompts import check_shown
from tests.integration.conftest import HERE, ROOT, Ask
from videossr.clock import uniform_clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.export.swift import export_swift
from videossr.models.tiny import make_tiny

pytestmark = pytest.mark.integration

MINUTES = 10
"""How long two steps may take; they take about one, and imports and a busy machine the rest."""

ON_CPU = ("--use_cpu", "true", "--torch_dtype", "float32")
ELSEWHERE = ("--deepspeed", "--use_vllm", "--vllm_mode")
"""Arguments of what is not in the side environment."""


class UnlikeClips(ShortClipsDataset):
    """Two clips of unlike numbers of frames and rates."""

    shown = (uniform_clock(6, 2910), uniform_clock(8, 13_370))


def without(words: list[str], names: tuple[str, ...]) -> list[str]:
    """Leave arguments and their values out."""
    left = [
        word
        for name, value in zip(words[1::2], words[2::2], strict=True)
        if name not in names
        for word in (name, value)
    ]
    return [words[0], *left]


def cpu_call(script: Path, model: Path) -> tuple[list[str], dict[str, str]]:
    """Return the words of a script's command for a CPU, and what the script sets."""
    ((words, variables),) = script_calls(script, "swift", model)
    names = ("ROOT_IMAGE_DIR", "FORCE_QWENVL_VIDEO_READER")
    return [*without(words, ELSEWHERE), *ON_CPU], {name: variables[name] for name in names}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model which never writes tokens that stand for pixels."""
    folder = make_tiny(tmp_path_factory.mktemp("tiny") / "model")
    config, path = json.loads((folder / "config.json").read_text("utf-8")), folder / "generation_config.json"
    special = [config[f"{name}_token_id"] for name in ("image", "video", "vision_start", "vision_end")]
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"suppress_tokens": special}))
    return folder


@pytest.fixture(scope="module")
def exported(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("swift") / "out"
    export_swift(VideoSSRDataset(dataset), out, "small", gpus=2, batch=4)
    return out


def read(ask: Ask, script: Path, tiny: Path, texts: tuple[list[str], ...] = ()) -> dict[str, Any]:
    """Let swift read an export."""
    (method, *words), environment = cpu_call(script, tiny)
    question = {"method": method, "words": words, "environment": environment, "tiny": str(tiny), "texts": texts}
    told: dict[str, Any] = ask("swift", "swift_export.py", question)
    return told


@pytest.fixture(scope="module")
def answer(ask: Ask, exported: Path, tiny: Path, dataset: Path) -> dict[str, Any]:
    opened = VideoSSRDataset(dataset)
    gold = [opened.question(index).answer for index in range(len(opened))]
    return read(ask, exported / "train.sh", tiny, (gold, ["I cannot tell."] * len(gold)))


def test_swift_takes_the_settings_of_the_paper(answer: dict[str, Any]) -> None:
    told = answer["settings"]
    expected = {
        "learning_rate": 1e-6,
        "adam_beta1": 0.9,
        "adam_beta2": 0.999,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "lr_scheduler_type": "constant",
        "num_train_epochs": 1.0,
        "gradient_checkpointing": True,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4,
        "steps_per_generation": 4,
        "num_generations": 8,
        "max_completion_length": 64,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": -1,
        "beta": 0.001,
        "epsilon": 0.2,
        "epsilon_high": 0.2,
        "loss_type": "dapo",
        "scale_rewards": "group",
        "num_iterations": 1,
        "max_length": 8192,
    }
    assert {name: told[name] for name in expected} == expected


def check_engine(told: dict[str, Any], opened: VideoSSRDataset) -> None:
    """Check that an engine such as vLLM gets every frame with its time."""
    for index, clips in enumerate(told["engine"]):
        for times, clock in zip(clips, opened.question(index).clocks, strict=True):
            assert [1000 * time for time in times] == pytest.approx(clock.times_ms, abs=1.5)


def test_swift_shows_the_clock_of_every_clip(answer: dict[str, Any], dataset: Path, tiny: Path) -> None:
    assert {len(sizes) for sizes in answer["sizes"]} == {1, 6}
    check_shown(answer, VideoSSRDataset(dataset), tiny)
    check_engine(answer, VideoSSRDataset(dataset))


def test_swift_trains_sft_on_the_gold_answers(ask: Ask, exported: Path, dataset: Path, tiny: Path) -> None:
    told = read(ask, exported / "sft.sh", tiny)
    opened = VideoSSRDataset(dataset)
    check_shown(told, opened, tiny)
    assert told["answer"] == [f"{opened.question(index).answer}<|im_end|>\n" for index in range(len(opened))]
    assert told["settings"]["learning_rate"] == 1e-5


def test_swift_shows_clips_of_unlike_clocks_in_one_question(
    ask: Ask, dataset: Path, tiny: Path, tmp_path: Path
) -> None:
    opened = UnlikeClips(dataset)
    told = read(ask, export_swift(opened, tmp_path / "out", "short", gpus=1, batch=4), tiny)
    check_shown(told, opened, tiny)
    check_engine(told, opened)


def test_swift_scores_gold_answers_1_and_garbage_0(answer: dict[str, Any], dataset: Path) -> None:
    opened = VideoSSRDataset(dataset)
    assert {opened.question(index).data_source for index in range(len(opened))} == {
        "videossr/grounding",
        "videossr/jigsaw",
        "videossr/counting",
    }
    ones_and_zeros = [[1.0] * len(opened), [0.0] * len(opened)]
    assert answer["rewards"] == {"videossr": ones_and_zeros, "videossr_strict": ones_and_zeros}


def test_swift_trains_on_rows_of_one_clip_and_of_several(exported: Path, tiny: Path, tmp_path: Path) -> None:
    """The rewards of a tiny model's answers are all 0, so one by which they differ stands beside ours."""
    words, variables = cpu_call(exported / "train.sh", tiny)
    rows = [json.loads(line) for line in (exported / "train.jsonl").read_text("utf-8").splitlines()]
    chosen = [next(row for row in rows if row["data_source"].endswith(task)) for task in ("jigsaw", "grounding")]
    (tmp_path / "two.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chosen))
    plugins = words.index("--external_plugins") + 1
    words[plugins:plugins] = [str(HERE / "side/swift_ids.py")]
    more: dict[str, list[object]] = {
        "dataset": [tmp_path / "two.jsonl"],
        "reward_funcs": ["videossr", "spread"],
        "max_completion_length": [4],
        "num_generations": [2],
        "per_device_train_batch_size": [2],
        "gradient_accumulation_steps": [1],
        "steps_per_generation": [1],
        "max_steps": [2],
        "learning_rate": ["1e-3"],
        "dataloader_num_workers": [0],
        "report_to": ["none"],
        "output_dir": [tmp_path / "checkpoints"],
    }
    words += [str(word) for name, values in more.items() for word in (f"--{name}", *values)]
    settings = {
        "PYTHONPATH": f"{ROOT / 'src'}:{HERE / 'side'}",
        "PYTHONDONTWRITEBYTECODE": "",
        "TINY": str(tiny),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    run_swift(words, settings | variables, tmp_path / "log.txt")
    (folder,) = (tmp_path / "checkpoints").glob("*/checkpoint-2")
    lines = [json.loads(line) for line in (folder.parent / "logging.jsonl").read_text("utf-8").splitlines()]
    steps = [line for line in lines if "grad_norm" in line]
    assert len(steps) == 2
    for step in steps:
        assert float(step["rewards/Spread/std"]) > 0
        assert float(step["grad_norm"]) > 0
    before = safetensors.torch.load_file(tiny / "model.safetensors")
    after = safetensors.torch.load_file(folder / "model.safetensors")
    moved = [name for name, weight in after.items() if not torch.equal(weight, before[name])]
    assert any("visual" in name for name in moved)
    assert len(moved) > len(after) // 2


def run_swift(words: list[str], settings: dict[str, str], log: Path) -> None:
    """Run a command of swift in the side environment, with what it prints in a log."""
    program = ROOT / ".side/swift/bin/python"
    if not program.exists():
        pytest.fail("no side environment 'swift': run `make integration`, which makes it")
    start = "import sys, torchvision_ops; from swift.pipelines import rlhf_main; rlhf_main(sys.argv[2:])"
    with log.open("w") as file:
        process = subprocess.Popen(
            [str(program), "-c", start, *words],
            env=os.environ | settings,
            cwd=log.parent,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(60 * MINUTES)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            pytest.fail(f"swift took more than {MINUTES} minutes\n{log.read_text('utf-8', 'replace')[-4000:]}")
    if status:
        pytest.fail(f"swift: status {status}\n{log.read_text('utf-8', 'replace')[-6000:]}", pytrace=False)
