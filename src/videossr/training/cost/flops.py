"""Count the operations of a group from a model's shapes, and those that a device could do: MFU is their ratio.

One multiplication and one addition are two operations. Products of matrices and attention are counted, nothing else.
Exercised by `python -m benchmarks.gpu_derive` and by the `mfu` of every step of `videossr train`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from videossr.engine.model import VisionLanguageModel, VisionTowerConfig, as_module, base_model, delta_nets
from videossr.engine.shared_prefix import SCORED_AT_ONCE, SHARED
from videossr.prompt.base import Prompt
from videossr.training.config import GrpoConfig, RunSettings

PEAKS = {
    "H200": 989e12,
    "H100": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H20": 148e12,
    "GH200": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "A6000": 155e12,
    "4090": 165e12,
    "3090": 71e12,
}
"""Dense bfloat16 operations a second, by words in the name of a card, from the makers' data sheets."""


TRIAL = 0.2
"""Seconds."""

CHUNK = 64
"""Tokens that the gated delta rule of `qwen3_5` takes at once."""


@dataclass(frozen=True, slots=True)
class Load:
    """The sizes of one question and its answers, which decide what it costs.

    Attributes:
        prompt: its tokens.
        pictures: (how many, patches of each): what the vision tower looks at one by one, pairs of frames.
        answers: how many are drawn.
        tokens: of an answer.
    """

    prompt: int
    pictures: tuple[tuple[int, int], ...]
    answers: int
    tokens: int

    @property
    def patches(self) -> int:
        """Patches that the vision tower reads in all."""
        return sum(count * size for count, size in self.pictures)


@dataclass(frozen=True, slots=True)
class OperationCount:
    """Operations of one group, or of several.

    Attributes:
        vision, prefill: of what reads the prompt, forward, with gradient.
        decode: of sampling; where nothing is shared, reading the prompts for it is part of it.
        loss: of the answers behind the prompt, forward.
        backward: through all of it.
        recomputed: what the backward pass computes once more.
        reference: of the model that the policy is held to.
    """

    vision: float
    prefill: float
    decode: float
    loss: float
    backward: float
    recomputed: float
    reference: float

    @property
    def needed(self) -> float:
        """All but what was computed again to save memory: by convention MFU counts this."""
        return self.vision + self.prefill + self.decode + self.loss + self.backward + self.reference

    def __add__(self, other: OperationCount) -> OperationCount:
        return OperationCount(*(getattr(self, name) + getattr(other, name) for name in OperationCount.__slots__))


def load_of(prompt: Prompt, answers: int, tokens: int) -> Load:
    """Return the load of a prompt and `answers` answers of `tokens` tokens."""
    pictures = tuple((int(pairs), int(height * width)) for pairs, height, width in prompt.grids)
    return Load(len(prompt.ids), pictures, answers, tokens)


class Counter:
    """Count the operations of groups, for one model and configuration."""

    def __init__(self, model: VisionLanguageModel, run: RunSettings, grpo: GrpoConfig, *, masked: bool = True) -> None:
        """Read the shapes of a model, which may be on the meta device.

        Args:
            model: as it learns: frozen parts frozen, adapters in place.
            run: its method, and whether prompts are shared and layers recomputed.
            grpo: whether there is a KL.
            masked: what the causal mask hides of a prompt is not counted, as good kernels leave it out; torch's own
                counter counts it.
        """
        base = base_model(model)
        self._shared = run.share_prefix and base.config.model_type in SHARED
        text, tower = base.config.get_text_config(), base.config.vision_config
        visual, language = base.model.visual, base.model.language_model
        self._samples = run.method == "grpo"
        self._has_reference = run.method == "grpo" and grpo.kl > 0
        self._recompute = run.recompute
        self._hidden = 0.5 if masked else 1.0
        self._merged = float(tower.spatial_merge_size**2)
        self._patch = _products([as_module(visual.patch_embed)])
        self._blocks = [_products([block]) for block in visual.blocks]
        mergers = [visual.merger, *getattr(visual, "deepstack_merger_list", ())]
        self._mergers = _products(mergers)
        self._mergers_again = self._mergers - sum(map(_last_product, mergers))
        self._blocks_again = sum(self._blocks) - sum(map(_last_product, visual.blocks))
        self._tower_width = float(tower.hidden_size)
        self._windows = _windows(tower)
        experts = getattr(text, "num_experts", 0)
        used = getattr(text, "num_experts_per_tok", 0) / experts if experts else 1.0
        self._layers = _products(language.layers, used)
        self._layers_again = self._layers - sum(map(_last_product, language.layers))
        heads = text.num_attention_heads
        width = getattr(text, "head_dim", None) or text.hidden_size // heads
        recurrent = [mixer for mixer in delta_nets(base) if mixer is not None]
        self._attention = 4.0 * float((text.num_hidden_layers - len(recurrent)) * heads * width)
        chunks = [_chunk_operations(mixer) for mixer in recurrent]
        self._chunk, self._chunk_back, self._chunk_write = (sum(chunk[side] for chunk in chunks) for side in range(3))
        self._head = _products([base.lm_head])
        # A weight that learns costs a product in the backward pass, and so does the gradient of its input.
        self._text_back = 1 + _learning_share(language.layers, used)
        share = _learning_share([as_module(visual)])
        self._vision_back = 1 + share if share else 0.0
        self._patch_back = share  # nothing goes back to pixels
        self._head_back = 1 + _learning_share([base.lm_head])

    def group(self, load: Load) -> OperationCount:
        """Return the operations of one question and its answers, or of a supervised question."""
        shared = self._shared
        times = 1 if shared else load.answers
        seen, read = self._vision(load), self._read(load.prompt)
        vision, prefill = times * seen, times * (sum(read) + self._head)
        behind = load.answers * max(0, load.tokens - 1)
        if shared:  # several answers are one packed sequence
            full = max(1, SCORED_AT_ONCE // max(1, load.tokens - 1))
            sizes = [min(full, load.answers - first) for first in range(0, load.answers, full)]
            beside = (load.tokens - 1) ** 2 * sum(size**2 for size in sizes)
            layers, looks = behind * self._layers, self._attention * (behind * load.prompt + beside)
            chunks = load.answers * _chunks(load.tokens - 1)
        else:
            layers = behind * self._layers
            looks = self._attention * load.answers * (load.prompt * (load.tokens - 1) + (load.tokens - 1) ** 2 / 2)
            chunks = load.answers * (_chunks(load.prompt + load.tokens - 1) - _chunks(load.prompt))
        head = behind * self._head
        rule = chunks * self._chunk
        loss = layers + looks + rule + head
        cut = load.patches * self._patch
        backward = times * ((seen - cut) * self._vision_back + cut * self._patch_back)
        backward += (times * read[0] + layers) * self._text_back
        backward += 2 * (times * read[1] + looks) + (head + times * self._head) * self._head_back
        backward += (times * _chunks(load.prompt) + chunks) * self._chunk_back
        backward -= load.answers * self._chunk_write  # nothing looks at the state behind an answer
        recomputed = 0.0
        if self._recompute:
            tokens = times * load.prompt + behind
            recomputed = tokens * self._layers_again + times * (read[1] + read[2]) + looks + rule
            if self._vision_back:
                again = self._blocks_again + self._mergers_again / self._merged
                recomputed += times * (load.patches * again + self._tower_attention(load))
        if shared and behind > SCORED_AT_ONCE:
            recomputed += head
        decode = self._decode(load) + (0 if shared else vision + prefill) if self._samples else 0.0
        reference = vision + prefill + loss if self._has_reference else 0.0
        return OperationCount(vision, prefill, decode, loss, backward, recomputed, reference)

    def _vision(self, load: Load) -> float:
        """Return the operations of the vision tower, forward."""
        products = self._patch + sum(self._blocks) + self._mergers / self._merged
        return load.patches * products + self._tower_attention(load)

    def _tower_attention(self, load: Load) -> float:
        """Return the operations of attention in the vision tower, forward."""
        looks = 0.0
        for count, size in load.pictures:
            looks += count * sum(4.0 * self._tower_width * size * min(size, window) for window in self._windows)
        return looks

    def _read(self, tokens: int) -> tuple[float, float, float]:
        """Return the operations of reading a prompt: products with weights, attention, and the gated delta rule."""
        rule = _chunks(tokens) * self._chunk
        return tokens * self._layers, self._attention * tokens**2 * self._hidden, rule

    def _decode(self, load: Load) -> float:
        """Return the operations of sampling."""
        steps = max(0, load.tokens - 1)
        answers_per_row = load.answers if self._shared else 1  # answers that lie in one row
        keys = sum(load.prompt + answers_per_row * (step + 1) for step in range(steps))
        return load.answers * (steps * (self._layers + self._head) + self._attention * keys)


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations a second that a device could do: of a known card by its name, of another by a short trial.

    The trial is a product of matrices, so it tells what is reached and not what was promised.
    """
    if device.type == "cuda" and dtype == torch.bfloat16:
        words = torch.cuda.get_device_name(device)
        known = [name for name in PEAKS if all(word in words for word in name.split())]
        if known:
            return PEAKS[max(known, key=len)]
    return _measured_flops(device, dtype)


@cache
def _measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations a second that a device reached in a product of matrices, tried once a process."""
    side = 4096 if device.type == "cuda" else 1024
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    until = time.perf_counter() + TRIAL
    while time.perf_counter() < until:
        start = time.perf_counter()
        float((left @ right)[0, 0])  # the device is waited for
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best


def _chunks(tokens: int) -> int:
    """Return the chunks of a row of tokens, which is padded to whole ones."""
    return -(-tokens // CHUNK)


def _chunk_operations(mixer: Any) -> tuple[float, float, float]:
    """Return the operations of the gated delta rule on one chunk of tokens in one layer.

    Products within the chunk are three, two of keys or queries and one of values; the state is read twice and written
    once. The backward pass has two for each, and two of the triangular systems that are solved. A single token, while
    answers are sampled, costs no product of matrices.

    Returns:
        Those of the forward pass, of the backward pass, and those of the latter that writing the state has.
    """
    heads, keys, values = mixer.num_v_heads, mixer.head_k_dim, mixer.head_v_dim
    forward = 2.0 * heads * (CHUNK * CHUNK * (2 * keys + values) + 3 * CHUNK * keys * values)
    backward = 2 * forward + 2.0 * heads * CHUNK * CHUNK * (keys + values)
    return forward, backward, 4.0 * heads * CHUNK * keys * values


def _products(modules: Iterable[torch.nn.Module], used: float = 1.0) -> float:
    """Return the operations a token of all products with weights: two for each weight of a matrix or a kernel.

    Of experts a token uses that share.
    """
    return 2.0 * sum(size for size, _ in _weights(modules, used))


def _last_product(layer: torch.nn.Module) -> float:
    """Return the operations a token of the product that recomputation of a layer, or of a merger, leaves out.

    Recomputation stops when it has the last tensor that the backward pass needs. That is the input of the layer's last
    product, unless the layer has experts or an adapter there.
    """
    return sum(
        2.0 * module.weight.numel()
        for name, module in layer.named_modules()
        if name in ("mlp.down_proj", "mlp.linear_fc2", "linear_fc2", "mlp.2") and isinstance(module, torch.nn.Linear)
    )


def _learning_share(modules: Iterable[torch.nn.Module], used: float = 1.0) -> float:
    """Return the share of the weights in products that learns."""
    weights = list(_weights(modules, used))
    return sum(size for size, learns in weights if learns) / max(1.0, sum(size for size, _ in weights))


def _weights(modules: Iterable[torch.nn.Module], used: float) -> Iterator[tuple[float, bool]]:
    """Yield the size of every matrix or kernel that a token meets, and whether it learns."""
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.ndim >= 2 and "embed_tokens" not in name:
                yield parameter.numel() * (used if "experts" in name else 1.0), parameter.requires_grad


def _windows(tower: VisionTowerConfig) -> Sequence[float]:
    """Return how many patches a patch looks at, at most, in each block."""
    full = getattr(tower, "fullatt_block_indexes", None)
    if full is None:
        return [float("inf")] * tower.depth
    window = (tower.window_size // tower.patch_size) ** 2
    return [float("inf") if block in full else window for block in range(tower.depth)]
