"""Estimate the memory of activations by running a model on the meta device, where tensors have shapes and no numbers.

The estimate follows the model's own code, adapters and gradient checkpointing included. `videossr.training.cost.memory`
uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from videossr.engine.kv_cache import cache_arguments, cache_states, empty_cache
from videossr.engine.model import VisionLanguageModel, base_model
from videossr.engine.recomputation import gradient_checkpointing
from videossr.engine.shared_prefix import SharedPrefix, answer_scores
from videossr.training.cost.flops import Load


@dataclass(frozen=True, slots=True)
class ActivationMemory:
    """The memory of activations, in bytes.

    Attributes:
        prompt: of the vision tower and the prompt, of one group; 0 where it is read with each answer.
        answers: of the answers behind it, or of as many whole rows as are gone through at once.
        layer: of the largest layer that is computed again, while the backward pass is in it.
    """

    prompt: int
    answers: int
    layer: int


def activation_memory(
    model: VisionLanguageModel, load: Load, *, recompute: bool, offload: bool = False, rows: int = 0
) -> ActivationMemory:
    """Measure what a model on the meta device keeps of one question for the backward pass.

    Args:
        model: as it learns.
        load: the question.
        recompute: whether layers keep their input alone.
        offload: whether that is kept in the machine's RAM, which is not counted.
        rows: answers at once, each with the whole prompt; 0: they share it.
    """
    within = partial(gradient_checkpointing, model, offload=offload) if recompute else nullcontext
    tower, block = _tower(model, load, recompute, offload)
    depth = len(base_model(model).model.language_model.layers)
    if rows:
        length = load.prompt + load.tokens
        whole = _read(model, length, rows, within)[0]
        layer = (_read(model, length, rows, nullcontext)[0] - whole) // depth
        return ActivationMemory(0, whole + rows * tower, max(layer, rows * block))
    prompt, prefix = _read(model, load.prompt, 1, within)
    layer = (_read(model, load.prompt, 1, nullcontext)[0] - prompt) // depth
    with _Saved(model) as saved, within():
        answer_scores(model, prefix, [[0] * load.tokens] * load.answers)
    return ActivationMemory(prompt + tower, saved.size, max(layer, block))


def _read(
    model: VisionLanguageModel, length: int, rows: int, within: Callable[[], AbstractContextManager[None]]
) -> tuple[int, SharedPrefix]:
    """Read text of a length, which takes what as much video takes; return the bytes that are kept, and the prefix."""
    with torch.device("meta"), _Saved(model) as saved, within():
        ids, places = torch.zeros(rows, length, dtype=torch.long), torch.zeros(4, rows, length, dtype=torch.long)
        cache = empty_cache(model)
        out = model(input_ids=ids, position_ids=places, **cache_arguments(model, cache), logits_to_keep=1)
        layers = cache_states(cache)
        for layer in layers:
            layer.changed(saved.take)
    return saved.size, SharedPrefix(out.logits[:, -1], layers, length, 0)


def _tower(model: VisionLanguageModel, load: Load, recompute: bool, offload: bool) -> tuple[int, int]:
    """Return the bytes that the vision tower keeps on the device, and those of one block that is computed again."""
    visual = base_model(model).model.visual
    if not any(weight.requires_grad for weight in visual.parameters()):
        return 0, 0
    shape = base_model(model).config.vision_config
    sizes = [0, *(size for count, size in load.pictures for _ in range(count))]
    dtype = visual.patch_embed.proj.weight.dtype
    with torch.device("meta"):
        hidden = torch.zeros(load.patches, shape.hidden_size, dtype=dtype, requires_grad=True)
        angles = torch.zeros(load.patches, shape.hidden_size // shape.num_heads)
        with _Saved(model) as saved:
            visual.blocks[0](
                hidden,
                cu_seqlens=torch.tensor(sizes, device="cpu").cumsum(0, dtype=torch.int32),
                position_embeddings=(angles, angles),
            )
        block = saved.size
        mergers = (visual.merger, *getattr(visual, "deepstack_merger_list", ()))
        largest = max(block, *(_saved_by(model, [merger], hidden) for merger in mergers))
        merged = _saved_by(model, mergers, hidden)
    if offload:
        return 0, largest
    patches = load.patches * visual.patch_embed.proj.weight[0].numel() * dtype.itemsize
    if recompute:  # mergers have inputs that blocks have too, but for what comes out of the last
        return (len(visual.blocks) + 1) * hidden.nbytes + patches, largest
    return len(visual.blocks) * block + merged + patches, 0


def _saved_by(model: VisionLanguageModel, modules: Sequence[torch.nn.Module], hidden: Tensor) -> int:
    """Return the bytes that modules keep of one input."""
    with _Saved(model) as saved:
        for module in modules:
            module(hidden)
    return saved.size


class _Saved:
    """Sum up the bytes of all memory that is kept for the backward pass, without the weights' own.

    Attention counts as its fused kernels keep it, which do not keep the weights of all pairs of tokens.
    """

    def __init__(self, model: VisionLanguageModel) -> None:
        self._known = {_storage(tensor) for tensor in (*model.parameters(), *model.buffers())}
        self._alive: list[Tensor] = []  # or another tensor could come to the same place
        self._within = ExitStack()
        self.size = 0

    def __enter__(self) -> _Saved:
        self._within.enter_context(saved_tensors_hooks(self.take, lambda tensor: tensor))
        self._within.enter_context(Fused())
        return self

    def __exit__(self, *raised: object) -> None:
        self._within.close()
        self._alive.clear()

    def take(self, tensor: Tensor) -> Tensor:
        """Count the memory that a tensor lies in, once."""
        if _storage(tensor) not in self._known:
            self._known.add(_storage(tensor))
            self._alive.append(tensor)
            self.size += tensor.untyped_storage().nbytes()
        return tensor


class Fused(TorchFunctionMode):
    """Replace attention and experts: on the meta device the first has no fused kernel, the second only bfloat16."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: Sequence[object] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func is scaled_dot_product_attention:
            return _Attention.apply(*args[:3], named.get("attn_mask"))  # type: ignore[no-untyped-call]
        if func is torch._grouped_mm:
            return _Experts.apply(*args[:2])  # type: ignore[no-untyped-call]
        return func(*args, **named)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        out = torch.empty_like(query)
        sums = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, sums, out, *([] if mask is None else [mask.to(query.dtype)]))
        return out


class _Experts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(tokens, weights)
        return tokens.new_empty(len(tokens), weights.shape[-1])


def _storage(tensor: Tensor) -> int:
    """Identify the memory that a tensor lies in."""
    return int(tensor.untyped_storage()._cdata)
