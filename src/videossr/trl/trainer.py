"""TRL's GRPO trainer, extended to videos. It can be imported only where TRL is installed.

TRL 1.16 trains on texts and images. A part of a prompt that is a video reaches the model while it answers, but not in
the loss, where the trainer keeps the tensors of images alone. Here the model gets the same pixels at the same times in
both. The prompts are made by `videossr.prompt`, so torchvision is not needed and every clip keeps its own clock.

All else is TRL's: the loop, generation, the normalisation of rewards, the loss and the optimizer.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trl

from videossr.engine.checkpoint import open_checkpoint
from videossr.errors import ConfigError, DataError
from videossr.prompt import PREPROCESSORS
from videossr.prompt.base import Prompt
from videossr.question import Clip, Question
from videossr.references import ClipCache
from videossr.training.checkpoints.model_files import copied_files

MADE_FOR = "1.16."
"""The releases of TRL whose methods are overridden here; they are not a stable interface."""

REFUSED: Mapping[str, str] = {
    "use_vllm": "TRL hands vLLM no videos, so it would answer without having seen any",
    "use_transformers_continuous_batching": "it takes no videos",
    "tools": "the prompts that follow a tool's output would be made by TRL, without videos",
    "rollout_func": "it would be given no videos",
    "environment_factory": "its prompts would be made by TRL, without videos",
}
"""Arguments of `trl.GRPOConfig` and of the trainer that must be left out, and why."""


@dataclass(frozen=True)
class ShownPrompt:
    """A prompt and its pixels (N, D), float32, which all answers to a question share."""

    prompt: Prompt
    pixels: torch.Tensor


class VideoGRPOTrainer(trl.GRPOTrainer):  # type: ignore[misc]  # TRL is not there when types are checked
    """A `trl.GRPOTrainer` for the rows of `videossr.trl.dataset.sample_rows`.

    No answer may hold a placeholder of images or videos: they are never sampled and have no share in log-probabilities.

    Args:
        model: folder, name on the Hub, or a model that was loaded from one of them; of Qwen's video families.
        args: TRL's settings.
        layout: of the tokens around a video, see `videossr.prompt.qwen3_vl.Layout`.
        named: what else a `trl.GRPOTrainer` takes, but for a `processing_class`, which is that of the model.

    Raises:
        ConfigError: another release of TRL, or an argument with which the model would see no videos.
        DataError: the model cannot be asked.
    """

    def __init__(self, model: Any, *, args: trl.GRPOConfig, layout: str | None = None, **named: Any) -> None:
        check_arguments(trl.__version__, {**vars(args), **named})
        self._checkpoint = open_checkpoint(model if isinstance(model, str) else model.config._name_or_path, layout)
        self._clips = ClipCache()
        self._shown: Sequence[ShownPrompt] = ()
        placeholders = self._checkpoint.placeholders
        chosen = dict(args.generation_kwargs or {})
        args.generation_kwargs = {
            **chosen,
            "suppress_tokens": sorted({*placeholders, *chosen.get("suppress_tokens", ())}),
        }
        self._placeholders = torch.tensor(placeholders)
        super().__init__(model, args=args, processing_class=self._checkpoint.tokenizer, **named)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Answer and score rows. What is returned is shuffled and split by TRL, lists like tensors."""
        known: dict[str, ShownPrompt] = {}
        keys = [json.dumps([row.get("prompt"), row.get("videos")], sort_keys=True) for row in inputs]
        for key, row in zip(keys, inputs, strict=True):
            if key not in known:
                known[key] = self._show(row)
        self._shown = [known[key] for key in keys]
        return {**super()._generate_and_score_completions(inputs), "shown": self._shown}

    def _show(self, row: Mapping[str, Any]) -> ShownPrompt:
        """Render the clips of a row, and make its prompt. Raises VideoSSRError where it cannot be."""
        references = row.get("videos")
        if not references:
            raise DataError(
                f"a row has no clips, but only {', '.join(row)}: make rows with videossr.trl.dataset.sample_rows, and "
                "leave remove_unused_columns off"
            )
        clips = self._clips.clips(references)
        prompt = self._checkpoint.build(row_question(row, clips), clips)
        return ShownPrompt(prompt, torch.from_numpy(prompt.pixels()))

    def _tokenize_prompts(self, prompts: Sequence[Any]) -> tuple[list[list[int]], None, dict[str, torch.Tensor]]:
        """Return the token ids of the prompts of this step, no images, and what else generation takes."""
        assert len(prompts) == len(self._shown)
        longest = max(len(shown.prompt.ids) for shown in self._shown)
        multiple = self.pad_to_multiple_of or 1
        videos = video_inputs(self._shown, -(-longest // multiple) * multiple)
        return [shown.prompt.ids.tolist() for shown in self._shown], None, videos

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        self._shown = inputs["shown"]
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **_images: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """As TRL's own, but with videos, and only the answers go through the head."""
        size = batch_size or len(input_ids)
        width = input_ids.shape[1] - logits_to_keep
        router = {"output_router_logits": True} if compute_aux_loss else {}
        logps, entropies, losses = [], [], []
        for first in range(0, len(input_ids), size):
            part = slice(first, first + size)
            ids = input_ids[part]
            videos = video_inputs(self._shown[part], width, logits_to_keep)
            with self.accelerator.autocast():
                output = model(
                    input_ids=ids,
                    attention_mask=attention_mask[part],
                    **{name: tensor.to(ids.device) for name, tensor in videos.items()},
                    **router,
                    logits_to_keep=logits_to_keep + 1,
                    use_cache=False,
                )
            scores = output.logits[:, :-1].float()
            scores = scores.index_fill(-1, self._placeholders.to(ids.device), -torch.inf)
            logs = (scores / self.temperature).log_softmax(-1)
            logps.append(logs.gather(-1, ids[:, width:, None])[..., 0])
            entropies.append(token_entropies(logs if self._entropy_bonus_enabled else logs.detach()))
            losses += [output.aux_loss] if compute_aux_loss else []
        return (
            torch.cat(logps),
            torch.cat(entropies) if compute_entropy else None,
            torch.stack(losses).mean() if compute_aux_loss else None,
        )

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save the model, and the processor's files beside it, without which it could not be asked."""
        super()._save(output_dir, state_dict)
        for file in copied_files(self._checkpoint.folder):
            if file.name in PREPROCESSORS:
                shutil.copyfile(file, Path(output_dir or self.args.output_dir) / file.name)


def check_arguments(version: str, arguments: Mapping[str, Any]) -> None:
    """Raise ConfigError for another release of TRL, or an argument with which the model would see no videos."""
    if not version.startswith(MADE_FOR):
        raise ConfigError(
            f"trl {version}: VideoGRPOTrainer overrides methods of trl {MADE_FOR}* that are not a stable interface, so "
            f"that another release could train without videos: pip install 'trl=={MADE_FOR}*'"
        )
    for name, reason in REFUSED.items():
        if arguments.get(name):
            raise ConfigError(f"{name}: {reason}. Leave it out")


def row_question(row: Mapping[str, Any], clips: Sequence[Clip]) -> Question:
    """Return the question of a row, whose texts its user may have changed. Raises DataError for another form."""
    turns = row["prompt"]
    texts = {} if isinstance(turns, str) else {turn["role"]: turn["content"] for turn in turns}
    if not {"user"} <= texts.keys() <= {"system", "user"} or not all(isinstance(text, str) for text in texts.values()):
        raise DataError(f"row {row.get('id')}: its prompt is not a system and a user turn, each a text: {turns!r:.200}")
    try:
        return Question(
            id=str(row.get("id")),
            data_source="",
            system=texts.get("system", ""),
            prompt=texts["user"],
            answer="",
            clocks=tuple(clip.clock for clip in clips),
        )
    except ValueError as error:
        raise DataError(f"row {row.get('id')}: {error}") from None


def token_entropies(logs: torch.Tensor) -> torch.Tensor:
    """Compute the entropies of log-probabilities (..., V), of which some may be minus infinity, with a gradient."""
    return -(logs.exp() * logs.masked_fill(logs.isneginf(), 0.0)).sum(-1)


def video_inputs(shown: Sequence[ShownPrompt], width: int, answer: int = 0) -> dict[str, torch.Tensor]:
    """Return what `forward` takes beside ids and mask, of prompts filled up on the left and answers behind them.

    Args:
        shown: the prompts, B of them.
        width: tokens of a prompt, filled up.
        answer: tokens of an answer, filled up.

    Returns:
        `position_ids` (4, B, width + answer), and `pixel_values_videos` and `video_grid_thw` of all clips.
    """
    positions = np.zeros((4, len(shown), width + answer), np.int64)
    for row, one in enumerate(shown):
        positions[:, row, width - len(one.prompt.ids) :] = one.prompt.all_positions(answer)
    return {
        "position_ids": torch.from_numpy(positions),
        "pixel_values_videos": torch.cat([one.pixels for one in shown]),
        "video_grid_thw": torch.from_numpy(np.concatenate([one.prompt.grids for one in shown])),
    }
