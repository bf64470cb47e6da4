"""Shapes of released models, and questions of the paper's size, for `gpu_step` and `gpu_derive`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from videossr.clock import uniform_clock
from videossr.engine.checkpoint import Checkpoint, open_checkpoint
from videossr.models.tiny import Family, make_tiny
from videossr.question import Clip, Gold, Question, Truth
from videossr.storage.paths import AnyPath, to_path
from videossr.templates import load_templates
from videossr.training.config import TrainConfig, load_config
from videossr.training.cost.flops import Load, load_of

TOWER: Mapping[str, Any] = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "num_position_embeddings": 2304,
    "initializer_range": 0.02,
}
SMALL_TOWER: Mapping[str, Any] = {**TOWER, "depth": 24, "hidden_size": 1024, "intermediate_size": 4096}
DEEPSTACK: Mapping[str, Any] = {"deepstack_visual_indexes": [8, 16, 24]}
SMALL_DEEPSTACK: Mapping[str, Any] = {"deepstack_visual_indexes": [5, 11, 17]}

QWEN3: Mapping[str, Any] = {
    "vocab_size": 151936,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "initializer_range": 0.02,
    "rope_theta": 5e6,
    "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True},
}
QWEN3_5: Mapping[str, Any] = {
    "vocab_size": 248320,
    "num_hidden_layers": 32,
    "layer_types": [*["linear_attention"] * 3, "full_attention"] * 8,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "initializer_range": 0.02,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1e7,
        "partial_rotary_factor": 0.25,
        "mrope_section": [11, 11, 10],
        "mrope_interleaved": True,
    },
}

SHAPES: Mapping[str, tuple[Family, Mapping[str, Any], Mapping[str, Any]]] = {
    "qwen3-vl-8b": (
        "qwen3_vl",
        {**QWEN3, "hidden_size": 4096, "intermediate_size": 12288},
        {**TOWER, **DEEPSTACK, "out_hidden_size": 4096},
    ),
    "qwen3-vl-4b": (
        "qwen3_vl",
        {**QWEN3, "hidden_size": 2560, "intermediate_size": 9728},
        {**SMALL_TOWER, **SMALL_DEEPSTACK, "out_hidden_size": 2560},
    ),
    "qwen3.5-9b": (
        "qwen3_5",
        {**QWEN3_5, "hidden_size": 4096, "intermediate_size": 12288},
        {**TOWER, "out_hidden_size": 4096},
    ),
    "qwen3.5-4b": (
        "qwen3_5",
        {**QWEN3_5, "hidden_size": 2560, "intermediate_size": 9216},
        {**SMALL_TOWER, "out_hidden_size": 2560},
    ),
    "tiny": ("qwen3_vl", {}, {}),
    "tiny-qwen3.5": ("qwen3_5", {}, {}),
}
"""Family, language model and vision tower by name, from their configurations. All have a head of its own weights, which
the 4B models do not have."""

_TEMPLATES = load_templates()
SYSTEM = _TEMPLATES["system"]["text"]
PROMPT = _TEMPLATES["grounding"]["prompt"].format(
    change=_TEMPLATES["grounding"]["changes"]["slow"], example="14.5-26.2"
)

FRAMES = 48
"""Frames of a clip, as in the paper."""

SIDE = 256
"""Side of a frame in pixels, as in the paper."""

TOKENS = 16
"""Length of an answer for which the target of the measurement is set."""


class NoiseQuestions:
    """Questions about clips of noise, with the paper's number and size of frames. A `QuestionSet`."""

    def __init__(self, count: int, frames: int, side: int) -> None:
        self.path: AnyPath = to_path(".")
        self._count = count
        self._clock = uniform_clock(frames, frames * 1000)
        self._frames = np.random.default_rng(0).integers(0, 256, (frames, side, side, 3), np.uint8)

    @property
    def hash(self) -> str:
        return "noise"

    def __len__(self) -> int:
        return self._count

    def question(self, index: int) -> Question:
        return Question(str(index), "videossr/grounding", SYSTEM, PROMPT, "12.0-20.0", (self._clock,))

    def gold(self, index: int) -> Gold:
        return Gold(str(index), "videossr/grounding", "12.0-20.0")

    def clips(self, index: int) -> list[Clip]:
        return [Clip(np.roll(self._frames, index, axis=0), self._clock)]

    def category(self, index: int) -> str:
        return "noise"

    def source(self, index: int) -> str:
        return str(index)

    def difficulty(self, index: int) -> Mapping[str, float | str]:
        return {}

    def truth(self, index: int) -> Truth:
        return Truth()


def checkpoint(folder: Path, shape: str) -> Checkpoint:
    """Write a checkpoint without weights of one of `SHAPES`: its configuration, and a tiny model's tokenizer."""
    family, text, vision = SHAPES[shape]
    make_tiny(folder, family=family)
    path = folder / "config.json"
    table = json.loads(path.read_text("utf-8"))
    table["text_config"] |= text
    table["vision_config"] |= vision
    path.write_text(json.dumps(table), "utf-8")
    return open_checkpoint(str(folder))


def configured(changes: Mapping[str, str], questions: int) -> TrainConfig:
    """Load the recipe for one GPU, with a length of answers and other settings."""
    return load_config("train-1xh200", {"run.batch": str(questions), "grpo.max_tokens": str(TOKENS), **changes})


def load_in(source: Checkpoint, config: TrainConfig) -> Load:
    """Return the work of one question."""
    noise = NoiseQuestions(1, FRAMES, SIDE)
    prompt = source.build(noise.question(0), noise.clips(0))
    return load_of(prompt, config.grpo.rollouts, config.grpo.max_tokens)
