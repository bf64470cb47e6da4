"""The types of what transformers and peft load: the parts of a vision-language model that this package uses.

The classes of transformers are not typed, so these protocols say what is expected of the families in
`videossr.engine.shared_prefix.SHARED`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor
from torch.nn import Module, ModuleList, Parameter


class TextConfig(Protocol):
    """The shape of the language model, as `config.json` says it."""

    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    hidden_size: int
    vocab_size: int
    max_position_embeddings: int


class VisionTowerConfig(Protocol):
    """The shape of the vision tower."""

    depth: int
    hidden_size: int
    num_heads: int
    patch_size: int
    window_size: int
    spatial_merge_size: int


class VisionLanguageConfig(Protocol):
    """The configuration of a vision-language model."""

    model_type: str
    vision_config: VisionTowerConfig
    _attn_implementation: str

    def get_text_config(self) -> TextConfig:
        """Return the shape of the language model."""


class PatchEmbed(Protocol):
    """The first layer of the vision tower, which makes a vector of each patch."""

    proj: Any


class VisionTower(Protocol):
    """The vision tower: it reads patches, and merges them to tokens of the language model."""

    blocks: ModuleList
    patch_embed: PatchEmbed
    merger: Module

    def parameters(self) -> Iterator[Parameter]:
        """Yield its weights."""

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield its weights with their names."""

    def requires_grad_(self, requires_grad: bool) -> Self:
        """Freeze its weights, or let them learn."""


class LanguageModel(Protocol):
    """The language model without its head."""

    layers: ModuleList


class InnerModel(Protocol):
    """The vision tower and the language model."""

    visual: VisionTower
    language_model: LanguageModel


class Layer(Protocol):
    """The keys and values of one layer, (rows, heads, tokens, width)."""

    keys: Tensor
    values: Tensor


class Cache(Protocol):
    """A cache of transformers: the keys and values of all layers."""

    layers: list[Layer]

    def get_seq_length(self) -> int:
        """Return how many tokens it holds."""


class ModelOutput(Protocol):
    """The output of a forward pass: `logits` (rows, tokens, vocabulary)."""

    logits: Tensor


class VisionLanguageModel(Protocol):
    """A model of transformers that reads text and video, or peft's wrapper around one.

    Attributes:
        unbuilt: names of tensors of the checkpoint that its class does not build, see `Checkpoint.load`.
    """

    config: VisionLanguageConfig
    model: InnerModel
    lm_head: Module
    dtype: torch.dtype
    unbuilt: list[str]
    generation_config: object

    def __call__(self, **inputs: object) -> ModelOutput:
        """Run a forward pass."""

    def parameters(self) -> Iterator[Parameter]:
        """Yield all weights."""

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield all weights with their names."""

    def buffers(self) -> Iterator[Tensor]:
        """Yield all tensors that belong to the model and do not learn."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return all tensors by their names."""

    def requires_grad_(self, requires_grad: bool) -> Self:
        """Freeze all weights, or let them learn."""

    def get_submodule(self, target: str) -> Module:
        """Return an inner module by its dotted name."""

    def get_output_embeddings(self) -> torch.nn.Linear:
        """Return the head that scores the next token."""

    def eval(self) -> Self:
        """Switch to evaluation, without dropout."""

    def disable_adapter(self) -> AbstractContextManager[None]:
        """Switch adapters off while a block lasts; of peft's wrapper alone."""

    def save_pretrained(self, folder: Path, **settings: object) -> None:
        """Write the weights and the configuration."""


def base_model(model: VisionLanguageModel) -> VisionLanguageModel:
    """Return the transformers model that peft may have wrapped."""
    unwrap = getattr(model, "get_base_model", None)
    base: VisionLanguageModel = unwrap() if unwrap else model
    return base


def delta_nets(model: VisionLanguageModel) -> list[Any]:
    """Return the Gated DeltaNet of each layer of the language model, None where a layer has attention."""
    return [getattr(layer, "linear_attn", None) for layer in base_model(model).model.language_model.layers]


def has_delta_nets(model: VisionLanguageModel) -> bool:
    """Tell whether a model has Gated DeltaNet layers."""
    return any(mixer is not None for mixer in delta_nets(model))


def as_module(part: object) -> Module:
    """Return a model, or a part of one, as the torch module that it is."""
    assert isinstance(part, Module)
    return part


def context_length(model: VisionLanguageModel) -> int:
    """Return how many tokens a prompt and an answer may have together."""
    return int(model.config.get_text_config().max_position_embeddings)
