"""Compute the vision tower of transformers in fewer and larger operations, with the same weights and numbers.

`optimize_vision_tower` is called for every model that is loaded. `benchmarks/vision_tower.py` measures what it gains.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
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
    reader = _Reader()
    for block in tower.blocks:
        attention: Any = block.attn
        attention.forward = partial(_attend, attention, attention.forward, reader)


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


@dataclass(frozen=True)
class _Pictures:
    """How the patches of a batch are pictures.

    Attributes:
        counts: size of a picture in patches -> how many pictures, by size.
        order: (N,), the patches in the order of their pictures' sizes; None where there is only one size.
        back: (N,), the inverse of `order`.
    """

    counts: Mapping[int, int]
    order: Tensor | None = None
    back: Tensor | None = None

    @classmethod
    def of(cls, bounds: Tensor) -> _Pictures:
        """Read the `cu_seqlens` (pictures + 1,) of a block, which waits for the device."""
        lengths = np.diff(bounds.cpu().numpy())
        sizes, counts = np.unique(lengths, return_counts=True)
        found = dict(zip(sizes.tolist(), counts.tolist(), strict=True))
        if len(found) == 1:
            return cls(found)
        order = np.argsort(np.repeat(lengths, lengths), kind="stable")
        order_and_back = (torch.from_numpy(places).to(bounds.device) for places in (order, np.argsort(order)))
        return cls(found, *order_and_back)


class _Reader:
    """Read pictures once a pass: all blocks get the same bounds, those with windows in Qwen2.5-VL others."""

    def __init__(self) -> None:
        self._known: deque[tuple[Tensor, _Pictures]] = deque(maxlen=2)

    def pictures(self, bounds: Tensor) -> _Pictures:
        """Return the pictures between bounds."""
        for known, pictures in self._known:
            if known is bounds:
                return pictures
        self._known.append((bounds, _Pictures.of(bounds)))
        return self._known[-1][1]


def _attend(
    attention: Any,
    forward: Callable[..., Tensor],
    reader: _Reader,
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
    seen = _by_size(partial(_look, scale=attention.scaling), (query, key, value), reader.pictures(cu_seqlens))
    out: Tensor = attention.proj(seen.flatten(1))
    return out


def _by_size(look: Callable[[Sequence[Tensor]], Tensor], sides: Sequence[Tensor], pictures: _Pictures) -> Tensor:
    """Apply `look` to all pictures of each size at once; inputs and output are patches (N, heads, width)."""

    def seen(part: Sequence[Tensor], size: int) -> Tensor:
        return look([side.reshape(-1, size, *side.shape[1:]) for side in part]).flatten(0, 1)

    if pictures.order is None or pictures.back is None:
        (size,) = pictures.counts
        return seen(sides, size)
    patches = [size * count for size, count in pictures.counts.items()]
    parts = zip(*(torch.split(side[pictures.order], patches) for side in sides), strict=True)
    return torch.cat([seen(part, size) for part, size in zip(parts, pictures.counts, strict=True)])[pictures.back]


def _look(sides: Sequence[Tensor], scale: float) -> Tensor:
    """Return attention (B, L, heads, width) from queries, keys and values of that shape."""
    query, key, value = (side.transpose(1, 2) for side in sides)
    return scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2)
