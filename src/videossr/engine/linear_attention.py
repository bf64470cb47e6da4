"""Gated DeltaNet layers (`qwen3_5`): their states in a cache, and packed tokens seen as rows.

Such a layer keeps two things of what it has read: the last inputs of a short convolution, and a matrix for each head.
The cache of transformers writes both in place, which loses their graph; `RecurrentLayer` assigns them. And such a layer
takes no attention mask, so the answers to a prompt that lie behind each other in one row would run into each other: a
`RowLayout` in its cache tells the hooks of `prepare_linear_attention` which tokens are one answer.

`videossr.engine.shared_prefix` and `videossr.engine.kv_cache` use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import cache_utils

from videossr.engine.model import VisionLanguageModel, as_module, delta_nets


class RowLayout(Protocol):
    """How the tokens of a batch are rows for a layer that takes no attention mask."""

    def rows(self, packed: Tensor) -> Tensor:
        """Return the tokens of a batch, as they lie there, as rows (answers, tokens, width)."""

    def packed(self, rows: Tensor) -> Tensor:
        """Return what a layer made of `rows` as it lies in the batch."""


@dataclass(frozen=True)
class PackedAnswers:
    """Answers of unlike lengths behind each other in one row.

    Attributes:
        tokens: (G, W), the place in the row of each token of each answer; behind an answer's end any token.
        places: (N,), the place of each token of the row in the flattened `tokens`.
    """

    tokens: Tensor
    places: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> PackedAnswers:
        """Lay out answers of these lengths.

        Rows are at least two tokens wide: for rows of one token, layers take a kernel that has no backward pass in fla.
        """
        width = max(2, *lengths)
        sizes = torch.tensor(lengths)
        first = sizes.cumsum(0) - sizes
        tokens = (first[:, None] + torch.arange(width)).clamp_(max=sum(lengths) - 1)
        places = torch.cat([answer * width + torch.arange(length) for answer, length in enumerate(lengths)])
        return cls(tokens.to(device), places.to(device))

    def rows(self, packed: Tensor) -> Tensor:
        """Return rows (G, W, width) of packed tokens (1, N, width)."""
        return packed[0][self.tokens]

    def packed(self, rows: Tensor) -> Tensor:
        """Return packed tokens (1, N, width) of rows (G, W, width)."""
        return rows.flatten(0, 1)[self.places][None]


@dataclass(frozen=True)
class OneTokenEach:
    """A row is a prompt, with the next token of each of its `answers`."""

    answers: int

    def rows(self, packed: Tensor) -> Tensor:
        """Return rows (K * answers, 1, width) of the tokens (K, answers, width) of K prompts."""
        return packed.reshape(-1, 1, packed.shape[-1])

    def packed(self, rows: Tensor) -> Tensor:
        """Return the tokens (K, answers, width) of rows (K * answers, 1, width)."""
        return rows.view(-1, self.answers, rows.shape[-1])


_Layer: Any = getattr(cache_utils, "LinearAttentionLayer", object)
"""Not there in transformers 4.57, which has no model with such layers."""


class RecurrentLayer(_Layer):  # type: ignore[misc]  # transformers' types are not followed
    """What a Gated DeltaNet layer keeps, with its graph.

    Attributes:
        layout: how the tokens that follow are rows, where they are not.
    """

    def __init__(
        self,
        convolved: Tensor | None = None,
        state: Tensor | None = None,
        *,
        fixed: bool = False,
        layout: RowLayout | None = None,
    ) -> None:
        """Hold states, or none before the first tokens.

        Args:
            convolved: (R, channels, kernel - 1), the last inputs of the convolution.
            state: (R, heads, width of keys, width of values) float32.
            fixed: the tokens that follow see the states and leave none of their own.
            layout: see `RowLayout`.
        """
        super().__init__()
        self.record_past = True  # else a layer writes the inputs of a single token in place
        self.layout = layout
        self._fixed = fixed
        if convolved is not None and state is not None:
            self.hold(convolved, state)

    def hold(self, convolved: Tensor, state: Tensor) -> None:
        """Hold states in place of those before."""
        self.conv_states[0], self.recurrent_states[0] = convolved, state
        self.has_previous_state[0] = True

    @property
    def states(self) -> tuple[Tensor, Tensor]:
        """The inputs of the convolution and the recurrent state."""
        return self.conv_states[0], self.recurrent_states[0]

    def update_conv_state(
        self, conv_states: Tensor, state_idx: int = 0, conv_kernel_size: int = 4, **_named: object
    ) -> Tensor:
        """Return inputs (R, channels, more) with those before them; keep the last, which the next tokens need."""
        before = self.conv_states[0]
        whole = conv_states if before is None else torch.cat([before, conv_states], -1)
        if not self._fixed:
            self.conv_states[0] = last_inputs(whole, conv_kernel_size)
        return whole

    def update_recurrent_state(self, recurrent_states: Tensor, state_idx: int = 0, **_named: object) -> Tensor:
        """Keep a state."""
        if not self._fixed:
            self.recurrent_states[0] = recurrent_states
            self.has_previous_state[0] = True
        return recurrent_states


def last_inputs(inputs: Tensor, kernel: int) -> Tensor:
    """Return of the inputs (R, channels, tokens) of a convolution those that the next token needs, kernel - 1.

    They are copied: a view would keep all inputs in memory.
    """
    kept = inputs[..., -(kernel - 1) :].clone()
    return torch.nn.functional.pad(kept, (kernel - 1 - kept.shape[-1], 0))


def prepare_linear_attention(model: VisionLanguageModel) -> None:
    """Let Gated DeltaNet layers see tokens as the rows that a `RowLayout` in their cache says; once for a model."""
    for mixer in delta_nets(model):
        if mixer is not None and not getattr(mixer, "sees_rows", False):
            module = as_module(mixer)
            module.register_forward_pre_hook(_to_rows, with_kwargs=True)
            module.register_forward_hook(_to_packed, with_kwargs=True)
            mixer.sees_rows = True


def _layout(mixer: Any, named: Mapping[str, Any]) -> RowLayout | None:
    """Return the layout that the cache of a layer holds.

    It travels in the cache and not in the layer, since the backward pass may run the layer again.
    """
    cache = named.get("cache", named.get("cache_params"))  # the latter up to transformers 5.23
    layers = getattr(cache, "layers", None)
    layout: RowLayout | None = layers[mixer.layer_idx].layout if layers else None
    return layout


def _to_rows(mixer: Any, more: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    layout = _layout(mixer, named)
    if layout is None:
        return None
    return more, {**named, "hidden_states": layout.rows(named["hidden_states"]), "attention_mask": None}


def _to_packed(mixer: Any, _more: Any, named: dict[str, Any], out: Tensor) -> Tensor | None:
    layout = _layout(mixer, named)
    return None if layout is None else layout.packed(out)
