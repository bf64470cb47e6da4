"""The answers of several groups, sampled side by side behind prompts that were read once.

A row of the batch is a prompt; a step of it is one token of each of its answers, which see the prompt and themselves.
The prompt's keys and values are so looked at once a step, not once for each answer. Exercised by
`videossr train CONFIG --out RUN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from videossr.engine.kv_cache import batch_caches, cache_arguments
from videossr.engine.shared_prefix import SharedPrefix, distribution, following


@dataclass(frozen=True)
class GeneratedAnswers:
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
    model: Any,
    prefixes: Sequence[SharedPrefix],
    n: int,
    *,
    max_tokens: int,
    seeds: Sequence[tuple[int, ...]],
    ends: frozenset[int],
    temperature: float = 1.0,
    banned: Sequence[int] = (),
) -> list[list[GeneratedAnswers]]:
    """N answers to each of K prompts, drawn from the whole distribution.

    Args:
        model: the one that has read the prompts.
        prefixes: what it kept of each. Their graphs are not touched.
        n: answers a prompt.
        max_tokens: of an answer, at most.
        seeds: of each prompt. What is drawn for it depends on its own seed alone, up to rounding.
        ends: tokens that end an answer.
        temperature: by which scores are divided.
        banned: tokens that are never drawn.
    """
    device = prefixes[0].logits.device
    dice = [_generator(seed, device) for seed in seeds]
    lengths = torch.tensor([prefix.length for prefix in prefixes], device=device)
    deltas = torch.tensor([prefix.delta for prefix in prefixes], device=device)
    cache = batch_caches([prefix.detached().cache() for prefix in prefixes], 1, room=n * (max_tokens - 1))
    extending = cache_arguments(model, cache)
    visible = _visible(lengths, n, max_tokens)
    longest = int(lengths.max())

    logits = torch.stack([prefix.logits.expand(n, -1) for prefix in prefixes])
    tokens, logprobs = [], []
    open_ = torch.ones(len(prefixes), n, dtype=torch.bool, device=device)
    stops = torch.tensor(sorted(ends), device=device)
    for step in range(max_tokens):
        logs = distribution(logits, temperature, banned)
        if not torch.isfinite(logs.amax()):
            raise FloatingPointError("the model's scores are no numbers")
        # Each token comes at a rate of its probability; the one that comes first is drawn by it.
        waits = torch.stack([torch.empty_like(logs[0]).exponential_(generator=each) for each in dice])
        drawn = (logs - waits.clamp_(min=1e-30).log_()).argmax(-1)
        tokens.append(drawn)
        logprobs.append(logs.gather(-1, drawn[..., None])[..., 0])
        open_ &= ~torch.isin(drawn, stops)
        if step + 1 == max_tokens or not open_.any():
            break
        logits = model(
            input_ids=drawn,
            attention_mask=visible[:, None, :, : longest + n * (step + 1)],
            position_ids=following(torch.full_like(drawn, step), lengths[:, None], deltas[:, None]),
            **extending,
        ).logits
    return _answers(torch.stack(tokens, -1).tolist(), torch.stack(logprobs, -1).tolist(), ends)


def _generator(seed: tuple[int, ...], device: torch.device) -> torch.Generator:
    """Made of several numbers, so that neighbours share nothing."""
    state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1))
    return torch.Generator(device).manual_seed(state)


def _visible(lengths: torch.Tensor, n: int, max_tokens: int) -> torch.Tensor:
    """(K, n, longest + n * (max_tokens - 1)) bool: each answer sees its prompt, padded on the left, and itself."""
    longest = int(lengths.max())
    prompt = torch.arange(longest, device=lengths.device) >= longest - lengths[:, None]
    own = torch.eye(n, dtype=torch.bool, device=lengths.device).repeat(1, max_tokens - 1)
    return torch.cat([prompt[:, None].expand(-1, n, -1), own.expand(len(lengths), -1, -1)], 2)


def _answers(
    tokens: list[list[list[int]]], logprobs: list[list[list[float]]], ends: frozenset[int]
) -> list[list[GeneratedAnswers]]:
    """What was drawn, without what came behind the ends."""

    def answer(ids: list[int], logs: list[float]) -> GeneratedAnswers:
        end = next((place for place, token in enumerate(ids) if token in ends), None)
        last = len(ids) if end is None else end + 1
        return GeneratedAnswers(ids[:last], logs[:last], ended=end is not None)

    return [list(map(answer, *group)) for group in zip(tokens, logprobs, strict=True)]
