"""TRL's trainer shows the model our prompts, computes our loss, and runs by the command of the example.

So `benchmarks/train_step.py` compares the same work.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.integration.conftest import MINUTES, ROOT, Ask
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.clock import Clock
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.dataset import VideoSSRDataset
from videossr.engine.checkpoint import Checkpoint, open_checkpoint, prompt_inputs
from videossr.engine.shared_prefix import answer_scores, read_prefix
from videossr.models.tiny import Family, make_tiny
from videossr.prompt.base import Prompt
from videossr.templates import load_templates
from videossr.training.config import GrpoConfig
from videossr.training.grpo import EPSILON, group_advantages, group_loss
from videossr.video.plan import Plan

pytestmark = pytest.mark.integration

CPU = torch.device("cpu")
TOKENS = 7
QUESTIONS = (0, 7)
"""Two prompts of unequal length, so that TRL pads."""

LENGTHS = ((7, 3, 1, 5), (2, 7, 7, 4))
REWARDS = ((0.25, 1.0, 0.0, 0.5), (0.0, 0.0, 1.0, 0.75))
THEIR_EPSILON = 1e-4
"""What TRL adds to a group's deviation."""

CASES = [
    ({"loss": "dapo", "beta": 0.0, "scale": "group"}, GrpoConfig(aggregate="token", kl=0)),
    ({"loss": "dapo", "beta": 0.01, "scale": "group"}, GrpoConfig(aggregate="token", kl=0.01)),
    ({"loss": "grpo", "beta": 0.0, "scale": "group"}, GrpoConfig(aggregate="answer", kl=0)),
    ({"loss": "grpo", "beta": 0.01, "scale": "group"}, GrpoConfig(aggregate="answer", kl=0.01)),
    (
        {"loss": "dr_grpo", "beta": 0.01, "scale": "none"},
        GrpoConfig(aggregate="constant", kl=0.01, scale="none", max_tokens=TOKENS),
    ),
]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return open_checkpoint(str(make_tiny(tmp_path_factory.mktemp("policy") / "model")))


@pytest.fixture(scope="module")
def reference(policy: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Make a reference close to the policy; the KL of the policy with itself would have no gradient."""
    folder = make_tiny(tmp_path_factory.mktemp("reference") / "model")
    weights = safetensors.torch.load_file(policy.folder / "model.safetensors")
    dice = torch.Generator().manual_seed(1)
    changed = {
        name: tensor * (1 + 0.05 * torch.randn(tensor.shape, generator=dice)) for name, tensor in weights.items()
    }
    safetensors.torch.save_file(changed, folder / "model.safetensors", {"format": "pt"})
    return open_checkpoint(str(folder))


def make_answers(policy: Checkpoint) -> list[list[list[int]]]:
    """Draw answers of any tokens but special ones; answers that are not cut off end with the end token."""
    dice = np.random.default_rng(0)
    known = [token for token in range(len(policy.tokenizer)) if token not in policy.tokenizer.all_special_ids]
    return [
        [
            [
                *dice.choice(known, length - (length < TOKENS)).tolist(),
                *[policy.tokenizer.eos_token_id] * (length < TOKENS),
            ]
            for length in lengths
        ]
        for lengths in LENGTHS
    ]


def compute_our_loss(
    policy: Checkpoint,
    reference: Checkpoint,
    dataset: VideoSSRDataset,
    answers: list[list[list[int]]],
    config: GrpoConfig,
) -> tuple[float, dict[str, torch.Tensor]]:
    """Return our loss and gradients with a shared prefix, and with TRL's epsilon in the advantages."""
    model, reference_model = (checkpoint.load(CPU, "float32", "sdpa") for checkpoint in (policy, reference))
    losses = []
    for index, group, rewards in zip(QUESTIONS, answers, REWARDS, strict=True):
        inputs = prompt_inputs(policy.build(dataset.question(index), dataset.clips(index)), CPU, torch.float32)
        scores = answer_scores(model, read_prefix(model, inputs), group, banned=policy.placeholders)
        with torch.no_grad():
            reference_logprobs = answer_scores(
                reference_model, read_prefix(reference_model, inputs), group, banned=policy.placeholders
            ).logprobs
        advantage = torch.tensor(group_advantages(rewards, config.scale))
        if config.scale == "group":
            deviation = np.std(rewards, ddof=1)
            advantage *= float((deviation + EPSILON) / (deviation + THEIR_EPSILON))
        losses.append(group_loss(scores, advantage, config, reference=reference_logprobs if config.kl else None))
    loss = torch.stack([part.total for part in losses]).sum() / sum(part.weight for part in losses)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


@pytest.fixture(scope="module")
def trl_results(
    ask: Ask, policy: Checkpoint, reference: Checkpoint, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[float], Path]:
    """Return TRL's loss for each case, and a folder with its gradients."""
    out = tmp_path_factory.mktemp("gradients")
    question: dict[str, Any] = {
        "policy": str(policy.folder),
        "reference": str(reference.folder),
        "dataset": str(dataset),
        "questions": QUESTIONS,
        "answers": make_answers(policy),
        "rewards": REWARDS,
        "tokens": TOKENS,
        "rows": 2,
        "cases": [{**case, "entropy": 0.0} for case, _ in CASES] + [{**CASES[0][0], "entropy": 0.1}],
        "out": str(out),
    }
    return ask("trl", "trl_loss.py", question), out


@pytest.mark.parametrize("number", range(len(CASES)))
def test_group_loss_and_gradients_equal_those_of_trl(
    trl_results: tuple[list[float], Path], policy: Checkpoint, reference: Checkpoint, dataset: Path, number: int
) -> None:
    """The gradients of all weights agree in float32, with clips, padding, several passes and shuffled rows."""
    losses, folder = trl_results
    trl_gradients = safetensors.torch.load_file(folder / f"{number}.safetensors")
    loss, gradients = compute_our_loss(
        policy, reference, VideoSSRDataset(dataset), make_answers(policy), CASES[number][1]
    )
    assert loss == pytest.approx(losses[number], rel=1e-5, abs=1e-6)
    assert trl_gradients.keys() == gradients.keys()
    assert any("visual" in name for name in trl_gradients)
    for name, gradient in gradients.items():
        assert (gradient - trl_gradients[name]).norm() <= 1e-5 * trl_gradients[name].norm() + 1e-8, name
    assert max(gradient.norm().item() for gradient in gradients.values()) > 0.01


def test_entropy_bonus_of_trl_has_a_gradient(trl_results: tuple[list[float], Path]) -> None:
    """The last case is the first one with a bonus; placeholders, whose probability is 0, must not spoil it."""
    losses, folder = trl_results
    plain, rewarded = (safetensors.torch.load_file(folder / f"{number}.safetensors") for number in (0, len(CASES)))
    assert losses[-1] < losses[0] - 0.1, "the entropy of a random model is above 1"
    for name, gradient in rewarded.items():
        assert gradient.isfinite().all(), name
        assert not torch.equal(gradient, plain[name]), name


def test_trl_trainer_trains_on_sampled_answers(ask: Ask, policy: Checkpoint, dataset: Path, tmp_path: Path) -> None:
    """TRL samples with its own generation, step after step, as in the benchmark."""
    question = {
        "checkpoint": str(policy.folder),
        "dataset": str(dataset),
        "prompts": 2,
        "rollouts": 4,
        "tokens": TOKENS,
        "rows": 2,
        "steps": 2,
        "lines": str(tmp_path / "steps.jsonl"),
    }
    answer = ask("trl", "trl_steps.py", question)
    fewest, most = answer["tokens"]
    assert answer["version"].startswith("1.16.")
    assert 1 <= fewest <= most == TOKENS
    assert [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
    ]


@pytest.fixture(scope="module")
def uneven(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of one clip whose slots differ in length."""
    folder = tmp_path_factory.mktemp("uneven")
    plan = Plan(kind="snap", frames=16, tolerance=0.5)
    index_videos(videos / "real/carphone.mp4", folder / "corpus", plan, isolated=False)
    category = {"task": "grounding", "count": 1, "config": {"perturbation": "mirror", "frames": 16, "length": [4, 6]}}
    build_dataset(
        recipe.ResolvedRecipe(Recipe(name="uneven", categories={"grounding/mirror": category}), "uneven"),
        Corpus(folder / "corpus"),
        folder / "dataset",
        templates=load_templates(),
    )
    return folder / "dataset"


def expected_times(clock: Clock) -> list[str]:
    """Return the seconds of each pair of slots, with one decimal; an odd last slot is its own pair."""
    times = [time / 1000 for time in clock.times_ms]
    pairs = [(times[k], times[min(k + 1, len(times) - 1)]) for k in range(0, len(times), 2)]
    return [f"{(first + second) / 2:.1f}" for first, second in pairs]


def find_prompt(ids: list[int], prompts: Sequence[Prompt]) -> int:
    """Return the index of the prompt with which a row begins."""
    (found,) = (k for k, prompt in enumerate(prompts) if ids[: len(prompt.ids)] == prompt.ids.tolist())
    return found


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen3_vl_moe", "qwen2_5_vl"])
def test_trl_trainer_shows_the_model_the_clips_at_their_times(
    ask: Ask, dataset: Path, uneven: Path, tmp_path: Path, family: Family
) -> None:
    """In generation and in the loss: tokens, times, positions and pixels, of one clip and of several."""
    opened = VideoSSRDataset(dataset)
    single = dataset if family == "qwen2_5_vl" else uneven  # it cannot express uneven clocks
    first = VideoSSRDataset(single)["category"].index("grounding/mirror")
    samples = [(single, first), (dataset, opened["category"].index("jigsaw/6"))]
    checkpoint = open_checkpoint(str(make_tiny(tmp_path / "model", family=family)))
    out = tmp_path / "out"
    question = {
        "checkpoint": str(checkpoint.folder),
        "samples": [[str(path), index] for path, index in samples],
        "out": str(out),
    }
    answer = ask("trl", "trl_prompts.py", question)
    asked = [VideoSSRDataset(path)[index] for path, index in samples]
    assert [len(item.clips) for item in asked] == [1, 6]
    assert family == "qwen2_5_vl" or asked[0].clips[0].clock.jitter_ms > 20
    prompts = [checkpoint.build(item.question, item.clips) for item in asked]
    lengths = []
    for made, video in zip(answer["prompts"], answer["videos"], strict=True):
        rows = [find_prompt(ids, prompts) for ids in made["ids"]]
        assert sorted(rows) == [0, 0, 1, 1]
        for k, ids, positions in zip(rows, made["ids"], made["positions"], strict=True):
            answered = len(ids) - len(prompts[k].ids)
            assert positions == prompts[k].all_positions(answered).tolist()
            lengths.append(answered)
            if family != "qwen2_5_vl":
                times = re.findall(r"<(\d+\.\d) seconds>", checkpoint.tokenizer.decode(ids))
                assert times == [time for clip in asked[k].clips for time in expected_times(clip.clock)]
        pixels = np.concatenate([prompts[k].pixels() for k in rows])
        assert video["pixels"] == [list(pixels.shape), pytest.approx(pixels.sum(dtype=np.float64), rel=1e-9)]
        assert video["grids"] == np.concatenate([prompts[k].grids for k in rows]).tolist()
    assert len(answer["prompts"]) == 3, "one to generate, one of the reference and one of the loss"
    assert lengths[:4] == [0] * 4
    assert max(lengths) == 5
    assert {"model.safetensors", "tokenizer.json", "video_preprocessor_config.json"} <= {*answer["saved"]}
    assert open_checkpoint(str(out)).fingerprint == checkpoint.fingerprint
    assert answer["suppressed"] == sorted([5, *checkpoint.placeholders])
    assert {name: message.split(":")[0] for name, message in answer["refused"].items()} == {
        "use_vllm": "ConfigError",
        "tools": "ConfigError",
        "no videos": "DataError",
        "a text": "DataError",
        "another clip": "DataError",
    }
    assert "without having seen" in answer["refused"]["use_vllm"]
    assert "sample_rows" in answer["refused"]["no videos"]
    assert "for 2 clips" in answer["refused"]["another clip"]


def run_example(out: Path, small: Path, model: Path, *more: str) -> list[dict[str, float]]:
    """Run the example's command on a CPU with nine questions, and return the lines of the log that have a reward."""
    command = [
        str(ROOT / ".side/trl/bin/python"),
        str(ROOT / "examples/trl/train.py"),
        *("--model_name_or_path", str(model), "--dataset_name", str(small / "data"), "--output_dir", str(out)),
        *("--use_cpu", "true", "--bf16", "false", "--report_to", "none", "--logging_steps", "1"),
        *("--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "4", "--num_generations", "4"),
        *("--max_completion_length", "10", "--learning_rate", "1e-3", "--save_strategy", "steps", "--save_steps", "1"),
        *more,
    ]
    settings = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    completed = subprocess.run(
        command,
        env={**os.environ, **settings},
        cwd=out.parent,
        capture_output=True,
        text=True,
        timeout=60 * MINUTES,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr[-4000:]
    state = json.loads(max(out.glob("checkpoint-*/trainer_state.json")).read_text("utf-8"))
    return [line for line in state["log_history"] if "reward" in line]


def test_example_trains_on_all_tasks(model: Path, small: Path, tmp_path: Path) -> None:
    """Two steps with questions of one clip and of four; the saved model can be asked like any other."""
    out = tmp_path / "out"
    steps = run_example(out, small, model, "--max_steps", "2")
    assert len(steps) == 2
    for name in (f"{task}/{score}" for task in ("grounding", "jigsaw") for score in ("smooth", "strict", "parsed")):
        assert all(0 <= step[name] <= 1 for step in steps), name
    assert all(step["rewards/smooth_reward/mean"] > 0 for step in steps)
    assert all(step["grad_norm"] > 0 for step in steps)
    source, saved = open_checkpoint(str(model)), open_checkpoint(str(out))
    assert saved.fingerprint == source.fingerprint
    before, after = (checkpoint.load(CPU, "float32", "sdpa").state_dict() for checkpoint in (source, saved))
    moved = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    assert any("visual" in name for name in moved)
    assert any("language_model" in name for name in moved)


def test_example_takes_the_arguments_of_trl_for_adapters(model: Path, small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lora = ("--use_peft", "--lora_r", "4", "--lora_target_modules", "q_proj", "v_proj")
    assert len(run_example(out, small, model, "--max_steps", "1", *lora)) == 1
    adapters = safetensors.torch.load_file(out / "adapter_model.safetensors")
    assert {name.split(".")[-3] for name in adapters} == {"q_proj", "v_proj"}
    assert not (out / "model.safetensors").exists()
