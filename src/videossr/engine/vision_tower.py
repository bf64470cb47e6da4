"""Compute the vision tower of transformers in fewer and larger operations, with the same weights and numbers.

`optimize_vision_tower` is called for every model that is loaded. `benchmarks/vision_tower.py` measures what it gains.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Conv3d, Module
from torch.nn.functional import linear, scaled_dot_product_attention

from videossr.engine.model import VisionLanguageModel


def optimize_vision_tower(model: VisionLanguageModel) -> None:
    """Make the patch embedding a product of matrices, and attention one call for all pictures of a size.

    Args:
        model: of transformers, not wrapped by peft; changed in place. Its weights stay the same parameters.
    """
    tower = model.model.visual
    embed = tower.patch_embed
    if isinstance(embed.proj, Conv3d) and embed.proj.kernel_size == embed.proj.stride:
        embed.proj = LinearPatches(embed.proj)
    lengths = _Lengths()
    for block in tower.blocks:
        attention: Any = block.attn
        attention.forward = partial(_attend, attention, attention.forward, lengths)


class LinearPatches(Module):
    """Compute a convolution whose steps are as wide as its kernel as the product of matrices that it is.

    The patches of a vision tower come cut out already. Libraries of convolutions are slow at this one.
    """

    def __init__(self, convolution: Conv3d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.bias = convolution.bias

    def forward(self, patches: Tensor) -> Tensor:
        """Return a vector of each patch."""
        return linear(patches.flatten(1), self.weight.flatten(1), self.bias)


class _Lengths:
    """Read the lengths of pictures from the device once a pass, since all blocks get the same tensor."""

    def __init__(self) -> None:
        self._bounds: Tensor | None = None
        self._lengths: list[int] = []

    def of(self, bounds: Tensor) -> list[int]:
        """Return the patches of each picture, from the `cu_seqlens` (pictures + 1,) of a block."""
        if bounds is not self._bounds:
            self._bounds, self._lengths = bounds, bounds.diff().tolist()
        return self._lengths


def _attend(
    attention: Any,
    forward: Callable[..., Tensor],
    lengths: _Lengths,
    hidden_states: Tensor,
    cu_seqlens: Tensor,
    *more: Any,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    **named: Any,
) -> Tensor:
    """Run the attention of one block on patches (N, width) of several pictures, which do not see each other.

    The library calls `scaled_dot_product_attention` for each picture. `forward`, its own way, is taken where the model
    has another implementation of attention.
    """
    if attention.config._attn_implementation != "sdpa" or position_embeddings is None:
        return forward(hidden_states, cu_seqlens, *more, position_embeddings=position_embeddings, **named)
    rotate = inspect.getmodule(type(attention)).apply_rotary_pos_emb_vision  # type: ignore[union-attr]
    query, key, value = attention.qkv(hidden_states).view(len(hidden_states), 3, attention.num_heads, -1).unbind(1)
    query, key = rotate(query, key, *position_embeddings)
    seen = _by_size(partial(_look, scale=attention.scaling), (query, key, value), lengths.of(cu_seqlens))
    out: Tensor = attention.proj(seen.flatten(1))
    return out


def _by_size(look: Callable[[Sequence[Tensor]], Tensor], sides: Sequence[Tensor], lengths: Sequence[int]) -> Tensor:
    """Apply `look` to all pictures of each size at once; inputs and output are patches (N, heads, width)."""
    sizes = sorted(set(lengths))
    if len(sizes) == 1:
        return look([_pictures(side, sizes[0]) for side in sides]).flatten(0, 1)
    size_of = torch.tensor(lengths).repeat_interleave(torch.tensor(lengths))
    order = torch.cat([(size_of == size).nonzero()[:, 0] for size in sizes]).to(sides[0].device)
    counts = [size * lengths.count(size) for size in sizes]
    parts = zip(*(torch.split(side[order], counts) for side in sides), strict=True)
    seen = [
        look([_pictures(side, size) for side in part]).flatten(0, 1) for size, part in zip(sizes, parts, strict=True)
    ]
    return torch.cat(seen)[order.argsort()]


def _pictures(side: Tensor, size: int) -> Tensor:
    """Return patches (N, heads, width) of pictures of a size as (pictures, size, heads, width)."""
    return side.reshape(-1, size, *side.shape[1:])


def _look(sides: Sequence[Tensor], scale: float) -> Tensor:
    """Return attention (B, L, heads, width) from queries, keys and values of that shape."""
    query, key, value = (side.transpose(1, 2) for side in sides)
    return scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2)
