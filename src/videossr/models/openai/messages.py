"""What is sent to an OpenAI-compatible server for one question, and what its answer looks like.

Exercised by `videossr bench run BENCH --model openai:MODEL@URL --out RUN`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from pydantic import TypeAdapter, ValidationError

from videossr.clock import Clock
from videossr.corpus import jpeg
from videossr.errors import DataError
from videossr.models.base import Decoding
from videossr.question import VIDEO, Clip, Frames, Question

Part: TypeAlias = dict[str, Any]
"""One piece of a user turn, as the chat API has it."""

Picture: TypeAlias = Literal["jpeg", "png"]

Pictures: TypeAlias = Callable[[Frames], list[str]]
"""Frames (T, H, W, 3) to one base64 text each."""


@dataclass(frozen=True)
class Body:
    """The part of a request that its question decides: the turns, and what only vLLM knows."""

    messages: list[Part]
    extra: Part = field(default_factory=dict)


def pictures(kind: Picture, quality: int) -> Pictures:
    """How frames are put into text: as JPEG of that quality, color at full resolution, or as PNG without loss."""

    def encode(frames: Frames) -> list[str]:
        if kind == "jpeg":
            files = jpeg.encode(frames, quality, "444")
        else:
            files = [cv2.imencode(".png", np.ascontiguousarray(frame[..., ::-1]))[1].tobytes() for frame in frames]
        return [base64.b64encode(file).decode() for file in files]

    return encode


def as_images(question: Question, clips: list[Clip], encode: Pictures, kind: Picture) -> Body:
    """One image a slot, each behind a text with the second at which its slot starts, in the place of its clip.

    Every server that takes images takes this. It is not what a video model reads: nothing is merged in time.
    """

    def parts(clip: Clip) -> Iterator[Part]:
        for time, data in zip(clip.clock.times_ms, encode(clip.frames), strict=True):
            yield _text(f"<{time / 1000:.1f} seconds>")
            yield {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}

    return Body(_turns(question, [list(parts(clip)) for clip in clips]))


def as_video(question: Question, clips: list[Clip], encode: Pictures) -> Body:
    """Each clip as one list of frames that vLLM takes for a video, with the times of its slots.

    The times are frame numbers of a video with a thousand frames a second, which tells any time exactly. The kind of
    data is always called `video/jpeg`, the only name that vLLM knows for a list of frames; it looks at the data itself.

    Raises ValueError where the clips differ in their clocks: a request holds one list of times for all of its clips.
    """
    clocks = {clip.clock for clip in clips}
    if len(clocks) > 1:
        raise DataError(
            f"question {question.id} shows clips of {len(clocks)} different clocks, and a request to vLLM has one list "
            "of times for all clips; use --model.mode=images, or the model vllm:PATH"
        )
    videos = [
        [{"type": "video_url", "video_url": {"url": "data:video/jpeg;base64," + ",".join(encode(clip.frames))}}]
        for clip in clips
    ]
    return Body(_turns(question, videos), _times(clocks.pop()) if clocks else {})


def _times(clock: Clock) -> Part:
    """Without `num_frames`, vLLM drops all frames behind the 32nd; without the rest, it samples or resizes again."""
    told = {
        "num_frames": -1,
        "fps": 1000,
        "frames_indices": list(clock.times_ms),
        "total_num_frames": clock.end_ms,
        "do_sample_frames": False,
    }
    return {
        "media_io_kwargs": {"video": told},
        "mm_processor_kwargs": {"do_sample_frames": False, "do_resize": False},
    }


def _turns(question: Question, clips: list[list[Part]]) -> list[Part]:
    texts = question.prompt.split(VIDEO)
    content = [_text(texts[0])]
    for shown, text in zip(clips, texts[1:], strict=True):
        content += [*shown, _text(text)]
    user = {"role": "user", "content": [part for part in content if part.get("text") != ""]}
    return [{"role": "system", "content": question.system}, user] if question.system else [user]


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def system_in_user(messages: list[Part]) -> list[Part]:
    """Return the turns with the system text before that of the user, for servers that know no system role."""
    if messages[0]["role"] != "system":
        return messages
    system, user = messages
    content = user["content"]
    lead = content[0]["text"] if content and content[0]["type"] == "text" else ""
    return [{**user, "content": [_text(f"{system['content']}\n\n{lead}"), *content[bool(lead) :]]}]


def sampling(decoding: Decoding, already: int, *, vllm: bool) -> Part:
    """The fields that say how to sample, apart from the length of an answer.

    Where `already` some answers are there, the rest is asked for with another seed. A greedy request holds the
    temperature alone: some servers refuse several greedy answers, or a second way to cut. vLLM takes what is not said
    from the checkpoint's generation settings, so it is told everything.
    """
    fields: Part = {"temperature": decoding.temperature}
    if decoding.temperature > 0:
        fields |= {"top_p": decoding.top_p, "seed": decoding.seed + already, "n": decoding.n - already}
    if vllm:
        fields["extra_body"] = {"top_k": decoding.top_k or -1, "min_p": 0.0, "repetition_penalty": 1.0}
    return fields


@dataclass
class _Message:
    """What servers answer with. Of the fields but `content`, only whether they hold anything is of interest."""

    content: str | list[dict[str, object]] | None = None
    reasoning_content: object = None
    reasoning: object = None
    refusal: object = None

    def text(self) -> str | None:
        """Return the answer, or None where there is only white space. Of a list, the parts of text are joined."""
        content = self.content
        if isinstance(content, list):
            texts = [part.get("text") for part in content if part.get("type") in _TEXTS]
            content = "".join(text for text in texts if isinstance(text, str))
        return content if content and content.strip() else None


@dataclass
class _Choice:
    message: _Message
    finish_reason: str | None = None


@dataclass
class _Usage:
    prompt_tokens: int | None = None


@dataclass
class _Completion:
    choices: list[_Choice]
    usage: _Usage | None = None


_COMPLETION = TypeAdapter(_Completion)

_ELSEWHERE = ("reasoning_content", "reasoning", "refusal")
"""Fields of a message that may hold the text where `content` has none."""

_TEXTS = ("text", "output_text")
"""Kinds of parts that are the answer; thoughts and tools are others."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The texts of one response, what ended each, and the length of what the model read, if that is told."""

    texts: list[str]
    finish: list[Literal["stop", "length"]]
    prompt_tokens: int | None


def read_answer(data: bytes) -> Answer:
    """The answer in the body of a response. Raises ValueError that says what is missing, without quoting the body."""
    try:
        found = _COMPLETION.validate_json(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise DataError(f"not the answer of a chat server: {where + ': ' if where else ''}{problem['msg']}") from error
    if not found.choices:
        raise DataError("an answer without choices")
    texts = []
    for choice in found.choices:
        text = choice.message.text()
        if text is None:
            raise DataError(_without_text(choice))
        texts.append(text)
    finish: list[Literal["stop", "length"]] = [
        "length" if choice.finish_reason == "length" else "stop" for choice in found.choices
    ]
    return Answer(texts, finish, found.usage.prompt_tokens if found.usage else None)


def _without_text(choice: _Choice) -> str:
    """Say why there is no answer: where the server has put the text instead, and what to do about it."""
    message = choice.message
    why = f" (finish_reason {choice.finish_reason!r})" if choice.finish_reason else ""
    told = f"an answer without text{why}"
    elsewhere = next((name for name in _ELSEWHERE if _is_filled(getattr(message, name))), None)
    kinds = {str(part.get("type")) for part in message.content} if isinstance(message.content, list) else set()
    if others := sorted(kinds.difference(_TEXTS)):
        told += f": `content` holds no part of text, but {', '.join(others)}"
    if elsewhere == "refusal":
        told += ": its text is in `refusal`, for the model declines to answer"
    elif elsewhere:
        told += f": its text is in `{elsewhere}`, where the server puts thoughts"
    elif not others:
        told += f": `content` is empty, and so are {', '.join(f'`{name}`' for name in _ELSEWHERE)}"
    if choice.finish_reason == "length":
        return f"{told}; the limit of tokens ended it before the answer: give more --max-tokens"
    if elsewhere and elsewhere != "refusal":
        told += "; switch thinking off with --model.thinking=false, or start the server without its reasoning parser"
    elif not elsewhere and not others:
        told += "; see in the server's log what the model wrote, and whether a parser of the server removes it"
    return told


def _is_filled(value: object) -> bool:
    """Return whether a field holds anything but white space."""
    return bool(value.strip() if isinstance(value, str) else value)
