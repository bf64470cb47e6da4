"""TRL's GRPOTrainer extended to videos; imported by scripts that run in `.side/trl`.

TRL 1.16 knows texts and images. Five methods are enough for videos, because a row of its dataset need only name what is
asked: the prompts are ours, made once and looked up by that name. Everything else is TRL's: the loop, generation, the
rewards' normalization, the loss, the optimizer.

`benchmarks/train_step.py` times it and `test_trl.py` compares its loss with ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from trl import GRPOTrainer

from videossr.prompt.base import Prompt


@dataclass(frozen=True)
class Shown:
    """A prompt as the model takes it: `ids` and `kinds` (L,), `pixels` (N, D) float32, `grids` (clips, 3)."""

    ids: list[int]
    kinds: list[int]
    pixels: torch.Tensor
    grids: torch.Tensor


def shown(prompt: Prompt) -> Shown:
    pixels, grids = torch.from_numpy(prompt.pixels()), torch.from_numpy(prompt.grids)
    return Shown(prompt.ids.tolist(), prompt.kinds.tolist(), pixels, grids)


class VideoGRPOTrainer(GRPOTrainer):
    """`processing_class` is a tokenizer, and the dataset's category `prompt` holds names that `look_up` knows.

    The placeholders of images and videos have no share in log-probabilities, as they have none where
    `generation_kwargs` suppress them.
    """

    def __init__(self, look_up: Callable[[str], Shown], **named) -> None:
        self._look_up = look_up
        self._rows: Sequence[Shown] = ()
        super().__init__(**named)
        config = self.model.config
        self._video = config.video_token_id
        self._placeholders = torch.tensor([config.image_token_id, config.video_token_id])

    def _tokenize_prompts(self, prompts):
        found = {name: self._look_up(name) for name in dict.fromkeys(prompts)}
        self._rows = [found[name] for name in prompts]
        fields = {
            "pixel_values_videos": torch.cat([row.pixels for row in self._rows]),
            "video_grid_thw": torch.cat([row.grids for row in self._rows]),
            "mm_token_type_ids": [row.kinds for row in self._rows],
        }
        return [row.ids for row in self._rows], None, fields

    def _generate_and_score_completions(self, inputs):
        # TRL shuffles and splits whatever lists it finds here together with the answers.
        return {**super()._generate_and_score_completions(inputs), "shown": self._rows}

    def _compute_loss(self, model, inputs):
        self._rows = inputs["shown"]
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, compute_entropy=False, **_images
    ):
        """As TRL's own, but only the answers go through the head: on a CPU its own takes the prompt through it too."""
        size = batch_size or len(input_ids)
        found = []
        for ids, mask, rows in zip(
            input_ids.split(size), attention_mask.split(size), _parts(self._rows, size), strict=True
        ):
            scores = model(
                input_ids=ids,
                attention_mask=mask,
                mm_token_type_ids=2 * (ids == self._video).long(),
                pixel_values_videos=torch.cat([row.pixels for row in rows]).to(ids.device),
                video_grid_thw=torch.cat([row.grids for row in rows]).to(ids.device),
                logits_to_keep=logits_to_keep + 1,
                use_cache=False,
            ).logits[:, :-1]
            scores = scores.float().index_fill(-1, self._placeholders.to(ids.device), -torch.inf)
            logs = (scores / self.temperature).log_softmax(-1)
            found.append((logs.gather(-1, ids[:, -logits_to_keep:, None])[..., 0], _entropy(logs.detach())))
        logps, entropies = (torch.cat(part) for part in zip(*found, strict=True))
        return logps, entropies if compute_entropy else None, None


def _parts(rows: Sequence[Shown], size: int) -> list[Sequence[Shown]]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _entropy(logs: torch.Tensor) -> torch.Tensor:
    return torch.special.entr(logs.exp()).sum(-1)
