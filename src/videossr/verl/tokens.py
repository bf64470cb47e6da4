"""The token ids that vLLM 0.24 reads for a prompt of Qwen3-VL, in which each clip is one placeholder.

vLLM writes the tokens of every time marker by themselves, while the processor of transformers tokenizes the whole text:
a space in front of the first marker makes one token with its `<` there, and two tokens here. The text is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from videossr.clock import Clock
from videossr.errors import DataError
from videossr.prompt.qwen3_vl import markers


@dataclass(frozen=True, slots=True)
class VideoTokens:
    """Token ids of the start of vision, of the placeholder of a video, and of the end of vision."""

    start: int
    pad: int
    end: int


def expand(
    prompt: Sequence[int],
    clocks: Sequence[Clock],
    counts: Sequence[int],
    video: VideoTokens,
    encode: Callable[[str], list[int]],
) -> list[int]:
    """Put the tokens of each clip in the place of its placeholder.

    Args:
        prompt: ids in which each clip is `start`, `pad`, `end`.
        clocks: of the clips, in order.
        counts: tokens of a pair of frames of each clip.
        video: the ids of the placeholder.
        encode: tokenizes a text, without special tokens around it.

    Raises:
        DataError: there are more or fewer placeholders than clips.
    """
    marks = [at for at, token in enumerate(prompt) if token == video.pad]
    single = all([*prompt[at - 1 : at + 2]] == [video.start, video.pad, video.end] for at in marks)
    if len(marks) != len(clocks) or not single:
        raise DataError(f"the chat template writes {len(marks)} placeholders of a video for {len(clocks)} clips")
    ids: list[int] = []
    last = 0
    for at, clock, count in zip(marks, clocks, counts, strict=True):
        ids += prompt[last : at - 1]
        for marker in markers(clock):
            ids += [*encode(marker), video.start, *[video.pad] * count, video.end]
        last = at + 2
    return [*ids, *prompt[last:]]


def check_same_text(engine: str, trained: str) -> None:
    """Raise DataError where what the engine reads is another text than what the processor writes for the trainer."""
    if engine == trained:
        return
    at = next((at for at, (one, other) in enumerate(zip(engine, trained, strict=False)) if one != other), 0)
    where = slice(max(0, at - 40), at + 80)
    raise DataError(
        f"vLLM would read another prompt than the one that is trained on: {engine[where]!r} and {trained[where]!r}. "
        "The releases of transformers and vLLM do not fit: see `python -m videossr.verl.versions`"
    )
