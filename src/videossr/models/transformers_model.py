"""A checkpoint on this machine's own device, through transformers: `--model hf:FOLDER` or `hf:ORGANIZATION/NAME`.

    videossr bench run BENCH --model hf:CHECKPOINT --model.batch=16 --out RUN

Several questions are answered at once, while threads render the next ones; one that has its answers makes place for the
next. Each prompt is read once, however many answers are sampled. `benchmarks/bench.py` measures it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from videossr.errors import DataError, MissingExtraError
from videossr.models.base import Decoding, Model, Request, Response
from videossr.models.prefetch import Prefetcher
from videossr.prompt.base import Prompt
from videossr.prompt.chat import split_thoughts
from videossr.question_set import QuestionSet
from videossr.sample import JSON

try:
    import torch
    import transformers
except ImportError as missing:
    raise MissingExtraError(f"--model hf: {missing}: pip install 'videossr[hf]'") from missing

from videossr.engine.checkpoint import device_name, find_device, open_checkpoint, out_of_memory
from videossr.engine.generation import GeneratedAnswer, generate_with_refill
from videossr.engine.model import context_length
from videossr.engine.prompt_reader import PromptReader
from videossr.engine.sampling import Sampling, Seed
from videossr.engine.shared_prefix import SharedPrefix


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
        """Answer requests, as their answers end. See `videossr.models.base.Model`."""
        memory = self._settings.ahead_mb * 2**20
        before = self.waited
        refused: list[Response] = []

        def prompt(ask: Request) -> Prompt:
            return self._prompt(ask, room=decoding.max_tokens)

        with Prefetcher(asks, prompt, threads=self._settings.threads, room=memory, size=_bytes) as ahead:

            def ready_prompts() -> Iterator[tuple[int, Prompt]]:
                while taken := ahead.take(1):
                    self.waited = before + ahead.waited
                    for ready in taken:
                        if ready.made is None:
                            refused.append(Response(ready.ask.index, error=ready.error))
                        else:
                            yield ready.ask.index, ready.made

            waiting = ready_prompts()
            while first := next(waiting, None):  # behind questions that failed together, others go on
                for response in self._answer(chain([first], waiting), decoding):
                    yield response
                    while refused:
                        yield refused.pop(0)
            yield from refused

    def _prompt(self, ask: Request, room: int) -> Prompt:
        """Build the prompt of a request. Raises DataError where it and the answer are longer than the model's limit."""
        return self._checkpoint.prompt(ask.question, ask.clips(), room=room, limit=self._limit)

    def _answer(self, asked: Iterable[tuple[int, Prompt]], decoding: Decoding, tries: int = 1) -> Iterator[Response]:
        """Answer questions, some at a time. Where that fails, these are tried by halves, and no more are taken."""
        open_asks: dict[int, tuple[int, Prompt]] = {}

        def prompts() -> Iterator[tuple[Seed, SharedPrefix]]:
            for number, (index, prompt) in enumerate(asked):
                open_asks[number] = (index, prompt)
                yield (decoding.seed, index), self._reader.read(prompt)  # alone: a long prompt fills a device

        try:
            for number, answers in self._generate(prompts(), decoding):
                index, prompt = open_asks.pop(number)
                texts = tuple(self._checkpoint.text(answer.content) for answer in answers)
                thoughts: tuple[str, ...] = ()
                if self._settings.thinking:
                    thoughts, texts = zip(*map(split_thoughts, texts), strict=True)
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
                    thoughts=thoughts,
                )
        except (torch.OutOfMemoryError, MemoryError, RuntimeError, ValueError, IndexError) as error:
            if isinstance(error, getattr(torch, "AcceleratorError", ())):
                raise  # the device is not to be used again by this process
            problem = f"{type(error).__name__}: {error}"
            short = out_of_memory(error)
        else:
            return
        yield from self._try_again(list(open_asks.values()), decoding, tries, problem, short=short)

    def _try_again(
        self, failed: Sequence[tuple[int, Prompt]], decoding: Decoding, tries: int, problem: str, *, short: bool
    ) -> Iterator[Response]:
        """Answer questions that failed together by halves; one that fails alone has failed. `short` tells of memory."""
        again = len(failed) == 1 and self._reader.forget()
        if again and short:  # what was kept of the prompt before took the room
            yield from self._answer(failed, decoding, tries + 1)
            return
        if short:
            self._batch = max(1, min(self._batch, len(failed) * decoding.n // 2))
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        if len(failed) == 1:
            index, prompt = failed[0]
            yield Response(index, error=problem, tries=tries, prompt_tokens=len(prompt.ids))
            return
        middle = len(failed) // 2
        for half in (failed[:middle], failed[middle:]):
            yield from self._answer(half, decoding, tries + 1)

    @torch.inference_mode()
    def _generate(
        self, prompts: Iterable[tuple[Seed, SharedPrefix]], decoding: Decoding
    ) -> Iterator[tuple[int, list[GeneratedAnswer]]]:
        """Yield the number of a prompt and the answers to it, as they end; the next prompt takes its place."""
        sampling = Sampling(
            max_tokens=decoding.max_tokens,
            ends=self._ends,
            temperature=decoding.temperature,
            top_k=decoding.top_k,
            top_p=decoding.top_p,
            banned=self._checkpoint.placeholders,
            layout="rows",
        )
        at_once = max(1, self._batch // decoding.n)
        try:
            yield from generate_with_refill(self._model, prompts, decoding.n, sampling, at_once=at_once)
        except FloatingPointError as error:
            raise DataError(f"{error} in {self._model.dtype}: try another --model.dtype") from error


def _bytes(prompt: Prompt) -> int:
    """Return the memory that a prompt takes while it waits for the model."""
    return prompt.patches.nbytes
