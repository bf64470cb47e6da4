"""The prompt of one question, as arrays, and the protocols of the parts that make it.

A prompt is made without any library that would resize, sample or time its frames again. `videossr.prompt.builder`
makes the builder of a checkpoint.
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
        text: the text that the ids encode, placeholders included.
        ids: (L,) int64, token ids.
        patches: (N, C * frames * height * width of a patch) uint8, all clips' patches in the order in which the vision
            tower reads them, not yet normalised.
        grids: (clips, 3) int64, patches of each clip in time, height and width.
        kinds: (L,) int64, 0 where a token is text and 2 where it is a placeholder of video.
        positions: (3, L) int64, rotary positions in time, height and width.
        delta: the k-th token after the prompt, from 0, has the position L + k + delta on all three axes.
        mean: of the three channels in [0, 1], which is subtracted from the vision tower's input.
        deviation: of the three channels in [0, 1], by which the difference is divided.
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
        """Normalise the patches for the vision tower.

        Returns:
            The shape of `patches`, float32.
        """
        mean, deviation = (np.array(values, np.float32)[:, None] * 255 for values in (self.mean, self.deviation))
        pixels = self.patches.reshape(len(self.patches), 3, -1).astype(np.float32)
        pixels -= mean
        pixels /= deviation
        return pixels.reshape(self.patches.shape)

    def all_positions(self, answer: int = 0) -> NDArray[np.int64]:
        """Return the positions of the prompt and of an answer behind it, as `forward` of the model takes them.

        Args:
            answer: tokens of the answer.

        Returns:
            (4, L + answer) int64: first a row that counts tokens, for the mask alone, then time, height and width.
        """
        count = np.arange(len(self.ids) + answer)
        behind = np.tile(count[len(self.ids) :] + self.delta, (3, 1))
        return np.concatenate([count[None], np.concatenate([self.positions, behind], axis=1)])


class Tokenizer(Protocol):
    """The methods of a tokenizer of transformers that prompts need."""

    def apply_chat_template(
        self, conversation: Sequence[Mapping[str, Any]], *, tokenize: bool, add_generation_prompt: bool
    ) -> Any:
        """Render a conversation with the chat template; as text where `tokenize` is false."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the token ids of a text."""

    def get_added_vocab(self) -> Mapping[str, int]:
        """Return the added tokens, special ones among them, and their ids."""


class Builder(Protocol):
    """Turns questions of one model family into prompts. Its calls are pure and may come from several threads."""

    @property
    def layout(self) -> str:
        """Name of the layout of its video tokens, which a run records with its model."""

    def __call__(self, question: Question, clips: Sequence[Clip]) -> Prompt:
        """Make the prompt of a question.

        Args:
            question: the question.
            clips: its clips, in order.

        Raises:
            VideoSSRError: the family cannot express its clock, size or text; the message names the question.
        """
