"""Prompts of Qwen3-VL, which encodes time in the text: `<t seconds>` in front of every merged pair of frames.

`videossr.prompt.builder` chooses it by the checkpoint's `model_type`; `videossr validate DATASET --model-type qwen3_vl`
prints the markers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeAlias, cast, get_args

import numpy as np

from videossr.clock import Clock
from videossr.errors import ConfigError
from videossr.prompt.base import Prompt, Tokenizer
from videossr.prompt.chat import END, PAD, START, Chat, block, check_clips, positions
from videossr.prompt.vision import PAIR, vision
from videossr.question import Clip, Question

Layout: TypeAlias = Literal["bare", "wrapped"]
"""``bare``: vision tokens around each pair alone, as up to transformers 5.9. ``wrapped``: a further pair of vision
tokens around the whole video, as from transformers 5.10 on."""

RELEASED: Layout = "bare"
"""Layout with which the released weights were trained; docs/concepts/prompt.md has the evidence."""

MERGE = PAIR
"""Slots that share a marker."""


class Qwen3VL:
    """The `Builder` of Qwen3-VL, dense or with experts."""

    pixels: ClassVar = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    """Mean and deviation by which the released checkpoints normalise frames."""

    def __init__(self, config: Mapping[str, Any], tokenizer: Tokenizer, layout: str | None = None) -> None:
        """Read the settings of a checkpoint, see `videossr.prompt.builder`. Raises ConfigError or DataError."""
        chosen = RELEASED if layout is None else layout
        if chosen not in get_args(Layout):
            raise ConfigError(f"Qwen3-VL has no layout {chosen!r}. Known: {', '.join(get_args(Layout))}")
        self.layout = cast(Layout, chosen)
        self._vision = vision(config)
        self._chat = Chat(config, tokenizer)

    def __call__(self, question: Question, clips: Sequence[Clip]) -> Prompt:
        """Make the prompt of a question, see `Builder`.

        Raises:
            ConfigError: a side of the frames is no multiple of 32.
            DataError: the text has control tokens. Either message names the question.
        """
        check_clips(question, clips)
        tower = self._vision
        try:
            patches = tower.all_patches([clip.frames for clip in clips])
        except ValueError as error:
            raise ConfigError(f"question {question.id}: {error}") from None
        grids = [tower.grid(clip.frames) for clip in clips]
        # Time is in the text: each pair of frames is a run of tokens of its own, at one position on the axis of time.
        pairs = [block((1, rows, columns), tower.merge, 0) for _, rows, columns in grids]
        videos = [video_text(clip.clock, pair.shape[1], self.layout) for clip, pair in zip(clips, pairs, strict=True)]
        text = self._chat.text(question, videos)
        ids, kinds = self._chat.ids(text)
        blocks = [pair for pair, grid in zip(pairs, grids, strict=True) for _ in range(grid[0])]
        rotary, delta = positions(kinds, blocks)
        return Prompt(
            text=text,
            ids=ids,
            patches=patches,
            grids=np.array(grids, np.int64),
            kinds=kinds,
            positions=rotary,
            delta=delta,
            mean=tower.mean,
            deviation=tower.deviation,
        )


def pair_times(clock: Clock) -> list[float]:
    """Compute the seconds of the markers, one a pair of slots: the mean of their times.

    An odd last slot is paired with itself, as the processor does. Each time is made a float before the mean is taken,
    in the processor's own order: where the mean ends in a five at the second decimal, that decides how the marker is
    rounded (0.1 s and 0.2 s give 0.15000000000000002, hence `<0.2 seconds>`; 300 / 2000 would give `<0.1 seconds>`).
    """
    times = [time / 1000 for time in (*clock.times_ms, *clock.times_ms[-1:] * (len(clock) % MERGE))]
    return [(first + second) / 2 for first, second in zip(times[::2], times[1::2], strict=True)]


def markers(clock: Clock) -> list[str]:
    """Write the markers as the model reads them, one a pair of slots."""
    return [f"<{seconds:.1f} seconds>" for seconds in pair_times(clock)]


def video_text(clock: Clock, tokens: int, layout: Layout) -> str:
    """Write the text that represents one clip in a prompt.

    Args:
        clock: of the clip.
        tokens: placeholders of each pair of frames.
        layout: of the vision tokens.
    """
    pairs = "".join(f"{marker}{START}{PAD * tokens}{END}" for marker in markers(clock))
    return f"{START}{pairs}{END}" if layout == "wrapped" else pairs
