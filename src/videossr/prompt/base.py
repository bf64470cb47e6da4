"""What a model reads for one question, without any library that would resize, sample or time its frames again.

Built by `videossr.prompt.builder`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from videossr.question import Clip, Question


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt, as arrays.

    Attributes:
        text: what the ids spell, placeholders included.
        ids: (L,) int64, token ids.
        patches: (N, C * frames * height * width of a patch) uint8, all clips' patches in the order in which the vision
            tower reads them, not yet normalised.
        grids: (clips, 3) int64, patches of each clip in time, height and width.
        kinds: (L,) int64, 0 where a token is text and 2 where it stands for video.
        positions: (3, L) int64, rotary positions in time, height and width.
        delta: a token behind the prompt, k tokens further, has the position L + k + delta.
        mean, deviation: of the three channels in [0, 1], by which the vision tower's input is normalised.
    """

    text: str
    ids: NDArray[np.int64]
    patches: NDArray[np.uint8]
    grids: NDArray[np.int64]
    kinds: NDArray[np.int64]
    positions: NDArray[np.int64]
    delta: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    def pixels(self) -> NDArray[np.float32]:
        """The patches as the vision tower wants them: normalised float32."""
        mean, deviation = (np.asarray(values, np.float32)[:, None] for values in (self.mean, self.deviation))
        channels = self.patches.reshape(len(self.patches), 3, -1)
        scaled = (channels * np.float32(1 / 255) - mean) / deviation
        return scaled.reshape(self.patches.shape).astype(np.float32, copy=False)


class Tokenizer(Protocol):
    """What is needed of a tokenizer of transformers."""

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, Any]], *, tokenize: bool, add_generation_prompt: bool
    ) -> Any:
        """The conversation as text, where `tokenize` is false."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The ids of a text."""

    def get_added_vocab(self) -> Mapping[str, int]:
        """The tokens that a text is split at first, special ones among them, and their ids."""


class Builder(Protocol):
    """Turns questions of one model family into prompts. Pure; may be called from several threads."""

    @property
    def layout(self) -> str:
        """The name of its layout of video tokens; belongs into what a run tells of its model."""

    def __call__(self, question: Question, clips: Sequence[Clip]) -> Prompt:
        """Raises ValueError that names the question where the family cannot express its clock, size or text."""
