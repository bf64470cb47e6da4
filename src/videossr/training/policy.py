"""The model that learns, with the one that it is held to.

Exercised by `videossr train CONFIG --out RUN`.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from videossr.engine.checkpoint import Checkpoint, prompt_inputs
from videossr.engine.kv_cache import base_model
from videossr.engine.shared_prefix import ATTENTION, can_share, gradient_checkpointing
from videossr.errors import DataError, MissingExtraError
from videossr.prompt.base import Prompt
from videossr.question import Clip, Question
from videossr.training.config import Lora, TrainConfig

PEFT = "--model.lora needs peft: pip install 'videossr[train]'"


@dataclass(frozen=True)
class Policy:
    """A model with everything that is needed to put questions to it and to learn from its answers.

    Attributes:
        checkpoint: where it came from.
        model: of transformers, or of peft around one.
        frozen: the copy that it is held to; None where there is none, or where it is the model without adapters.
        device: where both are.
        ends: tokens that end an answer.
        limit: tokens that a prompt and an answer may have.
        unshared: why prefixes are not shared; empty where they are.
    """

    checkpoint: Checkpoint
    model: Any
    frozen: Any
    device: torch.device
    ends: frozenset[int]
    limit: int
    unshared: str

    @property
    def tower(self) -> Any:
        """The vision tower."""
        return self._base.model.visual

    @property
    def layers(self) -> Any:
        """Those of the language model."""
        return self._base.model.language_model.layers

    @property
    def _base(self) -> Any:
        """The model of transformers, out of peft's."""
        return base_model(self.model)

    def prompt(self, question: Question, clips: Sequence[Clip], room: int) -> Prompt:
        """What is put to it. Raises ValueError where the prompt and `room` tokens are more than it can hold."""
        prompt = self.checkpoint.build(question, clips)
        if len(prompt.ids) + room > self.limit:
            raise DataError(
                f"question {question.id}: {len(prompt.ids)} tokens, and {room} for the answer, are more than the "
                f"model's {self.limit}"
            )
        return prompt

    def inputs(self, prompt: Prompt) -> dict[str, torch.Tensor]:
        """What the model's `forward` takes for a prompt."""
        return prompt_inputs(prompt, self.device, self.model.dtype)

    def answer(self, text: str) -> list[int]:
        """The tokens of an answer, with the one that ends it, at which sampling stops."""
        return [*self.checkpoint.tokenizer.encode(text, add_special_tokens=False), self.checkpoint.ends.taught]

    @contextmanager
    def reference(self) -> Iterator[Any]:
        """The model that the policy is held to, without gradient."""
        adapters = self.model.disable_adapter() if self.frozen is None else nullcontext()
        with torch.no_grad(), adapters:
            yield self.model if self.frozen is None else self.frozen


def load_policy(checkpoint: Checkpoint, config: TrainConfig, device: torch.device) -> Policy:
    """The model of a configuration, ready to learn: what is not to learn is frozen, adapters are in place.

    Raises ValueError that says what cannot be loaded, which library is missing, or why no answer could end.
    """
    model = checkpoint.load(device, dtype_on(device, config), ATTENTION)
    unshared = can_share(model) if config.run.share_prefix else "run.share_prefix is off"
    _check_end(checkpoint, model)
    limit = int(model.config.get_text_config().max_position_embeddings)
    frozen = copy.deepcopy(model).requires_grad_(False) if needs_reference(config) else None
    model = prepare_model(model, config)
    return Policy(checkpoint, model, frozen, device, checkpoint.ends.tokens, limit, unshared)


def _check_end(checkpoint: Checkpoint, model: Any) -> None:
    """Raises ValueError where the model cannot write the token that is to end its answers."""
    end, rows = checkpoint.ends.taught, model.get_output_embeddings().weight.shape[0]
    if end >= rows or end in checkpoint.placeholders:
        name = checkpoint.tokenizer.convert_ids_to_tokens(end)
        raise DataError(
            f"{checkpoint.folder}: answers end with {name} (token {end}), which the model cannot write: it chooses "
            f"among {rows} tokens, without placeholders for pixels. Use the template and tokenizer that the model was "
            "trained with, or resize its embeddings"
        )


def dtype_on(device: torch.device, config: TrainConfig) -> str:
    """Of weights and arithmetic, as torch names it."""
    chosen = config.run.dtype
    return chosen if chosen != "auto" else "float32" if device.type == "cpu" else "bfloat16"


def needs_reference(config: TrainConfig) -> bool:
    """Whether a run is held to a copy of its model: with adapters it is the model without them."""
    return config.run.method == "grpo" and config.grpo.kl > 0 and config.model.lora is None


def prepare_model(model: Any, config: TrainConfig) -> Any:
    """The model with what is not to learn frozen and adapters in place. Raises ValueError for a missing library."""
    if not config.model.train_vision:
        model.model.visual.requires_grad_(False)
    return model if config.model.lora is None else _adapted(model, config.model.lora, config)


def checkpointing_context(policy: Policy, config: TrainConfig) -> AbstractContextManager[None]:
    """Inside, passes with gradient keep what the configuration says."""
    return gradient_checkpointing(policy.model) if config.run.recompute else nullcontext()


def _adapted(model: Any, lora: Lora, config: TrainConfig) -> Any:
    try:
        import peft
    except ImportError as missing:
        raise MissingExtraError(f"{PEFT} ({missing})") from missing
    torch.manual_seed(config.run.seed)  # one of the two factors is drawn; the other is 0
    settings = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha or 2 * lora.rank,
        target_modules=lora.targets,
        exclude_modules=None if config.model.train_vision else r".*visual.*",
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():  # peft asks transformers by a name of old
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return peft.get_peft_model(model, settings)
