"""The policy model, its KL reference, and what is needed to put questions to it.

`load_policy` freezes what is not to learn and adds adapters. Exercised by `videossr train CONFIG --out RUN`.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch

from videossr.engine.checkpoint import Checkpoint, prompt_inputs
from videossr.engine.model import VisionLanguageModel, VisionTower, as_module, base_model, context_length
from videossr.engine.shared_prefix import ATTENTION, can_share
from videossr.errors import ConfigError, DataError, MissingExtraError
from videossr.prompt.base import Prompt
from videossr.question import Clip, Question
from videossr.training.config import Lora, ModelConfig

PEFT = "--model.lora needs peft: pip install 'videossr[train]'"


@dataclass(frozen=True)
class Policy:
    """A model that learns, with everything that is needed to put questions to it and to learn from its answers.

    Attributes:
        checkpoint: the one that it was loaded from.
        model: of transformers, or peft's wrapper around one.
        frozen: the copy that is its KL reference; None where there is none, or it is the model without adapters.
        device: of both.
        ends: tokens that end an answer.
        limit: tokens that a prompt and an answer may have.
        unshared: why prefixes are not shared; empty where they are.
    """

    checkpoint: Checkpoint
    model: VisionLanguageModel
    frozen: VisionLanguageModel | None
    device: torch.device
    ends: frozenset[int]
    limit: int
    unshared: str

    @property
    def tower(self) -> VisionTower:
        """The vision tower."""
        return base_model(self.model).model.visual

    @property
    def layers(self) -> torch.nn.ModuleList:
        """The layers of the language model."""
        return base_model(self.model).model.language_model.layers

    def prompt(self, question: Question, clips: Sequence[Clip], room: int) -> Prompt:
        """Build the prompt of a question. Raises DataError where it and `room` tokens are more than the model holds."""
        return self.checkpoint.prompt(question, clips, room=room, limit=self.limit)

    def inputs(self, prompt: Prompt) -> dict[str, torch.Tensor]:
        """Return what the model's `forward` takes for a prompt."""
        return prompt_inputs(prompt, self.device, self.model.dtype)

    @contextmanager
    def reference(self) -> Iterator[VisionLanguageModel]:
        """Yield the KL reference, without gradient: the frozen copy, or the model with its adapters off."""
        with torch.no_grad():
            if self.frozen is not None:
                yield self.frozen
                return
            with self.model.disable_adapter():
                yield self.model


def load_policy(
    checkpoint: Checkpoint,
    config: ModelConfig,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    needs_reference: bool = False,
    share_prefix: bool = True,
    seed: int = 0,
) -> Policy:
    """Load the model of a checkpoint, ready to learn: freeze what is not to learn, add adapters, copy the reference.

    Args:
        checkpoint: where the weights are.
        config: adapters, and whether the vision tower learns.
        device: where the model is put.
        dtype: of weights and arithmetic.
        needs_reference: keep a frozen copy as KL reference.
        share_prefix: share the prompt of a group where the model allows it.
        seed: of the adapters.

    Raises:
        ConfigError: an adapter could not learn where it is put.
        DataError: the checkpoint cannot be loaded, or no answer of its model could end.
        MissingExtraError: adapters need a library that is not installed.
    """
    model = checkpoint.load(device, dtype, ATTENTION)
    unshared = can_share(model) if share_prefix else "run.share_prefix is off"
    _check_end(checkpoint, model)
    limit = context_length(model)
    frozen = copy.deepcopy(model).requires_grad_(False) if needs_reference else None
    model = prepare_model(model, config, seed)
    return Policy(checkpoint, model, frozen, device, checkpoint.ends.tokens, limit, unshared)


def prepare_model(model: VisionLanguageModel, config: ModelConfig, seed: int = 0) -> VisionLanguageModel:
    """Freeze what is not to learn and add adapters. Raises MissingExtraError where peft is not installed."""
    if not config.train_vision:
        model.model.visual.requires_grad_(False)
    return model if config.lora is None else _with_adapters(model, config.lora, config.train_vision, seed)


def _check_end(checkpoint: Checkpoint, model: VisionLanguageModel) -> None:
    """Raise DataError where the model cannot write the token that is to end its answers."""
    end = checkpoint.ends.taught
    rows = model.get_output_embeddings().weight.shape[0]
    if end >= rows or end in checkpoint.placeholders:
        name = checkpoint.tokenizer.convert_ids_to_tokens(end)
        raise DataError(
            f"{checkpoint.folder}: answers end with {name} (token {end}), which the model cannot write: it chooses "
            f"among {rows} tokens, without placeholders for pixels. Use the template and tokenizer that the model was "
            "trained with, or resize its embeddings"
        )


def _check_targets(model: VisionLanguageModel, targets: str) -> None:
    """Raise ConfigError for an adapter that could not learn.

    Gated DeltaNet layers take the weights of their convolution and not its output, so an adapter on it has no effect.
    """
    names = [name for name, _ in as_module(model).named_modules() if name.endswith("linear_attn.conv1d")]
    if taken := [name for name in names if re.fullmatch(targets, name)]:
        raise ConfigError(
            f"model.lora.targets takes {taken[0]}, where an adapter has no effect: leave conv1d out, as all-linear does"
        )


def _with_adapters(model: VisionLanguageModel, lora: Lora, train_vision: bool, seed: int) -> VisionLanguageModel:
    """Wrap a model with low-rank adapters, by peft."""
    try:
        import peft
    except ImportError as missing:
        raise MissingExtraError(f"{PEFT} ({missing})") from missing
    _check_targets(model, lora.targets)
    torch.manual_seed(seed)  # one of the two factors is drawn; the other is 0
    settings = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha or 2 * lora.rank,
        target_modules=lora.targets,
        exclude_modules=None if train_vision else r".*visual.*",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():  # peft asks transformers by a name of old
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return cast(VisionLanguageModel, peft.get_peft_model(as_module(model), settings))
