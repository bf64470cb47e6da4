"""Checkpoints as transformers loads them, and what a loaded model takes for a prompt.

Exercised by `videossr bench run BENCH --model hf:CHECKPOINT --out RUN` and `videossr train CONFIG --out RUN`.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
import transformers
from packaging.version import Version

from videossr.clock import uniform_clock
from videossr.engine.chat_template import check_chat_template
from videossr.engine.checkpoint_folder import check_folder, tensor_files
from videossr.engine.model import VisionLanguageModel
from videossr.engine.vision_tower import optimize_vision_tower
from videossr.errors import ConfigError, DataError
from videossr.prompt import builder, checkpoint_config
from videossr.prompt.base import Builder, Prompt
from videossr.prompt.chat import set_thinking
from videossr.prompt.ends import Ends, find_ends
from videossr.question import VIDEO, Clip, Question
from videossr.storage.paths import lies_in, transport_error

FILES = ("*.json", "*.jinja", "*.txt", "*.safetensors")
"""Files that are fetched of a checkpoint on the Hub."""

PLACEHOLDERS = ("image_token_id", "video_token_id")
"""Where a configuration tells which tokens stand for pixels."""

_CLOCK = uniform_clock(2, 2000)
SINCE = {"qwen3_5": "5.17.0", "qwen3_5_moe": "5.17.0"}
"""Model types that need a later release of transformers than the others.

From this one on, Gated DeltaNet layers go on behind a state with several tokens, by way of the cache.
"""

FLOATS = (torch.float32, torch.bfloat16, torch.float16)

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
        ends: the tokens that end an answer.
        fingerprint: 16 hex digits that tell apart checkpoints which are asked otherwise.
    """

    folder: Path
    config: dict[str, Any]
    tokenizer: Any
    build: Builder
    ends: Ends
    fingerprint: str

    @property
    def placeholders(self) -> list[int]:
        """Tokens that stand for pixels, which no answer may hold: there are none for it."""
        return [self.config[name] for name in PLACEHOLDERS if name in self.config]

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of the tokens of an answer."""
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def answer_ids(self, text: str) -> list[int]:
        """Return the tokens of an answer, with the one that ends it, at which sampling stops."""
        return [*self.tokenizer.encode(text, add_special_tokens=False), self.ends.taught]

    def prompt(self, question: Question, clips: Sequence[Clip], *, room: int, limit: int) -> Prompt:
        """Build the prompt of a question.

        Args:
            question: the texts.
            clips: what is shown, in order.
            room: tokens of the answer.
            limit: tokens that the model can hold, see `videossr.engine.model.context_length`.

        Raises:
            DataError: prompt and answer are longer than the limit.
        """
        prompt = self.build(question, clips)
        if len(prompt.ids) + room > limit:
            raise DataError(
                f"question {question.id}: {len(prompt.ids)} tokens, and {room} for the answer, are more than the "
                f"model's {limit}"
            )
        return prompt

    def load(self, device: torch.device, dtype: str | torch.dtype, attention: str) -> VisionLanguageModel:
        """Load the model, ready to answer.

        Its `unbuilt` are the names of tensors of the checkpoint that its class does not build, such as `mtp.*`.

        Args:
            device: where it is put.
            dtype: torch's, or its name; auto: as it was saved, on a CPU float32.
            attention: `attn_implementation` of transformers.

        Raises:
            DataError: the checkpoint cannot be loaded, not with this release of transformers, weights are missing, or
                some are no numbers.
        """
        needed = SINCE.get(self.config["model_type"])
        if needed and Version(transformers.__version__) < Version(needed):
            raise DataError(
                f"{self.folder}: {self.config['model_type']} needs transformers {needed} or later, and this is "
                f"{transformers.__version__}: pip install 'transformers>={needed}'"
            )
        model, info = _loaded(
            self.folder,
            transformers.AutoModelForImageTextToText.from_pretrained,
            dtype="float32" if dtype == "auto" and device.type == "cpu" else dtype,
            attn_implementation=attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are an error below, which names one
        )
        if missing := sorted(info["missing_keys"]):
            raise DataError(
                f"{self.folder}: its files lack {len(missing)} of the model's weights, such as {missing[0]}"
            )
        if mismatched := sorted(info["mismatched_keys"]):
            name, stored, built = mismatched[0]
            raise DataError(
                f"{self.folder}: {len(mismatched)} of its weights have another shape than its configuration says, such "
                f"as {name}: {tuple(stored)} in the files, {tuple(built)} by the configuration"
            )
        model.unbuilt = _unbuilt(self.folder, model, info["unexpected_keys"])
        loaded: VisionLanguageModel = model.to(device).eval()
        optimize_vision_tower(loaded)
        _check_finite(self.folder, loaded)
        return loaded


def open_checkpoint(target: str, layout: str | None = None, thinking: bool | None = None) -> Checkpoint:
    """Open a checkpoint in a folder, or the one that the Hub has under that name.

    Args:
        target: folder, or ORGANIZATION/NAME on the Hub.
        layout: of the video's tokens; None: that of the released weights.
        thinking: what the chat template is told of enable_thinking; None: see `videossr.prompt.chat.set_thinking`.

    Raises:
        DataError: it cannot be read or asked.
        OSError: it cannot be fetched.
    """
    folder = _folder(target)
    check_folder(folder)
    config = checkpoint_config(folder)
    tokenizer = _loaded(folder, transformers.AutoTokenizer.from_pretrained)
    set_thinking(tokenizer, thinking, str(config.get("model_type")))
    check_chat_template(folder, tokenizer)
    try:
        build = builder(config, copy.deepcopy(tokenizer), layout)
        probe = build(PROBE, [PROBE_CLIP])
    except Exception as error:  # a chat template is a program, which may raise what it likes
        raise DataError(f"{folder} cannot be asked: {type(error).__name__}: {error}") from error
    ends = find_ends(folder, config, tokenizer)
    fingerprint = hashlib.sha256(probe.text.encode() + probe.ids.tobytes()).hexdigest()[:16]
    return Checkpoint(folder, config, tokenizer, build, ends, fingerprint)


def unbuilt_files(folder: Path, model: VisionLanguageModel) -> dict[str, Path]:
    """Return the tensors of a checkpoint that the class of a loaded model does not build, each with its file.

    Raises:
        DataError: a file is a link that leads out of the folder. Such tensors are saved as they are, so that those of
            any file of the user could be published.
    """
    files = tensor_files(folder)
    found = {name: files[name] for name in getattr(model, "unbuilt", ()) if name in files}
    for file in set(found.values()):
        if not lies_in(file, folder):
            raise DataError(f"{file} is a link that leads out of {folder}: copy the file there to save its tensors")
    return found


def unbuilt_tensors(folder: Path, model: VisionLanguageModel) -> dict[str, torch.Tensor]:
    """Read the tensors of `unbuilt_files` as the files have them. Raises as that does."""
    tensors = {}
    for name, path in unbuilt_files(folder, model).items():
        with safetensors.safe_open(path, "pt") as file:
            tensors[name] = file.get_tensor(name)
    return tensors


def find_device(name: str) -> torch.device:
    """Return a device by its name; auto: an accelerator if there is one. Raises ConfigError where it cannot be used."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    try:
        device = (found or torch.device("cpu")) if name == "auto" else torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device={name}: {str(error).splitlines()[0]}") from error
    return device


def device_name(device: torch.device) -> str:
    """Return what a result calls the device: of a card its model."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def out_of_memory(error: Exception) -> bool:
    """Tell whether memory ended, on a device or here; a CPU's allocator only says so in words."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def text_inputs(prompt: Prompt, device: torch.device) -> dict[str, torch.Tensor]:
    """Return the part of `prompt_inputs` that is not about pixels: tokens (1, L), mask and positions."""
    arrays = {
        "input_ids": prompt.ids[None],
        "attention_mask": np.ones((1, len(prompt.ids)), np.int64),
        "position_ids": prompt.all_positions()[:, None],
    }
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def prompt_inputs(prompt: Prompt, device: torch.device, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return what the model's `forward` takes for one prompt (1, L), with positions, so that it computes none itself.

    Pixels go to the device as bytes and are made numbers there, as `Prompt.pixels` does it.
    """
    mean, deviation = (
        torch.tensor(values, dtype=torch.float32, device=device)[:, None] * 255
        for values in (prompt.mean, prompt.deviation)
    )
    patches = torch.from_numpy(prompt.patches).to(device)
    channels = patches.view(len(patches), 3, -1).to(torch.float32).sub_(mean).div_(deviation)
    return {
        **text_inputs(prompt, device),
        "video_grid_thw": torch.from_numpy(prompt.grids).to(device),
        "pixel_values_videos": channels.view(patches.shape).to(dtype),
    }


@contextmanager
def without_report() -> Iterator[None]:
    """Hide transformers' table of missing and unexpected tensors while the block lasts, except where the block fails.

    `Checkpoint.load` raises for missing tensors, and training tells in one line which tensors the model does not use.
    """
    logger = logging.getLogger("transformers.modeling_utils")
    hidden: list[logging.LogRecord] = []

    def hide(record: logging.LogRecord) -> bool:
        is_report = "LOAD REPORT" in record.getMessage()
        if is_report:
            hidden.append(record)
        return not is_report

    logger.addFilter(hide)
    try:
        yield
    except BaseException:
        logger.removeFilter(hide)
        for record in hidden:
            logger.handle(record)  # errors of transformers refer to it
        raise
    finally:
        logger.removeFilter(hide)


def _unbuilt(folder: Path, model: transformers.PreTrainedModel, unexpected: Iterable[str]) -> list[str]:
    """Name the tensors that a model's class does not build; of some, such as `mtp.*`, transformers says nothing."""
    ignored = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_unexpected or ()]
    built = model.state_dict().keys()
    silent = (
        name for name in tensor_files(folder) if name not in built and any(pattern.search(name) for pattern in ignored)
    )
    return sorted({*unexpected, *silent})


def _check_finite(folder: Path, model: VisionLanguageModel) -> None:
    """Raise DataError that names a weight with a value that is no number; a model with one answers nothing."""
    weights = [(name, weight) for name, weight in model.named_parameters() if weight.dtype in FLOATS and weight.numel()]
    extremes = [torch.stack(weight.detach().aminmax()).float() for _, weight in weights]
    finite = torch.stack(extremes).isfinite().all(1).tolist() if extremes else []
    wrong = [name for (name, _), fine in zip(weights, finite, strict=True) if not fine]
    if wrong:
        raise DataError(
            f"{folder}: {len(wrong)} of {len(weights)} weights hold values that are not finite in {model.dtype}, "
            f"such as {wrong[0]}. The checkpoint is damaged, or its training has failed; use an earlier one"
        )


def _folder(target: str) -> Path:
    """Return the folder of a checkpoint, fetched from the Hub where there is none of that name."""
    folder = Path(target).expanduser()
    if target and folder.exists():
        return folder
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", target):
        raise DataError(
            f"{target or 'no checkpoint'}: no such folder; name a checkpoint's, or ORGANIZATION/NAME on the Hub"
        )
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(target, allow_patterns=list(FILES)))
    except Exception as error:  # of several libraries: the network, a proxy, a name that is not there
        reason = transport_error(error) or f"{type(error).__name__}: {error}"
        raise OSError(
            f"{target}: no such folder: name one that holds a checkpoint. Nor does the Hub give it: {reason}"
        ) from error


def _loaded(folder: Path, load: Any, **how: Any) -> Any:
    """Return what transformers loads from a folder. Raises ValueError that names the folder, whatever goes wrong."""
    transformers.utils.logging.disable_progress_bar()  # it would write across ours
    try:
        with without_report():
            return load(folder, local_files_only=True, **how)
    except Exception as error:  # readers of weights and of tokenizers have exceptions of their own
        raise DataError(f"{folder} cannot be loaded: {type(error).__name__}: {error}") from error
