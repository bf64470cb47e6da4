"""A checkpoint on this machine's own device, through transformers: `--model hf:FOLDER` or `hf:ORGANIZATION/NAME`.

    videossr bench run BENCH --model hf:CHECKPOINT --model.batch=16 --out RUN

Several questions are answered at once, while threads render the next ones. Each prompt is read once, however many
answers are sampled. `benchmarks/bench.py` measures it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from videossr.errors import DataError, MissingExtraError
from videossr.models.base import Decoding, Request, Response
from videossr.models.prefetch import Prefetcher
from videossr.prompt.base import Prompt
from videossr.question_set import QuestionSet
from videossr.sample import JSON

try:
    import torch
    import transformers
except ImportError as missing:
    raise MissingExtraError(f"--model hf: {missing}: pip install 'videossr[hf]'") from missing

from videossr.engine.checkpoint import device_name, find_device, open_checkpoint, out_of_memory, prompt_inputs
from videossr.engine.kv_cache import batch_caches, cache_arguments


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class TransformersSettings:
    """How a local checkpoint is run."""

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
        bool | None, Field(description="what the chat template is told of enable_thinking; by default nothing")
    ] = None
    threads: Annotated[int, Field(ge=1, le=256, description="that render frames ahead of the model")] = 4
    ahead_mb: Annotated[int, Field(ge=1, description="MiB that frames made ready for the model may take")] = 2048


class TransformersModel:
    """A checkpoint that transformers runs. `Model` of the kind `hf`.

    A sampled answer is drawn by the seed and the question's index, whatever else is asked. Another batch rounds sums
    otherwise: in half precision that may tip one token over another that is nearly as good.

    Attributes:
        waited: seconds in which it stood still for frames.
    """

    Settings = TransformersSettings
    tuning = frozenset({"batch", "threads", "ahead_mb"})

    def __init__(self, target: str, settings: TransformersSettings, questions: QuestionSet) -> None:
        """Raises ValueError or OSError that says what is wrong with the checkpoint."""
        self._checkpoint = open_checkpoint(target, settings.layout, settings.thinking)
        self._settings = settings
        self._device = find_device(settings.device)
        self._model = self._checkpoint.load(self._device, settings.dtype, settings.attention)
        self._limit = int(self._model.config.get_text_config().max_position_embeddings)
        self._ends = self._checkpoint.ends.tokens
        self._batch = settings.batch
        self.waited = 0.0

    def describe(self) -> Mapping[str, JSON]:
        """The libraries, the device, the checkpoint's family and size, and a hash that tells prompts apart.

        `batch` is less than the setting where memory ended.
        """
        return {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "device": device_name(self._device),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "attention": self._settings.attention,
            "family": str(self._checkpoint.config["model_type"]),
            "parameters": sum(each.numel() for each in self._model.parameters()),
            "layout": self._checkpoint.build.layout,
            "prompt": self._checkpoint.fingerprint,
            "batch": self._batch,
        }

    def answer(self, asks: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """See `videossr.models.base.Model`. The order is that of the asks."""
        room = self._settings.ahead_mb * 2**20
        before = self.waited

        def prompt(ask: Request) -> Prompt:
            return self._prompt(ask, decoding.max_tokens)

        with Prefetcher(asks, prompt, threads=self._settings.threads, room=room, size=_bytes) as ahead:
            while taken := ahead.take(max(1, self._batch // decoding.n)):
                self.waited = before + ahead.waited
                yield from (Response(ready.ask.index, error=ready.error) for ready in taken if ready.made is None)
                made = [(ready.ask.index, ready.made) for ready in taken if ready.made is not None]
                yield from self._answer(made, decoding)

    def _prompt(self, ask: Request, more: int) -> Prompt:
        prompt = self._checkpoint.build(ask.question, ask.clips())
        if len(prompt.ids) + more > self._limit:
            raise DataError(
                f"question {ask.question.id}: {len(prompt.ids)} tokens, and {more} for the answer, are more than the "
                f"model's {self._limit}"
            )
        return prompt

    def _answer(self, asked: Sequence[tuple[int, Prompt]], decoding: Decoding, tries: int = 1) -> Iterator[Response]:
        """Answers questions together, or by halves where that fails; one that fails alone has failed."""
        if not asked:
            return
        try:
            written = self._write([prompt for _, prompt in asked], [index for index, _ in asked], decoding)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError, ValueError, IndexError) as error:
            if isinstance(error, getattr(torch, "AcceleratorError", ())):
                raise  # the device is not to be used again by this process
            problem = f"{type(error).__name__}: {error}"
            short = out_of_memory(error)
        else:
            for (index, prompt), answers in zip(asked, written, strict=True):
                texts = tuple(
                    self._checkpoint.tokenizer.decode(
                        answer.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
                    )
                    for answer in answers
                )
                finish = tuple(answer.finish for answer in answers)
                yield Response(index, texts, finish, tries=tries, prompt_tokens=len(prompt.ids))
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
    def _write(self, prompts: Sequence[Prompt], seeds: Sequence[int], decoding: Decoding) -> list[list[_Answer]]:
        """For each prompt its answers. Prompts are read one by one, then all answers are written side by side."""
        n = decoding.n
        read = [self._read(prompt) for prompt in prompts]
        logits = torch.cat([logits for logits, _ in read]).repeat_interleave(n, 0)
        cache = batch_caches([cache for _, cache in read], n)
        del read
        lengths = torch.tensor([len(prompt.ids) for prompt in prompts], device=self._device).repeat_interleave(n)
        deltas = torch.tensor([prompt.delta for prompt in prompts], device=self._device).repeat_interleave(n)
        extending = cache_arguments(self._model, cache)
        longest = cache.get_seq_length()
        mask = torch.arange(longest, device=self._device) >= longest - lengths[:, None]
        following = torch.stack([lengths, *[lengths + deltas] * 3])  # the first row counts tokens, for the mask alone

        answers = [_Answer([]) for _ in range(len(prompts) * n)]
        chance = [np.random.Generator(np.random.PCG64DXSM([decoding.seed, seed])) for seed in seeds]
        tokens = logits.shape[-1] if decoding.temperature else 1
        live = list(range(len(answers)))
        for step in range(decoding.max_tokens):
            waits = np.concatenate([each.standard_exponential((n, tokens)) for each in chance])[live]
            chosen = self._choose(logits, waits, decoding)
            going = []
            for row, (number, token) in enumerate(zip(live, chosen.tolist(), strict=True)):
                if token in self._ends:
                    answers[number].finish = "stop"
                else:
                    answers[number].ids.append(token)
                    going.append(row)
            if not going or step + 1 == decoding.max_tokens:
                break
            if len(going) < len(live):  # what has ended is not carried along
                rows = torch.tensor(going, device=self._device)
                cache.batch_select_indices(rows)
                chosen, mask, following = chosen[rows], mask[rows], following[:, rows]
                live = [live[row] for row in going]
            mask = torch.nn.functional.pad(mask, (0, 1), value=True)
            logits = self._model(
                input_ids=chosen[:, None],
                attention_mask=mask,
                position_ids=(following + step)[:, :, None],
                **extending,
            ).logits[:, -1]
        return [answers[first : first + n] for first in range(0, len(answers), n)]

    def _read(self, prompt: Prompt) -> tuple[torch.Tensor, Any]:
        """Scores (1, V) of the first token of an answer, and the cache of what was read.

        Alone, so that nothing is padded: the reading of a long prompt fills a device by itself.
        """
        inputs = prompt_inputs(prompt, self._device, self._model.dtype)
        cache = transformers.DynamicCache()
        out = self._model(**inputs, **cache_arguments(self._model, cache), logits_to_keep=1)
        return out.logits[:, -1], cache

    def _choose(self, logits: torch.Tensor, waits: NDArray[np.float64], decoding: Decoding) -> torch.Tensor:
        """One token a row. A placeholder for pixels is never chosen: there are none for it."""
        scores = logits.float()
        scores[:, self._checkpoint.placeholders] = -torch.inf
        if not torch.isfinite(scores.amax(-1)).all():
            raise DataError(f"the model's scores are no numbers in {self._model.dtype}: try another --model.dtype")
        return choose_tokens(scores, torch.from_numpy(waits).to(self._device), decoding)


def choose_tokens(scores: torch.Tensor, waits: torch.Tensor, decoding: Decoding) -> torch.Tensor:
    """One token (R,) for each row of scores (R, V). The waits (R, V), exponential, are all the chance there is in it.

    Of what `top_k` and then `top_p` leave, the token that comes first if each comes at a rate of its probability: an
    error in the last digit of a score changes the choice only where two come at the same time.
    """
    if decoding.temperature == 0:
        return scores.argmax(-1)
    scaled = (scores - scores.amax(-1, keepdim=True)) / decoding.temperature
    shares, order = scaled.double().softmax(-1).sort(dim=-1, descending=True, stable=True)
    if decoding.top_k:
        shares, order = shares[:, : decoding.top_k], order[:, : decoding.top_k]
    mass = shares.cumsum(-1)
    kept = mass - shares < decoding.top_p * mass[:, -1:]
    first = (shares * kept / waits.gather(-1, order).clamp(min=1e-300)).argmax(-1, keepdim=True)
    return order.gather(-1, first)[:, 0]


@dataclass(slots=True)
class _Answer:
    """An answer while it is written."""

    ids: list[int]
    finish: Literal["stop", "length"] = "length"


def _bytes(prompt: Prompt) -> int:
    return prompt.patches.nbytes
