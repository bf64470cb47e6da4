"""The messages of a request to an OpenAI-compatible server for one question, and the parser of its response.

`videossr.models.openai.model` sends them.
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
"""One part of a user turn in the chat API."""

Picture: TypeAlias = Literal["jpeg", "png"]

Pictures: TypeAlias = Callable[[Frames], list[str]]
"""Encodes frames (T, H, W, 3) as one base64 text each."""


@dataclass(frozen=True)
class Body:
    """The part of a request that depends on its question: the turns, and fields that only vLLM knows."""

    messages: list[Part]
    extra: Part = field(default_factory=dict)


def pictures(kind: Picture, quality: int) -> Pictures:
    """Choose the encoding of frames: JPEG of a quality from 1 to 100 and 4:4:4, or lossless PNG."""

    def encode(frames: Frames) -> list[str]:
        if kind == "jpeg":
            files = jpeg.encode(frames, quality, "444")
        else:
            files = [cv2.imencode(".png", np.ascontiguousarray(frame[..., ::-1]))[1].tobytes() for frame in frames]
        return [base64.b64encode(file).decode() for file in files]

    return encode


def as_images(question: Question, clips: list[Clip], encode: Pictures, kind: Picture) -> Body:
    """Write a question with one image a slot, each behind a text with the second at which its slot starts.

    Every server that takes images takes this. A video model reads videos in another way, merged in time.

    Args:
        question: the question.
        clips: its clips, in order.
        encode: see `pictures`.
        kind: format that `encode` writes.
    """

    def parts(clip: Clip) -> Iterator[Part]:
        for time, data in zip(clip.clock.times_ms, encode(clip.frames), strict=True):
            yield _text(f"<{time / 1000:.1f} seconds>")
            yield {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{data}"}}

    return Body(_turns(question, [list(parts(clip)) for clip in clips]))


def as_video(question: Question, clips: list[Clip], encode: Pictures) -> Body:
    """Write a question with each clip as one list of frames that vLLM takes for a video, with the times of its slots.

    The times are frame numbers of a video with 1000 frames a second, which is exact. The media type is always
    `video/jpeg`, the only one that vLLM knows for a list of frames; it detects the format of each frame itself.

    Args:
        question: the question.
        clips: its clips, in order.
        encode: see `pictures`.

    Raises:
        DataError: the clips differ in their clocks, while a request has one list of times for all of its clips.
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
    """Write the fields of vLLM that give the times of frames and keep it from sampling and resizing them.

    Without `num_frames`, vLLM drops all frames behind the 32nd.
    """
    times = {
        "num_frames": -1,
        "fps": 1000,
        "frames_indices": list(clock.times_ms),
        "total_num_frames": clock.end_ms,
        "do_sample_frames": False,
    }
    return {
        "media_io_kwargs": {"video": times},
        "mm_processor_kwargs": {"do_sample_frames": False, "do_resize": False},
    }


def _turns(question: Question, clips: list[list[Part]]) -> list[Part]:
    """Write the turns of a question, with the parts of each clip in its place."""
    texts = question.prompt.split(VIDEO)
    content = [_text(texts[0])]
    for shown, text in zip(clips, texts[1:], strict=True):
        content += [*shown, _text(text)]
    user = {"role": "user", "content": [part for part in content if part.get("text") != ""]}
    return [{"role": "system", "content": question.system}, user] if question.system else [user]


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def system_in_user(messages: list[Part]) -> list[Part]:
    """Move the system text before that of the user, for servers that know no system role."""
    if messages[0]["role"] != "system":
        return messages
    system, user = messages
    content = user["content"]
    lead = content[0]["text"] if content and content[0]["type"] == "text" else ""
    return [{**user, "content": [_text(f"{system['content']}\n\n{lead}"), *content[bool(lead) :]]}]


def sampling(decoding: Decoding, already: int, *, vllm: bool) -> Part:
    """Write the fields of sampling, apart from the length of an answer.

    A greedy request has the temperature alone: some servers refuse several greedy answers, or `top_p` with them.

    Args:
        decoding: settings of sampling.
        already: answers that the question has; the others are asked for with another seed.
        vllm: whether the server is a vLLM. It takes missing fields from the checkpoint's generation settings, so it
            gets all of them.
    """
    fields: Part = {"temperature": decoding.temperature}
    if decoding.temperature > 0:
        fields |= {"top_p": decoding.top_p, "seed": decoding.seed + already, "n": decoding.n - already}
    if vllm:
        fields["extra_body"] = {"top_k": decoding.top_k or -1, "min_p": 0.0, "repetition_penalty": 1.0}
    return fields


@dataclass
class _Message:
    """A message in a response. Of the fields other than `content`, only whether they hold anything matters."""

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
    completion_tokens: int | None = None


@dataclass
class _Completion:
    choices: list[_Choice]
    usage: _Usage | None = None


_COMPLETION = TypeAdapter(_Completion)

_ELSEWHERE = ("reasoning_content", "reasoning", "refusal")
"""Fields of a message that may have text where `content` has none."""

_TEXTS = ("text", "output_text")
"""Types of the parts of `content` that are the answer; thoughts and tool calls have other types."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answers in one response.

    Attributes:
        texts: the answers.
        finish: for each, whether the model stopped by itself or the limit of tokens ended it.
        prompt_tokens: length of the prompt, where the server gives it.
        tokens: for each answer, those that the model wrote. A server gives their sum, so none where there are several.
    """

    texts: list[str]
    finish: list[Literal["stop", "length"]]
    prompt_tokens: int | None
    tokens: list[int]


def read_answer(data: bytes) -> Answer:
    """Parse the body of a response.

    Raises:
        DataError: something is missing. The message does not quote the body.
    """
    try:
        completion = _COMPLETION.validate_json(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise DataError(f"not the answer of a chat server: {where + ': ' if where else ''}{problem['msg']}") from error
    if not completion.choices:
        raise DataError("an answer without choices")
    texts = []
    for choice in completion.choices:
        text = choice.message.text()
        if text is None:
            raise DataError(_without_text(choice))
        texts.append(text)
    finish: list[Literal["stop", "length"]] = [
        "length" if choice.finish_reason == "length" else "stop" for choice in completion.choices
    ]
    usage = completion.usage or _Usage()
    written = usage.completion_tokens
    return Answer(texts, finish, usage.prompt_tokens, [written] if written is not None and len(texts) == 1 else [])


def _without_text(choice: _Choice) -> str:
    """Explain why a choice has no text: where the server has put the text instead, and what to do about it."""
    message = choice.message
    why = f" (finish_reason {choice.finish_reason!r})" if choice.finish_reason else ""
    problem = f"an answer without text{why}"
    elsewhere = next((name for name in _ELSEWHERE if _is_filled(getattr(message, name))), None)
    kinds = {str(part.get("type")) for part in message.content} if isinstance(message.content, list) else set()
    if others := sorted(kinds.difference(_TEXTS)):
        problem += f": `content` holds no part of text, but {', '.join(others)}"
    if elsewhere == "refusal":
        problem += ": its text is in `refusal`, for the model declines to answer"
    elif elsewhere:
        problem += f": its text is in `{elsewhere}`, where the server puts thoughts"
    elif not others:
        problem += f": `content` is empty, and so are {', '.join(f'`{name}`' for name in _ELSEWHERE)}"
    if choice.finish_reason == "length":
        return f"{problem}; the limit of tokens ended it before the answer: give more --max-tokens"
    if elsewhere and elsewhere != "refusal":
        problem += "; switch thinking off with --model.thinking=false, or start the server without its reasoning parser"
    elif not elsewhere and not others:
        problem += "; see in the server's log what the model wrote, and whether a parser of the server removes it"
    return problem


def _is_filled(value: object) -> bool:
    """Return whether a field holds anything but white space."""
    return bool(value.strip() if isinstance(value, str) else value)
