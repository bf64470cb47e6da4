"""Derive from the model's shape, or measure on a card, the cost of a GRPO step on Qwen3-VL-8B.

    python -m benchmarks.gpu_step --derive            # no card, no weights: the tables of docs/results/train-gpu.md
    python -m benchmarks.gpu_step --steps 4           # on a card: the trainer with random weights
    python -m benchmarks.gpu_step --steps 2 --questions 4 --set run.share_prefix=false --set run.rows=8
    python -m benchmarks.gpu_step --questions 4 --tiny --set run.dtype=float32    # a test of the script, on any machine

The model's weights are random and its answers have all their tokens, so that every run does the same work. `--set`
changes the recipe `train-1xh200`, as `videossr train` does.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

from videossr.clock import uniform_clock
from videossr.engine.checkpoint import Checkpoint, device_name, find_device, open_checkpoint
from videossr.engine.kv_cache import cache_arguments, cache_states, empty_cache
from videossr.engine.model import base_model, context_length, use_linear_patches
from videossr.engine.shared_prefix import ATTENTION, SharedPrefix, answer_scores, can_share
from videossr.models.tiny import make_tiny
from videossr.question import Clip, Gold, Question, Truth
from videossr.storage.paths import AnyPath, to_path
from videossr.templates import load_templates
from videossr.training.config import TrainConfig, load_config
from videossr.training.cost.activations import Fused
from videossr.training.cost.flops import Counter, Load, OperationCount, load_of, peak_flops
from videossr.training.cost.memory import GIB, USED, empty_model, memory_plan
from videossr.training.loader import QuestionLoader
from videossr.training.optim import Optimizer
from videossr.training.parallel import World
from videossr.training.plan import resolve_dtype
from videossr.training.policy import Policy, prepare_model
from videossr.training.trainer import Trainer

TEXT = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "initializer_range": 0.02,
    "rope_theta": 5e6,
    "rope_scaling": {"rope_type": "default", "mrope_section": [24, 20, 20], "mrope_interleaved": True},
}
VISION = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "out_hidden_size": 4096,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [8, 16, 24],
    "initializer_range": 0.02,
}
"""Qwen3-VL-8B-Instruct, by its config.json."""

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

REACHED = 0.4
"""Of the peak, in products of matrices: what a good kernel reaches at these sizes. Assumed."""

LAUNCH = 8e-6
"""Seconds in which eager Python gets one more kernel under way. Assumed; 5 to 12 microseconds are usual."""

QUESTIONS = 30_000
"""Of the paper's data set, seen once."""


@dataclass(frozen=True)
class Card:
    """Peak operations a second, memory traffic in bytes a second, and memory in bytes of a card."""

    name: str
    peak: float
    traffic: float
    memory: float


CARDS = (Card("H200", 989e12, 4.8e12, 141e9), Card("H100", 989e12, 3.35e12, 80e9))

WAYS: Mapping[str, Mapping[str, str]] = {
    "full": {},
    "full, frozen tower": {"model.train_vision": "false"},
    "LoRA 64": {"model.lora.rank": "64", "run.decode_groups": "8"},
}


class Noise:
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


def checkpoint(folder: Path, tiny: bool) -> Checkpoint:
    """Write a checkpoint without weights: a tiny model's tokenizer, and the real model's shape."""
    make_tiny(folder)
    if not tiny:
        path = folder / "config.json"
        table = json.loads(path.read_text("utf-8"))
        table["text_config"] |= TEXT
        table["vision_config"] |= VISION
        path.write_text(json.dumps(table), "utf-8")
    return open_checkpoint(str(folder))


def configured(changes: Mapping[str, str], questions: int) -> TrainConfig:
    """Load the recipe for one card, with a length of answers and other settings."""
    return load_config("train-1xh200", {"run.batch": str(questions), "grpo.max_tokens": str(TOKENS), **changes})


def load_in(source: Checkpoint, config: TrainConfig) -> Load:
    """Return the work of one question."""
    noise = Noise(1, FRAMES, SIDE)
    prompt = source.build(noise.question(0), noise.clips(0))
    return load_of(prompt, config.grpo.rollouts, config.grpo.max_tokens)


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A counter of kernels: every call that is no mere view counts once, fused attention twice."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += not func.is_view and func is not torch.ops.aten._unsafe_view.default
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Kernels:
    """Forward calls: for a token of a group, a prompt, the vision tower, and the answers behind a prompt."""

    token: int
    read: int
    tower: int
    answers: int


@torch.no_grad()
def kernels(model: Any, load: Load) -> Kernels:
    """Count kernels on the meta device."""
    base = base_model(model)

    def run(rows: int, past: Any) -> int:
        ids = torch.zeros(1, rows, dtype=torch.long, device="meta")
        places = torch.zeros(4, 1, rows, dtype=torch.long, device="meta")
        with Fused(), Launches() as counted:
            base(input_ids=ids, position_ids=places, **cache_arguments(base, past), logits_to_keep=1)
        return int(counted.count)

    cache = empty_cache(base)
    read = run(load.prompt, cache)
    token = run(1, cache)
    logits = torch.zeros(1, base.config.get_text_config().vocab_size, device="meta")
    with Fused(), Launches() as answers:
        answer_scores(
            base, SharedPrefix(logits, cache_states(cache), load.prompt + 1, 0), [[0] * load.tokens] * load.answers
        )
    shape = base.config.vision_config
    sizes = [0, *(size for count, size in load.pictures for _ in range(count))]
    hidden = torch.zeros(load.patches, shape.hidden_size, dtype=base.dtype, device="meta")
    angles = torch.zeros(load.patches, shape.hidden_size // shape.num_heads, device="meta")
    with Fused(), Launches() as block:
        base.model.visual.blocks[0](
            hidden, cu_seqlens=torch.tensor(sizes).cumsum(0, dtype=torch.int32), position_embeddings=(angles, angles)
        )
    return Kernels(token, read, shape.depth * block.count, answers.count)


def derive() -> None:
    """Print the tables of docs/results/train-gpu.md."""
    with tempfile.TemporaryDirectory() as name:
        source = checkpoint(Path(name), tiny=False)
        shape = transformers.AutoConfig.from_pretrained(name)
    for way, changes in WAYS.items():
        config = configured(changes, 64)
        load = load_in(source, config)
        model = empty_model(shape, config.model, torch.bfloat16)
        alone = configured({**changes, "run.share_prefix": "false"}, 64)
        work, usual = (Counter(model, settings.run, settings.grpo).group(load) for settings in (config, alone))
        calls = kernels(model, load)
        plan = memory_plan(model, config, load)
        print(f"\n## {way}: {load.prompt} tokens a prompt, {load.patches} patches, {load.answers} x {load.tokens}\n")
        print("10^12 operations: " + ", ".join(f"{name} {getattr(work, name) / 1e12:.1f}" for name in NAMES))
        print(f"needed {work.needed / 1e12:.1f}; without sharing {usual.needed / 1e12:.0f}")
        print(f"{calls}\n\n{plan.table()}")
        for card in CARDS:
            shares = parts(model, config, load, work, calls, card)
            fits = "fits" if plan.total <= USED * card.memory else "does not fit"
            print(f"\n{card.name}, {card.memory / GIB:.0f} GiB: {fits}\n")
            print("| seconds a question | card | launches | the longer |\n|---|---|---|---|")
            for part in shares:
                print(f"| {part.name} | {part.card:.3f} | {part.launch:.3f} | {part.both:.3f} |")
            whole = (sum(getattr(part, name) for part in shares) for name in ("card", "launch", "both"))
            print("| **together** | " + " | ".join(f"**{value:.2f}**" for value in whole) + " |")
            unshared = (usual.needed + usual.recomputed) / card.peak / REACHED
            print(f"\nWithout sharing, products of matrices alone: {unshared:.2f}.")


NAMES = ("vision", "prefill", "decode", "loss", "backward", "recomputed", "reference")


@dataclass(frozen=True)
class Part:
    """Seconds that one question takes in one part of a step: those of the card, and those of launching its kernels."""

    name: str
    card: float
    launch: float = 0.0

    @property
    def both(self) -> float:
        """Seconds on the wall: the card works while further kernels are launched, so the longer time counts."""
        return max(self.card, self.launch)


def parts(model: Any, config: TrainConfig, load: Load, work: OperationCount, calls: Kernels, card: Card) -> list[Part]:
    """Derive the seconds of each part of a step for one question.

    The backward pass launches two kernels for each of the forward pass, and recomputation launches those again.
    """
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    base = base_model(model)
    text: Any = base.config.get_text_config()
    weights = (*base.model.language_model.layers.parameters(), *base.lm_head.parameters())
    read = 2 * sum(weight.numel() for weight in weights)
    cache = (
        4
        * load.prompt
        * text.num_hidden_layers
        * text.num_key_value_heads
        * text.hidden_size
        // text.num_attention_heads
    )
    groups = config.run.decode_groups
    steps = load.tokens - 1
    back = 2 + config.run.recompute
    tower = calls.tower if config.model.train_vision else 0
    forward_kernels = calls.read + calls.tower + calls.answers

    def product(operations: float) -> float:
        return operations / card.peak / REACHED

    return [
        Part("vision", product(work.vision), calls.tower * LAUNCH),
        Part("prefill", product(work.prefill), calls.read * LAUNCH),
        Part("decode", steps * (read / groups + cache) / card.traffic, steps * calls.token * LAUNCH / groups),
        Part("reference", product(work.reference), forward_kernels * LAUNCH if config.grpo.kl else 0),
        Part(
            "loss and backward pass",
            product(work.loss + work.backward + work.recomputed),
            (calls.answers + back * (calls.read + tower + calls.answers)) * LAUNCH,
        ),
        # A gradient in bfloat16 is written and read, and added to one in float32.
        Part("summing gradients", trained * (2 + 2 + 4 + 4) / card.traffic),
        Part("optimizer", trained * STEPPED[config.optim.moments] / card.traffic / config.run.batch),
    ]


STEPPED = {"float32": 48, "8bit": 170, "offload": 12}
"""Bytes that a step moves on the card for each weight, about: 8 bits are made and unmade by some 20 kernels."""


def measure(steps: int, questions: int, changes: Mapping[str, str], tiny: bool) -> None:
    """Make steps of the trainer and print the figures of each."""
    config = configured(changes, questions)
    device = find_device(config.run.device)
    with tempfile.TemporaryDirectory() as name:
        source = checkpoint(Path(name), tiny)
        shape = transformers.AutoConfig.from_pretrained(name)
    policy = random_policy(source, shape, config, device)
    load = load_in(source, config)
    dtype = resolve_dtype(config.run.dtype, device)
    empty = empty_model(shape, config.model, dtype)
    plan = memory_plan(empty, config, load)
    work = Counter(empty, config.run, config.grpo).group(load)
    peak = peak_flops(device, dtype)
    print(f"{device_name(device)}, torch {torch.__version__}, peak {peak / 1e12:.0f} x 10^12 operations a second")
    print(f"{load.prompt} tokens a prompt, {load.answers} answers of {load.tokens}, shared: {not policy.unshared}")
    print(plan.table())
    optimizer = Optimizer(policy.model.named_parameters(), config.optim, seed=0)
    noise = Noise(questions * steps, FRAMES, SIDE)
    numbers = range(1, steps + 1)
    loader = QuestionLoader(
        noise,
        range(len(noise)),
        policy,
        config.run,
        config.data,
        batches=numbers,
        batches_per_step=config.batches_per_step,
        answer_tokens=config.grpo.max_tokens,
        world=World(),
    )
    with loader:
        for made in Trainer(policy, optimizer, loader, config.run, config.grpo, steps=numbers):
            step = made.step
            for failure in made.failures:
                print(f"question {failure.index}: {failure.error}")
            seconds = step.wall / questions
            phases = " ".join(f"{phase} {spent / questions:.3f}" for phase, spent in step.seconds.items())
            print(
                f"step {step.step}: {seconds:.3f} s a question, {1 / seconds:.2f} questions a second, "
                f"MFU {work.needed / seconds / peak:.3f}, {step.memory_gib:.1f} GiB, gap {step.gap:.2g} nats, "
                f"changed {step.changed:.4f}; {phases}",
                flush=True,
            )


def random_policy(source: Checkpoint, shape: Any, config: TrainConfig, device: torch.device) -> Policy:
    """Return a policy with random weights, whose answers never end by themselves."""
    torch.manual_seed(0)
    with device:
        model = transformers.AutoModelForImageTextToText.from_config(
            shape, dtype=resolve_dtype(config.run.dtype, device), attn_implementation=ATTENTION
        ).eval()
        use_linear_patches(model)
    frozen = copy.deepcopy(model).requires_grad_(False) if config.needs_reference else None
    unshared = can_share(model) if config.run.share_prefix else "run.share_prefix is off"
    return Policy(
        source, prepare_model(model, config.model), frozen, device, frozenset(), context_length(model), unshared
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A step of GRPO on Qwen3-VL-8B's shape, derived or measured.")
    parser.add_argument("--derive", action="store_true", help="print what follows from the shape")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--questions", type=int, default=16, help="a step")
    parser.add_argument("--tiny", action="store_true", help="a tiny model's shape")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="of the configuration")
    chosen = parser.parse_args()
    if chosen.derive:
        derive()
    else:
        measure(chosen.steps, chosen.questions, dict(setting.split("=", 1) for setting in chosen.set), chosen.tiny)


if __name__ == "__main__":
    main()
