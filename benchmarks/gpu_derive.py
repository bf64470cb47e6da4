"""Derive what a GRPO step costs on a GPU, from a model's shape: operations, kernels, memory, and seconds by assumption.

python -m benchmarks.gpu_derive                     # the tables of docs/results/train-gpu.md; no GPU, no weights
python -m benchmarks.gpu_derive --shape qwen3.5-9b
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.gpu_shapes import SHAPES, checkpoint, configured, load_in
from videossr.engine.kv_cache import cache_arguments, cache_states, empty_cache
from videossr.engine.model import base_model
from videossr.engine.shared_prefix import SharedPrefix, answer_scores
from videossr.training.config import TrainConfig
from videossr.training.cost.activations import Fused
from videossr.training.cost.flops import Counter, Load, OperationCount
from videossr.training.cost.memory import GIB, USED, cache_size, empty_model, memory_plan

REACHED = 0.4
"""Of the peak, in products of matrices: what a good kernel reaches at these sizes. Assumed."""

LAUNCH = 8e-6
"""Seconds in which eager Python gets one more kernel under way. Assumed; 5 to 12 microseconds are usual."""


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


def derive(shape: str) -> None:
    """Print the tables of docs/results/train-gpu.md."""
    print(
        "Derived, not measured. Operations, kernels and memory are counted; seconds assume that products of matrices\n"
        f"reach {REACHED:.0%} of the peak, and that a kernel is launched every {LAUNCH * 1e6:.0f} microseconds.\n"
        "`Kernels` are those of a decoded token, of reading a prompt, of the vision tower and of a group's answers.",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as name:
        source = checkpoint(Path(name), shape)
        table = transformers.AutoConfig.from_pretrained(name)
    for way, changes in WAYS.items():
        config = configured(changes, 64)
        load = load_in(source, config)
        model = empty_model(table, config.model, torch.bfloat16)
        alone = configured({**changes, "run.share_prefix": "false"}, 64)
        work, usual = (Counter(model, settings.run, settings.grpo).group(load) for settings in (config, alone))
        calls = kernels(model, load)
        plan = memory_plan(model, config, load)
        print(
            f"\n## {way}: {load.prompt} tokens a prompt, {load.patches} patches, "
            f"{load.answers} answers of {load.tokens}\n"
        )
        print("10^12 operations: " + ", ".join(f"{name} {getattr(work, name) / 1e12:.1f}" for name in NAMES))
        print(f"needed {work.needed / 1e12:.1f}; without sharing {usual.needed / 1e12:.0f}")
        print(f"{calls}\n\n{plan.table()}")
        for card in CARDS:
            shares = parts(model, config, load, work, calls, card)
            fits = "fits" if plan.total <= USED * card.memory else "does not fit"
            print(f"\n{card.name}, {card.memory / GIB:.0f} GiB: {fits}\n")
            print("| seconds a question | work of the GPU | launches | the longer of both |\n|---|---|---|---|")
            for part in shares:
                print(f"| {part.name} | {part.card:.3f} | {part.launch:.3f} | {part.both:.3f} |")
            whole = (sum(getattr(part, name) for part in shares) for name in ("card", "launch", "both"))
            print("| **together** | " + " | ".join(f"**{value:.2f}**" for value in whole) + " |")
            unshared = (usual.needed + usual.recomputed) / card.peak / REACHED
            print(f"\nWithout sharing, products of matrices alone, with those that are recomputed: {unshared:.2f}.")


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
    weights = (*base.model.language_model.layers.parameters(), *base.lm_head.parameters())
    read = 2 * sum(weight.numel() for weight in weights)
    cache = cache_size(base, replace(load, answers=0), shared=True)
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


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="What a step of GRPO costs on a GPU, by count.")
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-vl-8b")
    derive(parser.parse_args().shape)


if __name__ == "__main__":
    main()
