"""The text of a prompt by the checkpoint's own chat template, its token ids and rotary positions.

The builders of the model families and `videossr.models.vllm_model` use it.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videossr.errors import DataError
from videossr.prompt.base import Tokenizer
from videossr.question import Clip, Question

START, PAD, END = "<|vision_start|>", "<|video_pad|>", "<|vision_end|>"
THOUGHTS = ("<think>", "</think>")
"""Tokens around thoughts, which the templates of Qwen write; they are no special tokens of the tokenizer."""

THINKING = ("qwen3_5", "qwen3_5_moe")
"""Model types whose template opens thoughts before an answer unless `enable_thinking` is false."""

TEXT_KIND, VIDEO_KIND = 0, 2
"""Values of `Prompt.kinds`, as in `mm_token_type_ids` of transformers."""


class Chat:
    """One checkpoint's chat template and tokens. May be used from several threads."""

    def __init__(self, config: Mapping[str, Any], tokenizer: Tokenizer) -> None:
        """Find the special tokens. Raises DataError where the tokenizer does not fit the configuration."""
        known = tokenizer.get_added_vocab()
        missing = [token for token in (START, PAD, END) if token not in known]
        if missing:
            raise DataError(f"the tokenizer has no special token {', '.join(missing)}: not one of Qwen's video models")
        if known[PAD] != config.get("video_token_id"):
            raise DataError(
                f"{PAD} is token {known[PAD]} to the tokenizer and {config.get('video_token_id')} to the configuration"
            )
        self.pad = known[PAD]
        control = [token for token in known if token.startswith("<|") or token in THOUGHTS]
        self._control = re.compile("|".join(map(re.escape, control)))
        self._tokenizer = tokenizer
        self._lock = threading.Lock()  # the fast tokenizers fail where two threads are in one of them

    def text(self, question: Question, videos: Sequence[str]) -> str:
        """Write the whole prompt up to where the answer begins.

        Args:
            question: the question.
            videos: text of the placeholders of each clip.

        Raises:
            DataError: the question's text is not valid Unicode or has one of the tokenizer's control tokens, or the
                chat template does not write one placeholder a clip. The message names the question.
        """
        asked = f"{question.system}\n{question.prompt}"
        try:
            asked.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"question {question.id}: its text is no Unicode text: {error}") from None
        control = self._control.search(asked)
        if control:
            raise DataError(
                f"question {question.id}: its text holds {control[0]}, which the model would read as a control token"
            )
        with self._lock:
            template: str = self._tokenizer.apply_chat_template(
                question.messages(), tokenize=False, add_generation_prompt=True
            )
        before, *after = template.split(f"{START}{PAD}{END}")
        if len(after) != len(videos) or template.count(PAD) != len(videos):
            raise DataError(
                f"question {question.id}: the chat template writes {template.count(PAD)} placeholders for a video, "
                f"{len(after)} of them as {START}{PAD}{END}, for {len(videos)} clips"
            )
        return before + "".join(itertools.chain.from_iterable(zip(videos, after, strict=True)))

    def ids(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokenize a text: its ids (L,) and their kinds (L,), both int64."""
        with self._lock:  # the template has written whatever special tokens there are to be
            tokens = self._tokenizer.encode(text, add_special_tokens=False)
        ids = np.array(tokens, np.int64)
        return ids, np.where(ids == self.pad, VIDEO_KIND, TEXT_KIND)


def set_thinking(tokenizer: Any, think: bool | None, family: str) -> None:
    """Set the variable `enable_thinking` of a tokenizer's chat template.

    Args:
        tokenizer: of transformers; its template is changed.
        think: the value; None: what the template does by itself, but for families in `THINKING`, which do not think
            unless that is asked for, as an answer has a form and a few tokens.
        family: the checkpoint's `model_type`.

    Raises:
        DataError: a value is given and the template does not read it; such a checkpoint always thinks, or never does.
    """
    template = tokenizer.chat_template
    is_read = isinstance(template, str) and "enable_thinking" in template
    if think is None:
        if family not in THINKING or not is_read:
            return
        think = False
    if not is_read:
        raise DataError(
            f"thinking={str(think).lower()}: the checkpoint's chat template does not read enable_thinking, so thinking "
            "cannot be switched; a checkpoint that always thinks has an Instruct one beside it"
        )
    tokenizer.chat_template = f"{{%- set enable_thinking = {str(think).lower()} -%}}{template}"


def split_thoughts(text: str) -> tuple[str, str]:
    """Return the thoughts of an answer, with the tag that ends them, and what it says behind them.

    Where the thoughts do not end, all of it is thoughts.
    """
    before, end, answer = text.rpartition(THOUGHTS[1])
    return (before + end, answer.lstrip()) if end else (text, "")


def check_clips(question: Question, clips: Sequence[Clip]) -> None:
    """Check that there are clips and that they have the clocks of the question. Raises DataError."""
    if not clips:
        raise DataError(f"question {question.id}: it comes without a clip")
    if tuple(clip.clock for clip in clips) != question.clocks:
        raise DataError(f"question {question.id}: its {len(clips)} clips do not have the clocks of the question")


def block(grid: tuple[int, int, int], merge: int, step: float) -> NDArray[np.int64]:
    """Compute the positions of a run of video tokens from its own origin.

    Args:
        grid: patches in time, height and width.
        merge: patches a side that become one token.
        step: positions from one pair of frames to the next. The product with the number of the pair is computed and
            truncated in single precision, as torch does.

    Returns:
        (3, N) int64: time, row and column of each token.
    """
    pairs = grid[0]
    rows = grid[1] // merge
    columns = grid[2] // merge
    times = (np.arange(pairs, dtype=np.float32) * np.float32(step)).astype(np.int64)
    return np.stack(np.meshgrid(times, np.arange(rows), np.arange(columns), indexing="ij")).reshape(3, -1)


def positions(kinds: NDArray[np.int64], blocks: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], int]:
    """Compute the rotary positions of a prompt.

    The position of text grows by one a token, the same on all three axes. The k-th run of video tokens has the
    positions `blocks[k]` from the end of the text before it, and the text after it goes on behind the greatest position
    that the run has on any axis.

    Args:
        kinds: (L,) kinds of the tokens.
        blocks: (3, N) positions of each run of video tokens, see `block`.

    Returns:
        (3, L) int64 in time, height and width, and `Prompt.delta`.

    Raises:
        DataError: the runs of video tokens do not fit the blocks.
    """
    edges = [0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(kinds)]
    parts = []
    origin = 0
    remaining = iter(blocks)
    for first, stop in itertools.pairwise(edges):
        part = next(remaining) if kinds[first] == VIDEO_KIND else np.tile(np.arange(stop - first), (3, 1))
        parts.append(part + origin)
        origin += int(part.max()) + 1
    rotary = np.concatenate(parts, axis=1)
    if next(remaining, None) is not None or rotary.shape != (3, len(kinds)):
        raise DataError("the runs of video tokens are not those of the clips")
    return rotary, origin - len(kinds)
