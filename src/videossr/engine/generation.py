"""Generate answers: one loop for evaluation and training, behind prompts that were read once.

The two differ in how the answers lie in a batch, and in where the noise of sampling comes from:

- `packed`, for training: a row is a prompt, and a step is one token of each of its answers, which see the prompt and
  themselves. The keys and values of the prompt are so looked at once a step. The family must allow any attention mask.
- `rows`, for evaluation: a row is an answer with a copy of its prompt's cache. Any family can do that, with any
  implementation of attention, and answers that have ended leave the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from videossr.engine.kv_cache import ROOM, batch_caches, cache_arguments
from videossr.engine.linear_attention import OneTokenEach, prepare_linear_attention
from videossr.engine.model import Cache, VisionLanguageModel, has_delta_nets
from videossr.engine.shared_prefix import SharedPrefix, allowed_scores, following

Layout = Literal["packed", "rows"]


@dataclass(frozen=True)
class GeneratedAnswer:
    """One sampled answer.

    Attributes:
        ids: its tokens, at least one, the end token included where it was drawn.
        logprobs: of each token, as it was drawn.
        ended: whether it ended by itself; else it was cut off.
    """

    ids: list[int]
    logprobs: list[float]
    ended: bool

    @property
    def content(self) -> list[int]:
        """Its tokens without the one that ended it."""
        return self.ids[:-1] if self.ended else self.ids


@torch.no_grad()
def generate(
    model: VisionLanguageModel,
    prefixes: Iterable[SharedPrefix],
    n: int,
    *,
    max_tokens: int,
    seeds: Sequence[tuple[int, ...]],
    ends: frozenset[int],
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    banned: Sequence[int] = (),
    layout: Layout = "packed",
) -> list[list[GeneratedAnswer]]:
    """Generate N answers to each of K prompts.

    What is drawn for a prompt depends on its own seed alone, up to rounding.

    Args:
        model: the one that has read the prompts.
        prefixes: what it kept of each of K prompts. Their graphs are not touched. They may be read as they are taken,
            so that no prompt is in memory twice.
        n: answers a prompt.
        max_tokens: of an answer, at most.
        seeds: of each prompt.
        ends: tokens that end an answer.
        temperature: by which scores are divided; 0: the most probable token is taken.
        top_k: draw from the most probable tokens alone; 0: from all.
        top_p: draw from the most probable tokens alone that have this share together.
        banned: tokens that are never drawn.
        layout: "packed" draws float32 noise on the device; "rows" draws float64 noise on the host, the same whatever
            the device.

    Returns:
        N answers for each prompt.

    Raises:
        FloatingPointError: scores of the model are no numbers.
    """
    batch: _Packed | _Rows
    noise: Noise
    if layout == "packed":
        batch = _Packed(model, list(prefixes), n, max_tokens)
        noise = DeviceNoise(seeds, batch.logits.device)
    else:
        batch = _Rows(model, prefixes, n)
        noise = HostNoise(seeds, batch.logits.device)
    logits = batch.logits
    count = len(logits)
    tokens = torch.zeros(count, max_tokens, dtype=torch.int64, device=logits.device)
    logprobs = torch.zeros(count, max_tokens, device=logits.device)
    stops = torch.tensor(sorted(ends), device=logits.device)
    live = torch.arange(count, device=logits.device)  # answers that are in the batch
    has_ended = torch.zeros(count, dtype=torch.bool, device=logits.device)
    length = 0
    for step in range(max_tokens):
        scores = allowed_scores(logits, banned)
        if not torch.isfinite(scores.amax(-1)).all():
            raise FloatingPointError("the model's scores are no numbers")
        if temperature == 0:
            logp = scores.log_softmax(-1)
            drawn = scores.argmax(-1)
        else:
            logp = (scores.to(noise.dtype) / temperature).log_softmax(-1)
            drawn = choose_tokens(truncate(logp, top_k, top_p), noise.draw(n, logp.shape[-1])[live])
        tokens[live, step] = drawn
        logprobs[live, step] = logp.gather(-1, drawn[:, None])[:, 0].float()
        is_end = torch.isin(drawn, stops)
        has_ended[live] |= is_end
        length = step + 1
        if length == max_tokens or has_ended.all():
            break
        if isinstance(batch, _Rows) and is_end.any():
            going = (~is_end).nonzero()[:, 0]
            batch.keep(going)
            live, drawn = live[going], drawn[going]
        logits = batch.forward(drawn, step)
    answers = _cut(tokens[:, :length].tolist(), logprobs[:, :length].tolist(), ends)
    return [answers[first : first + n] for first in range(0, count, n)]


def choose_tokens(logprobs: Tensor, waits: Tensor) -> Tensor:
    """Draw one token (R,) for each row of log-probabilities (R, V), by an exponential race.

    Each token comes at a rate of its probability, and the first is drawn. So an error in the last digit of a score
    changes the choice only where two come at the same time.

    Args:
        logprobs: (R, V); they need not be normalized, and -inf is never drawn.
        waits: (R, V), drawn from the exponential distribution of rate 1: all the chance there is in it.
    """
    return (logprobs - waits.clamp(min=1e-30).log()).argmax(-1)


def truncate(logprobs: Tensor, top_k: int, top_p: float) -> Tensor:
    """Keep of log-probabilities (R, V) what `top_k` and then `top_p` leave; the rest becomes -inf. 0 and 1 keep all."""
    if not top_k and top_p == 1:
        return logprobs
    ranked, order = logprobs.sort(dim=-1, descending=True, stable=True)
    if top_k:
        ranked = ranked[:, :top_k]
        order = order[:, :top_k]
    shares = ranked.exp()
    mass = shares.cumsum(-1)
    kept = mass - shares < top_p * mass[:, -1:]
    return torch.full_like(logprobs, -torch.inf).scatter(-1, order, ranked.masked_fill(~kept, -torch.inf))


class Noise(Protocol):
    """A source of exponential noise, with a seed for each of K prompts.

    Attributes:
        dtype: of the noise; tokens are chosen in this precision.
    """

    dtype: torch.dtype

    def draw(self, n: int, vocabulary: int) -> Tensor:
        """Return noise (K * n, V) for one token of each of n answers to each prompt."""


class DeviceNoise:
    """Draw float32 noise on the device: fast, and other on another kind of device."""

    dtype = torch.float32

    def __init__(self, seeds: Sequence[tuple[int, ...]], device: torch.device) -> None:
        """Take a seed of several numbers for each prompt, so that neighbours share nothing."""
        self._device = device
        self._generators = []
        for seed in seeds:
            state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1))
            self._generators.append(torch.Generator(device).manual_seed(state))

    def draw(self, n: int, vocabulary: int) -> Tensor:
        """Return noise (K * n, V) for one token of each of n answers to each prompt."""
        shape = (n, vocabulary)
        parts = [
            torch.empty(shape, device=self._device).exponential_(generator=generator) for generator in self._generators
        ]
        return torch.cat(parts)


class HostNoise:
    """Draw float64 noise with NumPy: the same on every device."""

    dtype = torch.float64

    def __init__(self, seeds: Sequence[tuple[int, ...]], device: torch.device) -> None:
        """Take a seed of several numbers for each prompt."""
        self._device = device
        self._generators = [np.random.Generator(np.random.PCG64DXSM(list(seed))) for seed in seeds]

    def draw(self, n: int, vocabulary: int) -> Tensor:
        """Return noise (K * n, V) for one token of each of n answers to each prompt."""
        parts = [generator.standard_exponential((n, vocabulary)) for generator in self._generators]
        return torch.from_numpy(np.concatenate(parts)).to(self._device)


class _Packed:
    """A batch whose rows are prompts, with the answers to each side by side.

    Attributes:
        logits: (K * n, V), scores of the first token of each answer.
    """

    def __init__(self, model: VisionLanguageModel, prefixes: Sequence[SharedPrefix], n: int, max_tokens: int) -> None:
        device = prefixes[0].logits.device
        self._model = model
        self._n = n
        self.logits = torch.cat([prefix.logits.expand(n, -1) for prefix in prefixes])
        self._lengths = torch.tensor([prefix.length for prefix in prefixes], device=device)
        self._deltas = torch.tensor([prefix.delta for prefix in prefixes], device=device)
        self._longest = max(prefix.length for prefix in prefixes)
        caches = [prefix.detached().cache() for prefix in prefixes]
        layout = None
        if has_delta_nets(model):
            prepare_linear_attention(model)
            layout = OneTokenEach(n)
        joined = batch_caches(caches, 1, room=n * (max_tokens - 1), answers=n, layout=layout)
        self._extending = cache_arguments(model, joined)
        # (K, n, longest + n * (max_tokens - 1)): each answer sees its prompt, padded on the left, and itself.
        prompt = torch.arange(self._longest, device=device) >= self._longest - self._lengths[:, None]
        own_tokens = torch.eye(n, dtype=torch.bool, device=device).repeat(1, max_tokens - 1)
        self._visible = torch.cat([prompt[:, None].expand(-1, n, -1), own_tokens.expand(len(prefixes), -1, -1)], 2)

    def forward(self, tokens: Tensor, step: int) -> Tensor:
        """Read token `step` (K * n,) of each answer; return the scores (K * n, V) of the next one."""
        ids = tokens.view(-1, self._n)
        logits = self._model(
            input_ids=ids,
            attention_mask=self._visible[:, None, :, : self._longest + self._n * (step + 1)],
            position_ids=following(torch.full_like(ids, step), self._lengths[:, None], self._deltas[:, None]),
            **self._extending,
        ).logits
        return logits.flatten(0, 1)


class _Rows:
    """A batch whose rows are answers, each with a copy of its prompt's cache.

    Attributes:
        logits: (K * n, V), scores of the first token of each answer.
    """

    def __init__(self, model: VisionLanguageModel, prefixes: Iterable[SharedPrefix], n: int) -> None:
        self._model = model
        caches: list[Cache] = []
        logits: list[Tensor] = []
        lengths: list[int] = []
        deltas: list[int] = []
        for prefix in prefixes:
            caches.append(prefix.cache())
            logits.append(prefix.logits)
            lengths.append(prefix.length)
            deltas.append(prefix.delta)
        del prefix  # its keys and values are now in `caches` alone, which are taken apart
        device = logits[0].device
        self.logits = torch.cat(logits).repeat_interleave(n, 0)
        self._cache = batch_caches(caches, n, room=ROOM)
        self._lengths = torch.tensor(lengths, device=device).repeat_interleave(n)
        self._deltas = torch.tensor(deltas, device=device).repeat_interleave(n)
        longest = max(lengths)
        self._mask = torch.arange(longest, device=device) >= longest - self._lengths[:, None]

    def forward(self, tokens: Tensor, step: int) -> Tensor:
        """Read token `step` (R,) of each answer in the batch; return the scores (R, V) of the next one."""
        ids = tokens[:, None]
        self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=True)
        return self._model(
            input_ids=ids,
            attention_mask=self._mask,
            position_ids=following(torch.full_like(ids, step), self._lengths[:, None], self._deltas[:, None]),
            **cache_arguments(self._model, self._cache),
        ).logits[:, -1]

    def keep(self, going: Tensor) -> None:
        """Keep these rows alone."""
        self._cache.batch_select_indices(going)
        self._mask = self._mask[going]
        self._lengths = self._lengths[going]
        self._deltas = self._deltas[going]


def _cut(tokens: list[list[int]], logprobs: list[list[float]], ends: frozenset[int]) -> list[GeneratedAnswer]:
    """Cut each answer behind the token that ended it."""
    answers = []
    for ids, logs in zip(tokens, logprobs, strict=True):
        end = next((position for position, token in enumerate(ids) if token in ends), None)
        length = len(ids) if end is None else end + 1
        answers.append(GeneratedAnswer(ids[:length], logs[:length], ended=end is not None))
    return answers
