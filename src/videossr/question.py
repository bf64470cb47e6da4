"""The model-facing view of a sample: text, clips and gold answer.

Models, exports, the trainer and the report depend on a dataset only through this.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypedDict

from videossr.clock import Clock

Frames: TypeAlias = NDArray[np.uint8]
"""(T, H, W, 3) uint8 RGB."""

VIDEO = "<video>"
"""Stands in a prompt where a clip is shown; one for each clip, in order."""

Message: TypeAlias = dict[str, Any]
"""One turn of a conversation, as chat templates of transformers read it: `role`, and `content` as a list of parts."""


class Turn(TypedDict):
    """One turn of a conversation in plain text, with ``<video>`` where a clip is shown, as rows of trainers have it."""

    role: str
    content: str


class VideoMetadata(TypedDict):
    """Times of a clip's frames, in the form that video processors of transformers take as `video_metadata`.

    A processor reads frame i at `frames_indices[i] / fps` seconds. With 1000 frames a second that is exact for any
    clock.
    """

    total_num_frames: int
    fps: float
    frames_indices: list[int]
    duration: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames (T, H, W, 3) uint8 RGB and the clock of their T slots.

    Raises:
        ValueError: the frames have another form, or their number is not that of the slots.
    """

    frames: Frames
    clock: Clock

    def __post_init__(self) -> None:
        if self.frames.dtype != np.uint8 or self.frames.ndim != 4 or self.frames.shape[3] != 3:
            raise ValueError(f"frames must be (T, H, W, 3) uint8, got {self.frames.shape} {self.frames.dtype}")
        if len(self.frames) != len(self.clock):
            raise ValueError(f"{len(self.frames)} frames for a clock of {len(self.clock)} slots")

    def __repr__(self) -> str:
        return f"Clip(frames {self.frames.shape} {self.frames.dtype}, {self.clock})"

    @property
    def video_metadata(self) -> VideoMetadata:
        """Times of the frames, for a video processor of transformers.

        Call the processor with ``do_sample_frames=False`` as well: otherwise it picks frames again.
        """
        return VideoMetadata(
            total_num_frames=self.clock.end_ms,
            fps=1000.0,
            frames_indices=list(self.clock.times_ms),
            duration=self.clock.end_ms / 1000,
            width=self.frames.shape[2],
            height=self.frames.shape[1],
        )


@dataclass(frozen=True, slots=True)
class Question:
    """Text and clips in reading order, the gold answer, and how an answer is scored.

    Attributes:
        id: the sample's id, or the public benchmark's.
        data_source: first argument of `videossr.rewards.compute_score`.
        system: the system turn, which may be empty.
        prompt: the user turn; ``<video>`` marks where each clip is shown.
        answer: the gold answer.
        clocks: the clock of each clip, in the order of the markers.

    Raises:
        ValueError: the prompt has more or fewer markers than there are clocks.
    """

    id: str
    data_source: str
    system: str
    prompt: str
    answer: str
    clocks: tuple[Clock, ...]

    def __post_init__(self) -> None:
        if self.prompt.count(VIDEO) != len(self.clocks):
            raise ValueError(f"question {self.id}: {self.prompt.count(VIDEO)} {VIDEO} for {len(self.clocks)} clips")

    def __repr__(self) -> str:
        clocks = f"{len(self.clocks)} clips, " + ", ".join(map(repr, dict.fromkeys(self.clocks)))
        prompt = textwrap.shorten(self.prompt, 80, placeholder=" …")
        return (
            f"Question(id={self.id!r}, data_source={self.data_source!r}, answer={self.answer!r}, {clocks}, "
            f"prompt={prompt!r})"
        )

    def turns(self, *, answered: bool = False) -> list[Turn]:
        """Write the question as turns of plain text, which end with the gold answer where it is `answered`."""
        said = [("system", self.system)] * bool(self.system)
        said += [("user", self.prompt)] + [("assistant", self.answer)] * answered
        return [Turn(role=role, content=content) for role, content in said]

    def messages(self, clips: Iterable[Clip] | None = None) -> list[Message]:
        """Write the question as a conversation for a chat template of transformers.

        Args:
            clips: the clips of the question in their order; their frames (T, H, W, 3) go into the conversation, where
                ``apply_chat_template(..., tokenize=True)`` of a processor finds them. Without them each clip is the
                part ``{"type": "video"}``, for which templates write a placeholder.

        Returns:
            A system turn if the question has one, and a user turn with texts and clips in their order.

        Raises:
            ValueError: there are more or fewer clips than the question has.
        """
        videos: list[Message] = [{"type": "video"} for _ in self.clocks]
        if clips is not None:
            videos = [{"type": "video", "video": clip.frames} for clip in clips]
        first, *rest = self.prompt.split(VIDEO)
        if len(videos) != len(rest):
            raise ValueError(f"question {self.id}: {len(videos)} clips were given for the {len(rest)} that it shows")
        content = [_text(first)]
        for video, text in zip(videos, rest, strict=True):
            content += [video, _text(text)]
        turns = [{"role": "user", "content": [part for part in content if part.get("text") != ""]}]
        return [{"role": "system", "content": [_text(self.system)]}, *turns] if self.system else turns


@dataclass(frozen=True, slots=True)
class Gold:
    """What a question is scored by: its id, data source and gold answer, see `Question`."""

    id: str
    data_source: str
    answer: str


def _text(text: str) -> Message:
    return {"type": "text", "text": text}


@dataclass(frozen=True, slots=True)
class Outline:
    """A drawn shape: the clip's slot, its name, and its contour in pixels, ((x, y), ...)."""

    slot: int
    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """Facts that the answer rests on, for people and checks; never shown to a model.


    Attributes:
        spans: (first slot, last slot) of what was altered, both inclusive.
        outlines: the shapes that were drawn.
        order: where several clips are pieces of one video, the original piece shown as each clip, from 0.
    """

    spans: tuple[tuple[int, int], ...] = ()
    outlines: tuple[Outline, ...] = field(default=())
    order: tuple[int, ...] = ()
