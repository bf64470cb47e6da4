"""Checkpoints as transformers loads them, and what a loaded model takes for a prompt.

Exercised by `videossr bench run BENCH --model hf:CHECKPOINT --out RUN` and `videossr train CONFIG --out RUN`.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from videossr.clock import even
from videossr.prompt import builder, checkpoint_config
from videossr.prompt.base import Builder, Prompt
from videossr.prompt.chat import set_thinking
from videossr.question import VIDEO, Clip, Question
from videossr.store import transport_error

FILES = ("*.json", "*.jinja", "*.txt", "*.safetensors")
"""What is fetched of a checkpoint that is named by its place on the Hub."""

PLACEHOLDERS = ("image_token_id", "video_token_id")
"""Where a configuration tells which tokens stand for pixels."""

_CLOCK = even(2, 2000)
PROBE = Question("probe", "", "Look.", f"{VIDEO}\nWhen?", "", (_CLOCK,))
PROBE_CLIP = Clip(np.zeros((2, 64, 64, 3), np.uint8), _CLOCK)
"""Asked of every prompt builder when it is made: a chat template that cannot do it is told before any other work."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose weights are not loaded yet.

    Attributes:
        folder: where it lies on this machine.
        config: see `videossr.prompt.checkpoint_config`.
        tokenizer: its own. One must not be used by two threads at once; `build` has a copy.
        build: makes its prompts.
        fingerprint: 16 hex digits that tell apart checkpoints which are asked otherwise.
    """

    folder: Path
    config: dict[str, Any]
    tokenizer: Any
    build: Builder
    fingerprint: str

    @property
    def placeholders(self) -> list[int]:
        """Tokens that stand for pixels, which no answer may hold: there are none for it."""
        return [self.config[name] for name in PLACEHOLDERS if name in self.config]

    def text(self, ids: Sequence[int]) -> str:
        """What the ids of an answer spell."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def load(self, device: torch.device, dtype: str, attention: str) -> Any:
        """The model, ready to answer.

        Args:
            device: where it is put.
            dtype: as transformers names it; auto: as it was saved, on a CPU float32.
            attention: `attn_implementation` of transformers.

        Raises ValueError that says what cannot be loaded or is missing.
        """
        model, info = _loaded(
            self.folder,
            transformers.AutoModelForImageTextToText.from_pretrained,
            dtype="float32" if dtype == "auto" and device.type == "cpu" else dtype,
            attn_implementation=attention,
            output_loading_info=True,
        )
        wrong = [name for kind in ("missing_keys", "mismatched_keys") for name in sorted(map(str, info[kind]))]
        if wrong:
            raise ValueError(f"{self.folder}: its files lack {len(wrong)} of the model's weights, such as {wrong[0]}")
        patches = model.model.visual.patch_embed
        if patches.proj.kernel_size == patches.proj.stride:
            patches.proj = LinearPatches(patches.proj)
        return model.to(device).eval()


def open_checkpoint(target: str, layout: str | None = None, thinking: bool | None = None) -> Checkpoint:
    """A checkpoint in a folder, or what the Hub has under that name.

    Raises ValueError or OSError that says what is wrong with it.
    """
    folder = _folder(target)
    config = checkpoint_config(folder)
    tokenizer = _loaded(folder, transformers.AutoTokenizer.from_pretrained)
    if thinking is not None:
        set_thinking(tokenizer, thinking)
    try:
        build = builder(config, copy.deepcopy(tokenizer), layout)
        probe = build(PROBE, [PROBE_CLIP])
    except Exception as error:  # a chat template is a program, which may raise what it likes
        raise ValueError(f"{folder} cannot be asked: {type(error).__name__}: {error}") from error
    fingerprint = hashlib.sha256(probe.text.encode() + probe.ids.tobytes()).hexdigest()[:16]
    return Checkpoint(folder, config, tokenizer, build, fingerprint)


def find_device(name: str) -> torch.device:
    """The device of that name; auto: an accelerator if there is one. Raises ValueError where it cannot be used."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    try:
        device = (found or torch.device("cpu")) if name == "auto" else torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device={name}: {str(error).splitlines()[0]}") from error
    return device


def device_name(device: torch.device) -> str:
    """What a result calls the device: of a card its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def out_of_memory(error: Exception) -> bool:
    """Whether memory ended, on a device or here; a CPU's allocator only says so in words."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens that end an answer: all that the checkpoint's generation settings are used for."""
    ends = model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    return frozenset(ends if isinstance(ends, list) else [ends])


def prompt_inputs(prompt: Prompt, device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """What the model's `forward` takes for one prompt (1, L), positions among it, so that it computes none itself.

    Pixels go to the device as bytes and are made numbers there, as `Prompt.pixels` does it.
    """
    length = len(prompt.ids)
    # The first row of the positions counts tokens, for the mask alone.
    arrays = {
        "input_ids": prompt.ids[None],
        "attention_mask": np.ones((1, length), np.int64),
        "position_ids": np.concatenate([np.arange(length)[None], prompt.positions])[:, None],
        "video_grid_thw": prompt.grids,
    }
    inputs = {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
    mean, deviation = (
        torch.tensor(values, dtype=torch.float32, device=device)[:, None] * 255
        for values in (prompt.mean, prompt.deviation)
    )
    patches = torch.from_numpy(prompt.patches).to(device)
    channels = patches.view(len(patches), 3, -1).to(torch.float32).sub_(mean).div_(deviation)
    return {**inputs, "pixel_values_videos": channels.view(patches.shape).to(dtype)}


class LinearPatches(torch.nn.Module):
    """A convolution whose steps are as wide as its kernel, as the product of matrices that it is.

    The patches of a vision tower come cut out already. Libraries of convolutions are slow at this one.
    """

    def __init__(self, convolution: torch.nn.Conv3d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(patches.flatten(1), self.weight.flatten(1), self.bias)


def _folder(target: str) -> Path:
    folder = Path(target).expanduser()
    if target and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ValueError(f"{target}: the folder has no config.json, so it is no checkpoint of transformers")
        return folder
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", target):
        raise ValueError(
            f"{target or 'no checkpoint'}: no such folder; name a checkpoint's, or ORGANIZATION/NAME on the Hub"
        )
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(target, allow_patterns=list(FILES)))
    except Exception as error:  # of several libraries: the network, a proxy, a name that is not there
        told = transport_error(error) or f"{type(error).__name__}: {error}"
        raise OSError(
            f"{target}: no such folder, and the Hub does not give it: {told}; name a folder that holds the checkpoint"
        ) from error


def _loaded(folder: Path, load: Any, **how: Any) -> Any:
    """What transformers loads from a folder; whatever goes wrong is told with its name."""
    transformers.utils.logging.disable_progress_bar()  # it would write across ours
    try:
        return load(folder, local_files_only=True, **how)
    except Exception as error:  # readers of weights and of tokenizers have exceptions of their own
        raise ValueError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error
