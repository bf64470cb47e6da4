"""A tiny model of each family and prompts for it; questions for a short run, and a model that can learn from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.clock import uniform_clock
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.engine.checkpoint import Checkpoint, open_checkpoint, prompt_inputs
from videossr.models.tiny import PATCH, Family, make_tiny
from videossr.question import VIDEO, Clip, Question
from videossr.templates import load_templates
from videossr.training.config import TrainConfig, load_config
from videossr.training.runs.observer import SilentObserver
from videossr.training.runs.records import Step
from videossr.training.session import train
from videossr.video.plan import Plan

Inputs = dict[str, torch.Tensor]


class RecordingObserver(SilentObserver):
    """Keep all progress of a run."""

    def __init__(self) -> None:
        self.steps: list[tuple[Step, int]] = []
        self.groups: list[tuple[int, int]] = []
        self.messages: list[str] = []

    def on_step(self, step: Step, total: int) -> None:
        self.steps.append((step, total))

    def on_group(self, done: int, total: int) -> None:
        self.groups.append((done, total))

    def on_message(self, text: str) -> None:
        self.messages.append(text)


CLIPS = ("real/bikes.mp4", "real/carphone.mp4", "made/wide.mkv")
CATEGORIES: dict[str, dict[str, Any]] = {
    "grounding/mirror": {
        "task": "grounding",
        "count": 6,
        "config": {"perturbation": "mirror", "frames": 16, "length": [4, 6]},
    },
    "jigsaw/4": {"task": "jigsaw", "count": 3, "config": {"pieces": 4, "frames": 16}},
}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Family], Checkpoint]:
    """Make a tiny checkpoint of a family."""

    @cache
    def open_tiny(family: Family) -> Checkpoint:
        folder: Path = make_tiny(tmp_path_factory.mktemp("tiny") / family, family=family, width=64, layers=3)
        return open_checkpoint(str(folder))

    return open_tiny


@pytest.fixture(scope="session")
def asked(tiny: Callable[[Family], Checkpoint]) -> Callable[..., Inputs]:
    """Return the input of a model for a question of some clips with some noisy frames each."""

    def make_inputs(family: Family = "qwen3_vl", clips: int = 1, frames: int = 8, seed: int = 0) -> Inputs:
        side = 4 * PATCH[family]
        noise = np.random.default_rng(seed)
        shown = [
            Clip(noise.integers(0, 256, (frames, side, side, 3), np.uint8), uniform_clock(frames, frames * 500))
            for _ in range(clips)
        ]
        prompt = f"{VIDEO}\n" * clips + "When is it?"
        question = Question("q", "videossr/grounding", "Look.", prompt, "1.0-2.0", tuple(clip.clock for clip in shown))
        return prompt_inputs(tiny(family).build(question, shown), torch.device("cpu"), torch.float32)

    return make_inputs


@pytest.fixture(scope="session")
def small(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build nine questions with 16 small frames each in `data`, and their `corpus`."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "videos").mkdir()
    for name in CLIPS:
        (folder / "videos" / Path(name).name).symlink_to(videos / name)
    index_videos(folder / "videos", folder / "corpus", Plan(frames=16, max_pixels=4096))
    mixture = recipe.ResolvedRecipe(Recipe(name="small", max_pixels=4096, categories=CATEGORIES), "small")
    build_dataset(mixture, Corpus(folder / "corpus"), folder / "data", templates=load_templates())
    return folder


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model with random weights."""
    return make_tiny(tmp_path_factory.mktemp("raw") / "tiny", width=64, layers=2)


def learn_form(raw: Path, small: Path, folder: Path, epochs: int) -> Path:
    """Teach a model the form of the answers to the questions of `small`; return the checkpoint, below `folder`."""
    (folder / "sft.toml").write_text(
        f"model.path = '{raw}'\ndata.path = '{small / 'data'}'\n"
        f"run = {{method = 'sft', batch = 9, epochs = {epochs}}}\noptim = {{lr = 5e-3, schedule = 'linear'}}"
    )
    train(load_config(str(folder / "sft.toml")), folder / "run")
    return folder / "run/model"


@pytest.fixture(scope="session")
def model(raw: Path, small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model that has learned the form of answers, so that its rewards differ."""
    return learn_form(raw, small, tmp_path_factory.mktemp("warm"), epochs=25)


@pytest.fixture
def config(small: Path, model: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Make the configuration of a short run, with other values: `config(run__batch=2)`."""

    def make_config(**changed: Any) -> TrainConfig:
        (tmp_path / "empty.toml").write_text("")
        table = {
            "model.path": f'"{model}"',
            "data.path": f'"{small / "data"}"',
            "run.batch": 3,
            "run.epochs": 2,
            "grpo.rollouts": 4,
            "grpo.max_tokens": 10,
            "optim.lr": 1e-3,
            "log.save_every": 2,
            "log.samples_every": 2,
        } | {name.replace("__", "."): value for name, value in changed.items()}
        return load_config(str(tmp_path / "empty.toml"), {name: str(value) for name, value in table.items()})

    return make_config
