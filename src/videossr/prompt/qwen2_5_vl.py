"""How Qwen2.5-VL reads a question: time is nowhere in the text, only in the rotary positions, and in equal steps.

Exercised by `videossr bench run BENCH --model hf:CHECKPOINT --out RUN`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from videossr.clock import Clock
from videossr.errors import DataError
from videossr.prompt.base import Prompt, Tokenizer
from videossr.prompt.chat import END, PAD, START, Chat, block, check_clips, positions
from videossr.prompt.vision import PAIR, vision
from videossr.question import Clip, Frames, Question
from videossr.video.scaling import resize

EVEN_MS = 1
"""Two slots of equal length may differ by as much, because times are whole milliseconds."""


class Qwen25VL:
    """The `Builder` of Qwen2.5-VL.

    Frames are stretched to the nearest multiples of 28 pixels a side, as the family's own processor does: nothing that
    a label rests on is cut away.
    """

    layout = "released"
    pixels: ClassVar = {
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    """By which the released checkpoints normalise frames."""

    def __init__(self, config: Mapping[str, Any], tokenizer: Tokenizer, layout: str | None = None) -> None:
        """Raises ValueError for another layout, and for a configuration or tokenizer that lacks something."""
        if layout not in (None, self.layout):
            raise DataError(f"Qwen2.5-VL has no layout {layout!r}. Known: {self.layout}")
        self._vision = vision(config)
        self._chat = Chat(config, tokenizer)
        try:
            self._rate = float(config["vision_config"]["tokens_per_second"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the checkpoint's vision_config has no usable tokens_per_second: {error!r}") from None

    def __call__(self, question: Question, clips: Sequence[Clip]) -> Prompt:
        """Raises ValueError that names the question: a clock with unequal steps, control tokens in its text."""
        check_clips(question, clips)
        tower = self._vision
        frames = [fit(clip.frames, tower.side) for clip in clips]
        grids = [tower.grid(each) for each in frames]
        try:
            steps = [self._rate * pair_seconds(clip.clock) for clip in clips]
        except ValueError as error:
            raise DataError(f"question {question.id}: {error}") from None
        blocks = [block(grid, tower.merge, step) for grid, step in zip(grids, steps, strict=True)]
        text = self._chat.text(question, [f"{START}{PAD * run.shape[1]}{END}" for run in blocks])
        ids, kinds = self._chat.ids(text)
        places, delta = positions(kinds, blocks)
        return Prompt(
            text=text,
            ids=ids,
            patches=tower.all_patches(frames),
            grids=np.array(grids, np.int64),
            kinds=kinds,
            positions=places,
            delta=delta,
            mean=tower.mean,
            deviation=tower.deviation,
        )


def fit(frames: Frames, side: int) -> Frames:
    """Frames whose sides are the nearest multiples of `side`, at least one."""
    height, width = (max(1, round(length / side)) * side for length in frames.shape[1:3])
    return resize(frames, height, width)


def pair_seconds(clock: Clock) -> float:
    """Seconds from one pair of frames to the next. Raises ValueError where they are not the same for all pairs."""
    if clock.jitter_ms > EVEN_MS:
        raise DataError(
            f"its slots last unequally long, by up to {clock.jitter_ms} ms: Qwen2.5-VL can only be told equal steps"
        )
    return PAIR * clock.end_ms / len(clock) / 1000
