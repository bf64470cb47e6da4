"""Gradient checkpointing: keep of a pass with gradient the input of each layer, on the device or in the machine's RAM.

    with gradient_checkpointing(model, offload=True):
        prefix = read_prefix(model, inputs)

`videossr.training.rollouts` uses it for `run.recompute` and `run.offload_activations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import checkpoint

from videossr.engine.kv_cache import FixedLayer, LayerStates, cache_argument
from videossr.engine.linear_attention import last_inputs
from videossr.engine.model import Cache, VisionLanguageModel, base_model

recomputed = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
"""Call a function, and call it again in the backward pass; nothing in it may be random."""


@contextmanager
def gradient_checkpointing(model: VisionLanguageModel, *, offload: bool = False) -> Iterator[None]:
    """Keep of a pass with gradient only the input of each layer; the backward pass computes the rest once more.

    The gradient checkpointing of transformers would switch the cache off; this keeps the keys and values of a prompt.

    Args:
        model: whose passes are made in the block; the backward pass may come behind it.
        offload: keep these inputs in the machine's RAM.
    """
    base = base_model(model)
    tower = base.model.visual
    language = base.model.language_model.layers
    vision = (*tower.blocks, tower.merger, *getattr(tower, "deepstack_merger_list", ()))
    for place, layer in enumerate(language):
        layer.forward = partial(_recomputed_layer, layer.forward, cache_argument(layer.forward), place)
    for block in vision:
        block.forward = partial(_recomputed_block, block.forward)
    try:
        with HostMemory(model) if offload else nullcontext():
            yield
    finally:
        for layer in (*language, *vision):
            del layer.forward  # the instance's, so that the class's is seen again


class HostMemory(saved_tensors_hooks):
    """Keep in the machine's RAM what is saved for the backward pass, without the weights, until that pass needs it.

    Copies go through memory that a card reads and writes by itself, in the order of its other work.
    """

    def __init__(self, model: VisionLanguageModel) -> None:
        self._weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
        super().__init__(self._pack, _unpack)

    def _pack(self, tensor: torch.Tensor) -> tuple[torch.device, torch.Tensor]:
        if tensor.is_meta or tensor.untyped_storage()._cdata in self._weights:
            return tensor.device, tensor
        host = torch.empty_like(tensor, device="cpu", pin_memory=tensor.device.type == "cuda")
        return tensor.device, host.copy_(tensor, non_blocking=True)


def _unpack(kept: tuple[torch.device, torch.Tensor]) -> torch.Tensor:
    device, tensor = kept
    return tensor.to(device, non_blocking=True)


class _Slot:
    """A cache that holds what one layer keeps of the first tokens, as it comes."""

    states: LayerStates

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_more: object, **_named: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.states = LayerStates(key_states, value_states)
        return key_states, value_states

    def get_conv_state(self, *_more: object, **_named: object) -> None:
        """Return the inputs before the first tokens: there are none."""

    get_recurrent_state = get_conv_state

    def has_previous_state(self, *_more: object, **_named: object) -> bool:  # asked up to transformers 5.21
        return False

    def is_recording_past(self, *_more: object) -> bool:
        return True

    def update_conv_state(
        self, conv_states: torch.Tensor, *_more: object, conv_kernel_size: int = 4, **_named: object
    ) -> torch.Tensor:
        self._convolved = last_inputs(conv_states, conv_kernel_size)
        return conv_states

    def update_recurrent_state(self, recurrent_states: torch.Tensor, *_more: object, **_named: object) -> torch.Tensor:
        self.states = LayerStates(self._convolved, recurrent_states, recurrent=True)
        return recurrent_states


def _recomputed_layer(
    forward: Callable[..., object], argument: str, place: int, hidden: torch.Tensor, *more: Any, **named: Any
) -> Any:
    """Run layer `place` of the language model, whose cache is in `named[argument]`.

    What it puts into an empty cache is made an output of the recomputed function.
    """
    cache = named.get(argument)
    if not torch.is_grad_enabled():
        return forward(hidden, *more, **named)
    if cache is None or _is_fixed(cache):
        return recomputed(partial(forward, **named), hidden, *more)

    def keep(hidden: torch.Tensor) -> tuple[Any, torch.Tensor, torch.Tensor]:
        slot = _Slot()
        out = forward(hidden, *more, **{**named, argument: slot})
        return out, slot.states.first, slot.states.second

    out, first, second = recomputed(keep, hidden)
    if place < len(cache.layers) and hasattr(cache.layers[place], "states"):
        cache.layers[place].hold(first, second)
    else:
        cache.update(first, second, place)
    return out


def _is_fixed(cache: Cache) -> bool:
    """Tell whether the layers of a cache leave it as it is."""
    return any(isinstance(layer, FixedLayer) for layer in cache.layers)


def _recomputed_block(forward: Callable[..., object], hidden: torch.Tensor, *more: Any, **named: Any) -> Any:
    """Run a block of the vision tower."""
    if not torch.is_grad_enabled():
        return forward(hidden, *more, **named)
    return recomputed(partial(forward, **named), hidden, *more)
