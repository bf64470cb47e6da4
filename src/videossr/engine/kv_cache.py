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

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> None:
        """Take keys and values whose first `length` tokens are there, and the rest is room."""
        super().__init__()
        self.dtype = keys.dtype
        self.device = keys.device
        self.is_initialized = True
        self._whole = [keys, values]
        self.keys, self.values = (side[:, :, :length] for side in self._whole)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_more: object, **_named: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add states (R, H, more, D) and return all that is there."""
        length = self.keys.shape[2]
        end = length + key_states.shape[2]
        if end > self._whole[0].shape[2]:
            room = max(ROOM, end - length)
            self._whole = [pad(side, (0, 0, 0, room)) for side in (self.keys, self.values)]
        for side, states in zip(self._whole, (key_states, value_states), strict=True):
            side[:, :, length:end] = states
        self.keys, self.values = (side[:, :, :end] for side in self._whole)
        return self.keys, self.values


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


def rebuild_cache(
    before: Cache | None,
    going: Sequence[int],
    entering: Sequence[Cache],
    copies: int,
    *,
    width: int,
    room: int = ROOM,
    answers: int = 1,
    layout: RowLayout | None = None,
) -> Cache:
    """Make the cache of a batch from rows of the one before and from prompts that enter, aligned on the right.

    The caches are taken apart layer by layer, so that of all layers but one there is only one copy in memory.

    Args:
        before: of the batch so far.
        going: rows of it that stay.
        entering: of one prompt each.
        copies: rows that each of these becomes.
        width: tokens of the longest row; what other rows have before their own is padding.
        room: tokens that can be added before keys and values must be copied.
        answers: of a row; the states of Gated DeltaNet layers, which need no padding, are there for each.
        layout: how the tokens that follow are rows for such layers, where they are not.
    """
    made: Cache = transformers.DynamicCache()
    chosen = torch.tensor(going, dtype=torch.long)
    for _ in range(len((before or entering[0]).layers)):
        kept = [layer_states(before.layers.pop(0))] if before else []
        new = [layer_states(cache.layers.pop(0)) for cache in entering]
        if (kept or new)[0].recurrent:
            parts = [
                states.changed(lambda side: side.reshape(-1, answers, *side.shape[1:])[chosen].flatten(0, 1))
                for states in kept
            ]
            parts += [states.changed(lambda side: side.expand(copies * answers, *side.shape[1:])) for states in new]
            convolved, state = (
                torch.cat(sides) for sides in zip(*((part.first, part.second) for part in parts), strict=True)
            )
            made.layers.append(RecurrentLayer(convolved, state, layout=layout))
        else:
            parts = [states.changed(lambda side: side[chosen]) for states in kept]
            parts += [states.changed(lambda side: side.expand(copies, *side.shape[1:])) for states in new]
            keys = _side_by_side([part.first for part in parts], width, room)
            values = _side_by_side([part.second for part in parts], width, room)
            made.layers.append(PreallocatedLayer(keys, values, width))
    return made


def _side_by_side(parts: Sequence[Tensor], width: int, room: int) -> Tensor:
    """Lay rows (R, heads, tokens, D) below each other, so that all end with column `width`, with room behind it."""
    _, heads, _, size = parts[0].shape
    whole = parts[0].new_zeros(sum(map(len, parts)), heads, width + room, size)
    first = 0
    for part in parts:
        columns = min(width, part.shape[2])
        whole[first : first + len(part), :, width - columns : width] = part[:, :, part.shape[2] - columns :]
        first += len(part)
    return whole
