"""The memory of what a model has read, for many answers at once: prompts read one by one are put side by side.

Exercised by `videossr bench run BENCH --model hf:CHECKPOINT --out RUN`, measured by `benchmarks/bench.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from torch.nn.functional import pad
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens for which there is room behind what was read, before all must be copied to where there is more."""


def base_model(model: Any) -> Any:
    """Return the transformers model that peft may have wrapped."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def cache_argument(forward: Callable[..., Any]) -> str:
    """Return the name of the cache argument of a model's or layer's `forward`.

    transformers 5.24 renamed `past_key_values` to `cache`.
    """
    return "cache" if "cache" in inspect.signature(forward).parameters else "past_key_values"


def cache_arguments(model: Any, cache: Any) -> dict[str, Any]:
    """Return the keyword arguments with which `model`, of transformers or peft, reads and extends `cache`."""
    return {cache_argument(base_model(model).forward): cache, "use_cache": True}


class PreallocatedLayer(DynamicLayer):  # type: ignore[misc]  # transformers' types are not followed
    """Keys and values (R, H, L, D) of one layer, with room behind them: a token more copies nothing but itself."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, room: int = ROOM) -> None:
        super().__init__()
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._hold(keys, values, room)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_more: Any, **_named: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds states (R, H, more, D) and returns all that is there."""
        length = self.keys.shape[2]
        end = length + key_states.shape[2]
        if end > self._whole[0].shape[2]:
            self._hold(self.keys, self.values, max(ROOM, end - length))
        for side, states in zip(self._whole, (key_states, value_states), strict=True):
            side[:, :, length:end] = states
        self.keys, self.values = (side[:, :, :end] for side in self._whole)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keeps these rows alone."""
        self._hold(self.keys[indices], self.values[indices], ROOM)

    def _hold(self, keys: torch.Tensor, values: torch.Tensor, room: int) -> None:
        length = keys.shape[2]
        self._whole = [pad(side, (0, 0, 0, room)) for side in (keys, values)]
        self.keys, self.values = (side[:, :, :length] for side in self._whole)


def batch_caches(caches: Sequence[Any], n: int, room: int = ROOM) -> Any:
    """One cache of all, padded on the left, each n times. Takes the caches apart, so that none is there twice."""
    longest = max(cache.get_seq_length() for cache in caches)
    joined = transformers.DynamicCache()
    for _ in range(len(caches[0].layers)):
        layers = [cache.layers.pop(0) for cache in caches]
        keys, values = (
            torch.cat([pad(each, (0, 0, longest - each.shape[2], 0)) for each in side]).repeat_interleave(n, 0)
            for side in zip(*((layer.keys, layer.values) for layer in layers), strict=True)
        )
        joined.layers.append(PreallocatedLayer(keys, values, room))
    return joined
