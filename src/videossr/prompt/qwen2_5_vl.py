"""Prompts of Qwen2.5-VL, which encodes time in the rotary positions alone, in equal steps, and not in the text.

`videossr.prompt.builder` chooses it by the checkpoint's `model_type`.
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
"""Milliseconds by which slots of equal length may differ, because times are rounded to whole milliseconds."""


class Qwen25VL:
    """The `Builder` of Qwen2.5-VL.

    Frames are stretched to the nearest multiples of 28 pixels a side, as the family's own processor does, so nothing of
    a frame is cut off.
    """

    layout = "released"
    pixels: ClassVar = {
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    """Mean and deviation by which the released checkpoints normalise frames."""

    def __init__(self, config: Mapping[str, Any], tokenizer: Tokenizer, layout: str | None = None) -> None:
        """Read the settings of a checkpoint, see `videossr.prompt.builder`. Raises DataError."""
        if layout not in (None, self.layout):
            raise DataError(f"Qwen2.5-VL has no layout {layout!r}. Known: {self.layout}")
        self._vision = vision(config)
        self._chat = Chat(config, tokenizer)
        try:
            self._rate = float(config["vision_config"]["tokens_per_second"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"the checkpoint's vision_config has no usable tokens_per_second: {error!r}") from None

    def __call__(self, question: Question, clips: Sequence[Clip]) -> Prompt:
        """Make the prompt of a question, see `Builder`.

        Raises:
            DataError: a clock has unequal steps, or the text has control tokens. The message names the question.
        """
        check_clips(question, clips)
        tower = self._vision
        frames = [fit(clip.frames, tower.side) for clip in clips]
        grids = [tower.grid(fitted) for fitted in frames]
        try:
            steps = [self._rate * pair_seconds(clip.clock) for clip in clips]
        except ValueError as error:
            raise DataError(f"question {question.id}: {error}") from None
        blocks = [block(grid, tower.merge, step) for grid, step in zip(grids, steps, strict=True)]
        text = self._chat.text(question, [f"{START}{PAD * run.shape[1]}{END}" for run in blocks])
        ids, kinds = self._chat.ids(text)
        rotary, delta = positions(kinds, blocks)
        return Prompt(
            text=text,
            ids=ids,
            patches=tower.all_patches(frames),
            grids=np.array(grids, np.int64),
            kinds=kinds,
            positions=rotary,
            delta=delta,
            mean=tower.mean,
            deviation=tower.deviation,
        )


def fit(frames: Frames, side: int) -> Frames:
    """Scale frames (T, H, W, 3) to the nearest multiples of `side`, at least one a side."""
    height, width = (max(1, round(length / side)) * side for length in frames.shape[1:3])
    return resize(frames, height, width)


def pair_seconds(clock: Clock) -> float:
    """Return the seconds from one pair of frames to the next. Raises DataError where pairs differ."""
    if clock.jitter_ms > EVEN_MS:
        raise DataError(
            f"its slots differ in length by up to {clock.jitter_ms} ms, and Qwen2.5-VL can express equal steps only"
        )
    return PAIR * clock.end_ms / len(clock) / 1000
