"""Caches of what layers keep of tokens: one that grows while answers are generated, and one that stays as it is.

An attention layer keeps keys and values, a Gated DeltaNet layer keeps states, see `videossr.engine.linear_attention`.

`videossr.engine.generation` and `videossr.engine.shared_prefix` use them; `benchmarks/bench.py` measures the first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import DynamicLayer

from videossr.engine.linear_attention import RecurrentLayer, RowLayout
from videossr.engine.model import Cache, VisionLanguageModel, as_module, base_model, delta_nets, has_delta_nets

ROOM = 64
"""Tokens for which there is room after the prompt, before all keys and values must be copied to make more."""


@dataclass(frozen=True)
class LayerStates:
    """What one layer keeps of a prompt, R times side by side.

    Attributes:
        first, second: of attention the keys and values (R, heads, P, D); of Gated DeltaNet the last inputs of its
            convolution (R, channels, kernel - 1) and its state (R, heads, width of keys, width of values) float32.
        recurrent: whether it is a Gated DeltaNet layer.
    """

    first: Tensor
    second: Tensor
    recurrent: bool = False

    def changed(self, change: Callable[[Tensor], Tensor]) -> LayerStates:
        """Return what `change` makes of both tensors."""
        return LayerStates(change(self.first), change(self.second), self.recurrent)


def empty_cache(model: VisionLanguageModel) -> Cache:
    """Make a cache of transformers for a prompt; what its layers keep has its graph."""
    cache: Cache = transformers.DynamicCache()
    if has_delta_nets(model):
        cache.layers.extend(DynamicLayer() if mixer is None else RecurrentLayer() for mixer in delta_nets(model))
    return cache


def cache_states(cache: Cache) -> tuple[LayerStates, ...]:
    """Return what the layers of a cache keep."""
    return tuple(map(layer_states, cache.layers))


def layer_states(layer: Any) -> LayerStates:
    """Return what one layer of a cache keeps."""
    states: tuple[Tensor, Tensor] | None = getattr(layer, "states", None)
    return (
        LayerStates(layer.keys, layer.values) if states is None else LayerStates(states[0], states[1], recurrent=True)
    )


def cache_argument(forward: Callable[..., object]) -> str:
    """Return the name of the cache argument of a model's or layer's `forward`.

    transformers 5.24 renamed `past_key_values` to `cache`.
    """
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"


def cache_arguments(model: VisionLanguageModel, cache: Cache) -> dict[str, object]:
    """Return the keyword arguments with which `model`, of transformers or peft, reads and extends `cache`."""
    return {cache_argument(as_module(base_model(model)).forward): cache, "use_cache": True}


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]  # transformers' types are not followed
    """Keys and values (R, H, L, D) of one layer with room after them, so that one more token copies only itself."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, room: int = ROOM) -> None:
        super().__init__()
        self.dtype = keys.dtype
        self.device = keys.device
        self.is_initialized = True
        self._hold(keys, values, room)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_more: object, **_named: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add states (R, H, more, D) and return all that is there."""
        length = self.keys.shape[2]
        end = length + key_states.shape[2]
        if end > self._whole[0].shape[2]:
            self._hold(self.keys, self.values, max(ROOM, end - length))
        for side, states in zip(self._whole, (key_states, value_states), strict=True):
            side[:, :, length:end] = states
        self.keys, self.values = (side[:, :, :end] for side in self._whole)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows alone."""
        self._hold(self.keys[indices], self.values[indices], ROOM)

    def _hold(self, keys: torch.Tensor, values: torch.Tensor, room: int) -> None:
        """Copy keys and values to where there is room after them."""
        length = keys.shape[2]
        self._whole = [pad(side, (0, 0, 0, room)) for side in (keys, values)]
        self.keys, self.values = (side[:, :, :length] for side in self._whole)


class FixedLayer(DynamicLayer):  # type: ignore[misc]  # transformers' types are not followed
    """Keys and values of one layer, seen by the tokens after them, whose own are not kept."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype = keys.dtype
        self.device = keys.device
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_more: object, **_named: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all states, those given (R, H, more, D) last; keep nothing of them."""
        return torch.cat([self.keys, key_states], 2), torch.cat([self.values, value_states], 2)


def fixed_cache(layers: Sequence[LayerStates], answers: int = 1, layout: RowLayout | None = None) -> Cache:
    """Make a cache of transformers that does not grow, so it can be used again.

    Args:
        layers: what each layer keeps of one prompt.
        answers: rows of states that Gated DeltaNet layers need, one an answer.
        layout: how the tokens that follow are such rows.
    """
    cache: Cache = transformers.DynamicCache()
    for states in layers:
        if states.recurrent:
            rows = states.changed(lambda tensor: tensor.expand(answers, *tensor.shape[1:]))
            cache.layers.append(RecurrentLayer(rows.first, rows.second, fixed=True, layout=layout))
        else:
            cache.layers.append(FixedLayer(states.first, states.second))
    return cache


def batch_caches(
    caches: Sequence[Cache], n: int, room: int = ROOM, *, answers: int | None = None, layout: RowLayout | None = None
) -> Cache:
    """Join caches to one, padded on the left, with each of them n times.

    The caches are taken apart layer by layer, so that no keys and values are in memory twice.

    Args:
        caches: of one prompt each.
        n: rows of each.
        room: tokens that can be added before keys and values must be copied.
        answers: rows of the states of Gated DeltaNet layers of each, which need no padding; by default n.
        layout: how the tokens that follow are such rows, where they are not.
    """
    longest = max(cache.get_seq_length() for cache in caches)
    joined: Cache = transformers.DynamicCache()
    for _ in range(len(caches[0].layers)):
        layers = [layer_states(cache.layers.pop(0)) for cache in caches]
        if layers[0].recurrent:
            states = (
                torch.cat(side).repeat_interleave(answers or n, 0)
                for side in zip(*((layer.first, layer.second) for layer in layers), strict=True)
            )
            joined.layers.append(RecurrentLayer(*states, layout=layout))
            continue
        keys, values = (
            torch.cat([pad(states, (0, 0, longest - states.shape[2], 0)) for states in side]).repeat_interleave(n, 0)
            for side in zip(*((layer.first, layer.second) for layer in layers), strict=True)
        )
        joined.layers.append(PreallocatedLayer(keys, values, room))
    return joined
