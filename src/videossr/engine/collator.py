"""Make batches for Qwen's video models of the items of a dataset: the `collate_fn` of a trainer of one's own.

>>> collator = QwenCollator("Qwen/Qwen3-VL-8B-Instruct")  # doctest: +SKIP
>>> DataLoader(VideoSSRDataset("demo/dataset"), batch_size=4, collate_fn=collator)  # doctest: +SKIP
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from videossr.dataset.dataset import Item
from videossr.errors import ConfigError, DataError, MissingExtraError
from videossr.prompt.base import Prompt
from videossr.prompt.chat import TEXT_KIND

try:
    import torch
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
except ImportError as missing:
    raise MissingExtraError(f"videossr.QwenCollator: {missing}: pip install 'videossr[hf]'") from missing

from videossr.engine.checkpoint import Checkpoint, open_checkpoint

Side: TypeAlias = Literal["left", "right"]

IGNORED = -100
"""The label of a token that has no share in the loss, as in torch's cross entropy."""

KINDS = "mm_token_type_ids"


class QwenBatch(TypedDict):
    """The result of a `QwenCollator`, of B items.

    Attributes:
        inputs: what the model's `forward` and `generate` take, see `QwenCollator.inputs`.
        id, category, data_source, answer: of each question; the last two are what `videossr.compute_score` takes
            beside the text of the model.
    """

    inputs: transformers.BatchFeature
    id: list[str]
    category: list[str]
    data_source: list[str]
    answer: list[str]


class QwenCollator:
    """Make the inputs of Qwen3-VL or Qwen2.5-VL of items: the `collate_fn` of a `torch.utils.data.DataLoader`.

    They are those of the checkpoint's own processor, and torchvision is not needed. It can be pickled, so workers of
    the loader may be started in any way.

    Args:
        checkpoint: folder, or ORGANIZATION/NAME on the Hub. No weights are loaded.
        layout: of the tokens around a video, see `videossr.prompt.qwen3_vl.Layout`. By default the one that the
            released weights were trained with; processors of transformers from 5.10 on write ``wrapped``.
        padding_side: where shorter prompts are filled up: on the left, as generation wants it, or on the right.
        labels: whether the gold answer and the token that ends it follow each prompt, to be learned.

    Raises:
        DataError: the checkpoint cannot be read or asked.
        ConfigError: layout or side is not known.
        OSError: the checkpoint cannot be fetched.
    """

    def __init__(
        self, checkpoint: str, *, layout: str | None = None, padding_side: Side = "left", labels: bool = False
    ) -> None:
        if padding_side not in get_args(Side):
            raise ConfigError(f"padding_side={padding_side!r}: choose {' or '.join(get_args(Side))}")
        opened = open_checkpoint(checkpoint, layout)
        self._folder = str(opened.folder)
        self._layout = layout
        self.padding_side = padding_side
        self.labels = labels
        self.checkpoint = opened

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint; a worker that was sent the collator opens it again."""
        return open_checkpoint(self._folder, self._layout)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of the checkpoint, to decode answers with."""
        return self.checkpoint.tokenizer

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("checkpoint", "_takes_kinds")}

    def __call__(self, items: Sequence[Item]) -> QwenBatch:
        """Make a batch of items.

        Raises:
            DataError or ConfigError: the family cannot express the clock, size or text of a question, which is named.
        """
        return QwenBatch(
            inputs=self.inputs(items),
            id=[item.question.id for item in items],
            category=[item.sample.category for item in items],
            data_source=[item.question.data_source for item in items],
            answer=[item.question.answer for item in items],
        )

    def inputs(self, items: Sequence[Item]) -> transformers.BatchFeature:
        """Make the tensors alone: the `data_collator` of a `transformers.Trainer`.

        Returns:
            `input_ids` and `attention_mask`, (B, L) int64; `position_ids`, (4, B, L) int64: a row that counts tokens,
            then time, height and width, as the model computes them itself; `pixel_values_videos`, (patches, width)
            float32, and `video_grid_thw`, (clips, 3) int64, of all clips in order. Where this version of transformers
            wants them, `mm_token_type_ids`, (B, L). With `labels`, `labels`, (B, L): the tokens of the gold answer,
            -100 elsewhere.

        Raises:
            DataError or ConfigError: as above.
        """
        if not items:
            raise DataError("a batch of no items has no inputs")
        prompts = [self.checkpoint.build(item.question, item.clips) for item in items]
        rows = [self._row(prompt, item.question.answer) for prompt, item in zip(prompts, items, strict=True)]
        fill = {"input_ids": self._pad, "labels": IGNORED}
        padded = {name: self._padded([row[name] for row in rows], fill.get(name, 0)) for name in rows[0]}
        return transformers.BatchFeature(
            {
                **padded,
                "position_ids": padded["position_ids"].transpose(0, 1).contiguous(),
                "pixel_values_videos": torch.cat([torch.from_numpy(prompt.pixels()) for prompt in prompts]),
                "video_grid_thw": torch.from_numpy(np.concatenate([prompt.grids for prompt in prompts])),
            }
        )

    def _row(self, prompt: Prompt, gold: str) -> dict[str, NDArray[np.int64]]:
        """Return the arrays of one prompt, and of the gold answer behind it where that is to be learned.

        The last axis of each is that of the tokens.
        """
        answer = np.array(self.checkpoint.answer_ids(gold) if self.labels else [], np.int64)
        row = {
            "input_ids": np.concatenate([prompt.ids, answer]),
            "attention_mask": np.ones(len(prompt.ids) + len(answer), np.int64),
            "position_ids": prompt.all_positions(len(answer)),
        }
        if self._takes_kinds:
            row[KINDS] = np.concatenate([prompt.kinds, np.full_like(answer, TEXT_KIND)])
        if self.labels:
            row["labels"] = np.concatenate([np.full_like(prompt.ids, IGNORED), answer])
        return row

    @cached_property
    def _takes_kinds(self) -> bool:
        """Whether the model's class, in this version of transformers, takes the kinds of tokens."""
        name = MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES[self.checkpoint.config["model_type"]]
        return KINDS in inspect.signature(getattr(transformers, name).forward).parameters

    @property
    def _pad(self) -> int:
        """A token that fills rows up. It is masked, so any will do where the tokenizer names none."""
        token: int | None = self.tokenizer.pad_token_id
        return self.checkpoint.ends.taught if token is None else token

    def _padded(self, rows: Sequence[NDArray[np.int64]], fill: int) -> torch.Tensor:
        """Stack arrays whose last axes differ in length."""
        longest = max(row.shape[-1] for row in rows)
        stacked = np.full((len(rows), *rows[0].shape[:-1], longest), fill, np.int64)
        for place, row in zip(stacked, rows, strict=True):
            first = longest - row.shape[-1] if self.padding_side == "left" else 0
            place[..., first : first + row.shape[-1]] = row
        return torch.from_numpy(stacked)
