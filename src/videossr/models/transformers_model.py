"""A checkpoint on this machine's own device, through transformers: `--model hf:FOLDER` or `hf:ORGANIZATION/NAME`.

    videossr bench run BENCH --model hf:CHECKPOINT --model.batch=16 --out RUN

Several questions are answered at once, while threads render the next ones. Each prompt is read once, however many
answers are sampled. `benchmarks/bench.py` measures it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from videossr.errors import DataError, MissingExtraError
from videossr.models.base import Decoding, Model, Request, Response
from videossr.models.prefetch import Prefetcher
from videossr.prompt.base import Prompt
from videossr.prompt.chat import without_thoughts
from videossr.question_set import QuestionSet
from videossr.sample import JSON

try:
    import torch
    import transformers
except ImportError as missing:
    raise MissingExtraError(f"--model hf: {missing}: pip install 'videossr[hf]'") from missing

from videossr.engine.checkpoint import device_name, find_device, open_checkpoint, out_of_memory
from videossr.engine.generation import GeneratedAnswer, generate
from videossr.engine.model import context_length
from videossr.engine.prompt_reader import PromptReader


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class TransformersSettings:
    """Settings of a local checkpoint."""

    batch: Annotated[
        int, Field(ge=1, description="answers written at once, at least all of one question; halved where memory ends")
    ] = 8
    device: Annotated[str, Field(description="as torch names it; auto: an accelerator if there is one")] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        Field(description="of weights and arithmetic; auto: the checkpoint's, on a CPU float32"),
    ] = "auto"
    attention: Annotated[str, Field(description="attn_implementation of transformers")] = "sdpa"
    layout: Annotated[str | None, Field(description="of the video's tokens; by default the released weights'")] = None
    thinking: Annotated[
        bool | None,
        Field(description="think before the answer; by default off for Qwen3.5, else as the template has it"),
    ] = None
    threads: Annotated[int, Field(ge=1, le=256, description="that render frames ahead of the model")] = 4
    ahead_mb: Annotated[int, Field(ge=1, description="MiB that frames made ready for the model may take")] = 2048


class TransformersModel(Model[TransformersSettings]):
    """A checkpoint that transformers runs. `Model` of the kind `hf`.

    A sampled answer is drawn by the seed and the question's index, whatever else is asked. Another batch rounds sums
    otherwise: in half precision that may tip one token over another that is nearly as good.

    Attributes:
        waited: seconds in which it stood still for frames.
    """

    Settings = TransformersSettings
    any_questions = True
    tuning = frozenset({"batch", "threads", "ahead_mb"})

    def __init__(self, target: str, settings: TransformersSettings, questions: QuestionSet) -> None:
        """Load the checkpoint. Raises VideoSSRError or OSError that says what is wrong with it."""
        self._checkpoint = open_checkpoint(target, settings.layout, settings.thinking)
        self._settings = settings
        self._device = find_device(settings.device)
        self._model = self._checkpoint.load(self._device, settings.dtype, settings.attention)
        self._limit = context_length(self._model)
        self._ends = self._checkpoint.ends.tokens
        self._batch = settings.batch
        self._reader = PromptReader(self._model, self._device)
        self.waited = 0.0

    def describe(self) -> Mapping[str, JSON]:
        """Name the libraries, the device, the checkpoint's family and size, and a hash that tells prompts apart.

        `batch` is less than the setting where memory ended.
        """
        return {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "device": device_name(self._device),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "attention": self._settings.attention,
            "family": str(self._checkpoint.config["model_type"]),
            "parameters": sum(weight.numel() for weight in self._model.parameters()),
            "layout": self._checkpoint.build.layout,
            "prompt": self._checkpoint.fingerprint,
            "batch": self._batch,
        }

    def answer(self, asks: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """Answer requests, in their order. See `videossr.models.base.Model`."""
        memory = self._settings.ahead_mb * 2**20
        before = self.waited

        def prompt(ask: Request) -> Prompt:
            return self._prompt(ask, room=decoding.max_tokens)

        with Prefetcher(asks, prompt, threads=self._settings.threads, room=memory, size=_bytes) as ahead:
            while taken := ahead.take(max(1, self._batch // decoding.n)):
                self.waited = before + ahead.waited
                yield from (Response(ready.ask.index, error=ready.error) for ready in taken if ready.made is None)
                made = [(ready.ask.index, ready.made) for ready in taken if ready.made is not None]
                yield from self._answer(made, decoding)

    def _prompt(self, ask: Request, room: int) -> Prompt:
        """Build the prompt of a request. Raises DataError where it and the answer are longer than the model's limit."""
        return self._checkpoint.prompt(ask.question, ask.clips(), room=room, limit=self._limit)

    def _answer(self, asked: Sequence[tuple[int, Prompt]], decoding: Decoding, tries: int = 1) -> Iterator[Response]:
        """Answer questions together, or by halves where that fails; one that fails alone has failed."""
        if not asked:
            return
        try:
            written = self._generate([prompt for _, prompt in asked], [index for index, _ in asked], decoding)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError, ValueError, IndexError) as error:
            if isinstance(error, getattr(torch, "AcceleratorError", ())):
                raise  # the device is not to be used again by this process
            again = len(asked) == 1 and self._reader.forget()
            problem = f"{type(error).__name__}: {error}"
            short = out_of_memory(error)
        else:
            for (index, prompt), answers in zip(asked, written, strict=True):
                texts = tuple(self._checkpoint.text(answer.content) for answer in answers)
                if self._settings.thinking:
                    texts = tuple(map(without_thoughts, texts))
                finish: tuple[Literal["stop", "length"], ...] = tuple(
                    "stop" if answer.ended else "length" for answer in answers
                )
                yield Response(
                    index,
                    texts,
                    finish,
                    tries=tries,
                    prompt_tokens=len(prompt.ids),
                    answer_tokens=tuple(len(answer.ids) for answer in answers),
                )
            return
        if again and short:  # what was kept of the prompt before took the room
            yield from self._answer(asked, decoding, tries + 1)
            return
        if short:
            self._batch = max(1, min(self._batch, len(asked) * decoding.n // 2))
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        if len(asked) == 1:
            yield Response(asked[0][0], error=problem, tries=tries, prompt_tokens=len(asked[0][1].ids))
            return
        middle = len(asked) // 2
        for half in (asked[:middle], asked[middle:]):
            yield from self._answer(half, decoding, tries + 1)

    @torch.inference_mode()
    def _generate(
        self, prompts: Sequence[Prompt], indices: Sequence[int], decoding: Decoding
    ) -> list[list[GeneratedAnswer]]:
        """Return the answers to each prompt. Prompts are read one by one, then all answers are written side by side."""
        prefixes = map(self._reader.read, prompts)  # as they are taken, and alone: a long prompt fills a device
        try:
            return generate(
                self._model,
                prefixes,
                decoding.n,
                max_tokens=decoding.max_tokens,
                seeds=[(decoding.seed, index) for index in indices],
                ends=self._ends,
                temperature=decoding.temperature,
                top_k=decoding.top_k,
                top_p=decoding.top_p,
                banned=self._checkpoint.placeholders,
                layout="rows",
            )
        except FloatingPointError as error:
            raise DataError(f"{error} in {self._model.dtype}: try another --model.dtype") from error


def _bytes(prompt: Prompt) -> int:
    """Return the memory that a prompt takes while it waits for the model."""
    return prompt.patches.nbytes
