"""A checkpoint that vLLM runs in this process: `vllm:PATH`.

vLLM gets frames and the times of their slots unchanged, each clip with its own clock. docs/how-to/servers.md lists what
was tested.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from videossr.clock import Clock
from videossr.engine.chat_template import check_chat_template
from videossr.engine.checkpoint_folder import check_folder
from videossr.errors import ConfigError, MissingExtraError
from videossr.models.base import Decoding, Model, Request, Response
from videossr.models.prefetch import Prefetcher
from videossr.prompt import checkpoint_config
from videossr.prompt.chat import END, PAD, START, Chat, set_thinking, split_thoughts
from videossr.prompt.ends import find_ends
from videossr.question import Clip, Question
from videossr.question_set import QuestionSet
from videossr.sample import JSON

Prompt: TypeAlias = dict[str, Any]
"""Input of `LLM.generate` for one question."""

FIRST = (0, 11)
"""First version of vLLM that has Qwen3-VL and takes a clip's frames together with their times."""


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class VLLMSettings:
    """Settings of vLLM for a checkpoint."""

    batch: Annotated[int, Field(ge=1, description="questions that vLLM is given at once")] = 64
    clips: Annotated[int, Field(ge=1, description="clips of one question, at most")] = 8
    devices: Annotated[int, Field(ge=1, description="GPUs that share the model (tensor parallel)")] = 1
    memory: Annotated[float, Field(gt=0, le=1, description="part of each GPU's memory that may be taken")] = 0.9
    length: Annotated[int | None, Field(ge=1, description="tokens of prompt and answer; none: as the model has")] = None
    dtype: Annotated[Literal["auto", "bfloat16", "float16", "float32"], Field(description="of weights")] = "auto"
    thinking: Annotated[
        bool | None,
        Field(description="think before the answer; by default off for Qwen3.5, else as the template has it"),
    ] = None
    threads: Annotated[int, Field(ge=1, le=256, description="that render frames ahead of the model")] = 4
    ahead_mb: Annotated[int, Field(ge=1, description="MiB that frames made ready may take")] = 4096


class VLLMModel(Model[VLLMSettings]):
    """A checkpoint in vLLM; see `videossr.models.base.Model`.

    Attributes:
        waited: seconds in which it waited for frames.

    Raises:
        MissingExtraError: vLLM is not installed.
        ConfigError: vLLM is too old.
        DataError: the folder is no checkpoint of Qwen's video models.
    """

    Settings = VLLMSettings
    any_questions = True
    tuning = frozenset({"batch", "clips", "devices", "memory", "threads", "ahead_mb"})

    def __init__(self, target: str, settings: VLLMSettings, questions: QuestionSet) -> None:
        try:
            import transformers

            vllm: Any = importlib.import_module("vllm")  # type checks run without it
        except ImportError as error:
            raise MissingExtraError(
                f"--model vllm: {error}: pip install vllm (it needs a GPU), or ask a vLLM server: openai:MODEL@URL"
            ) from error
        self._version: str = vllm.__version__
        check_version(self._version)
        folder = Path(target)
        check_folder(folder)
        config = checkpoint_config(folder)
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
        set_thinking(tokenizer, settings.thinking, str(config.get("model_type")))
        check_chat_template(folder, tokenizer)
        self._chat = Chat(config, tokenizer)
        self._ends = find_ends(folder, config, tokenizer).tokens
        self._shown = placeholder(transformers.__version__)
        self._settings = settings
        self._sampling: Any = vllm.SamplingParams
        self._model: Any = vllm.LLM(
            model=str(folder),
            dtype=settings.dtype,
            tensor_parallel_size=settings.devices,
            gpu_memory_utilization=settings.memory,
            max_model_len=settings.length,
            limit_mm_per_prompt={"image": 0, "video": settings.clips},
            generation_config="vllm",  # not the checkpoint's
        )
        self.waited = 0.0

    def describe(self) -> Mapping[str, JSON]:
        """Return the version of vLLM and the form in which it gets frames and times."""
        settings = self._settings
        return {
            "vllm": self._version,
            "dtype": settings.dtype,
            "devices": settings.devices,
            "frames": "arrays with times",
        }

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """Answer the questions in their order, see `Model.answer`."""
        room = self._settings.ahead_mb * 2**20
        before = self.waited
        with Prefetcher(requests, self._request, threads=self._settings.threads, room=room, size=_bytes) as ahead:
            while taken := ahead.take(self._settings.batch):
                self.waited = before + ahead.waited
                yield from (
                    Response(ready.ask.index, error=ready.error, tries=0) for ready in taken if ready.made is None
                )
                made = [(ready.ask.index, ready.made) for ready in taken if ready.made is not None]
                yield from self._answer(made, decoding)

    def _request(self, ask: Request) -> Prompt:
        return request(self._chat, ask.question, ask.clips(), self._shown)

    def _answer(
        self, asked: Sequence[tuple[int, dict[str, Any]]], decoding: Decoding, tries: int = 1
    ) -> Iterator[Response]:
        """Generate answers to several questions at once, or by halves where vLLM refuses one of them.

        A question that is refused alone has failed.
        """
        if not asked:
            return
        try:
            prompts = [prompt for _, prompt in asked]
            outputs = self._model.generate(prompts, self._sampling(**sampling(decoding, self._ends)), use_tqdm=False)
        except ValueError as error:  # such as a prompt that is too long
            if len(asked) == 1:
                yield Response(asked[0][0], error=f"{type(error).__name__}: {error}", tries=tries)
                return
            half = len(asked) // 2
            yield from self._answer(asked[:half], decoding, tries + 1)
            yield from self._answer(asked[half:], decoding, tries + 1)
            return
        for (index, _), output in zip(asked, outputs, strict=True):
            copies = 1 if decoding.temperature else decoding.n  # greedy answers to one question are the same
            texts = tuple(completion.text for completion in output.outputs) * copies
            thoughts: tuple[str, ...] = ()
            if self._settings.thinking:
                thoughts, texts = zip(*map(split_thoughts, texts), strict=True)
            ends = tuple(_finish(completion.finish_reason) for completion in output.outputs) * copies
            lengths = tuple(len(completion.token_ids) for completion in output.outputs) * copies
            prompt = len(output.prompt_token_ids)
            yield Response(
                index, texts, ends, tries=tries, prompt_tokens=prompt, answer_tokens=lengths, thoughts=thoughts
            )


def check_version(version: str) -> None:
    """Check that a version of vLLM takes frames with their times. Raises ConfigError."""
    parts = re.match(r"v?(\d+)\.(\d+)", version)
    numbers = (int(parts[1]), int(parts[2])) if parts else (0, 0)
    if (0, 2) <= numbers < FIRST:  # a build from source may call itself 0.1.dev1
        raise ConfigError(
            f"vLLM {version} does not know Qwen3-VL, nor frames with their times; install a version from "
            f"{FIRST[0]}.{FIRST[1]} on"
        )


def placeholder(transformers: str) -> str:
    """Choose the placeholder of a clip so that the processor expands it to the layout of the released weights.

    The processors of transformers from 5.10 on replace only the token of the video, and keep the tokens around it.

    Args:
        transformers: version of transformers.
    """
    parts = re.match(r"(\d+)\.(\d+)", transformers)
    return PAD if parts and (int(parts[1]), int(parts[2])) >= (5, 10) else START + PAD + END


def request(chat: Chat, question: Question, clips: Sequence[Clip], shown: str) -> Prompt:
    """Make the input of vLLM for one question: the text by the checkpoint's template, the frames and their times.

    Args:
        chat: chat template of the checkpoint.
        question: the question.
        clips: its clips, in order.
        shown: placeholder of a clip, see `placeholder`.

    Raises:
        DataError: the template cannot express the question.
    """
    return {
        "prompt": chat.text(question, [shown] * len(clips)),
        "multi_modal_data": {"video": [(clip.frames, metadata(clip.clock)) for clip in clips]},
        "mm_processor_kwargs": {"do_sample_frames": False, "do_resize": False},
    }


def metadata(clock: Clock) -> dict[str, Any]:
    """Encode the times of a clip's slots as frame numbers of a video with 1000 frames a second, which is exact."""
    return {
        "fps": 1000.0,
        "frames_indices": list(clock.times_ms),
        "total_num_frames": clock.end_ms,
        "duration": clock.end_ms / 1000,
        "video_backend": "videossr",
        "do_sample_frames": False,
    }


def sampling(decoding: Decoding, ends: Collection[int]) -> dict[str, Any]:
    """Make vLLM's sampling parameters; it refuses several greedy answers, and a greedy one needs no seed.

    Args:
        decoding: settings of sampling.
        ends: token ids that end an answer; without them vLLM would stop at the tokenizer's own end alone.
    """
    greedy = decoding.temperature == 0
    return {
        "n": 1 if greedy else decoding.n,
        "temperature": decoding.temperature,
        "top_p": 1.0 if greedy else decoding.top_p,
        "top_k": -1 if greedy else decoding.top_k or -1,
        "max_tokens": decoding.max_tokens,
        "stop_token_ids": sorted(ends),
        "seed": None if greedy else decoding.seed,
    }


def _finish(reason: str | None) -> Literal["stop", "length"]:
    return "length" if reason == "length" else "stop"


def _bytes(made: Prompt) -> int:
    return sum(frames.nbytes for frames, _ in made["multi_modal_data"]["video"])
