"""Generate answers: one loop for evaluation and training, behind prompts that were read once.

A batch has a number of places. Where a prompt has all its answers, the next prompt takes its place.

Evaluation and training differ in how the answers lie in a batch, and in where the noise of sampling comes from:

- `packed`, for training: a row is a prompt, and a step is one token of each of its answers, which see the prompt and
  themselves. The keys and values of the prompt are so looked at once a step. The family must allow any attention mask.
- `rows`, for evaluation: a row is an answer with a copy of its prompt's cache. Any family can do that, with any
  implementation of attention, and answers that have ended leave the batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from operator import itemgetter

import torch
from torch import Tensor

from videossr.engine.kv_cache import ROOM, cache_arguments, rebuild_cache
from videossr.engine.linear_attention import OneTokenEach, prepare_linear_attention
from videossr.engine.model import Cache, VisionLanguageModel, has_delta_nets
from videossr.engine.sampling import Layout, Noise, Sampling, Seed, choose_tokens, noise_of, truncate
from videossr.engine.shared_prefix import SharedPrefix, allowed_scores, following


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


def generate(
    model: VisionLanguageModel,
    prefixes: Iterable[SharedPrefix],
    n: int,
    *,
    max_tokens: int,
    seeds: Sequence[Seed],
    ends: frozenset[int],
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    banned: Sequence[int] = (),
    layout: Layout = "packed",
) -> list[list[GeneratedAnswer]]:
    """Generate N answers to each of K prompts, all at once.

    Args:
        model: the one that has read the prompts.
        prefixes: what it kept of each of K prompts. Their graphs are not touched. They may be read as they are taken,
            so that no prompt is in memory twice.
        n: answers a prompt.
        max_tokens: of an answer, at most.
        seeds: of each prompt. What is drawn for it depends on its own seed alone, up to rounding.
        ends: tokens that end an answer.
        temperature: see `Sampling`, as for what follows.
        top_k: tokens that may be drawn.
        top_p: their share.
        banned: tokens that are never drawn.
        layout: of the batch.

    Returns:
        N answers for each prompt.

    Raises:
        FloatingPointError: scores of the model are no numbers.
    """
    sampling = Sampling(
        max_tokens=max_tokens,
        ends=ends,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        banned=banned,
        layout=layout,
    )
    waiting = iter(prefixes)
    prompts = ((seed, next(waiting)) for seed in seeds)
    groups = dict(generate_with_refill(model, prompts, n, sampling, at_once=len(seeds)))
    return [groups[number] for number in range(len(seeds))]


@torch.no_grad()
def generate_with_refill(
    model: VisionLanguageModel,
    prompts: Iterable[tuple[Seed, SharedPrefix]],
    n: int,
    sampling: Sampling,
    *,
    at_once: int,
) -> Iterator[tuple[int, list[GeneratedAnswer]]]:
    """Generate N answers to each prompt, some prompts at a time: one that has its answers makes place for the next.

    So a long answer does not hold the prompts that are still to come.

    Args:
        model: the one that has read the prompts.
        prompts: the seed of each, and what the model kept of it, see `generate`. They are taken, and may be read, where
            there is a place.
        n: answers a prompt.
        sampling: how they are drawn.
        at_once: prompts in the batch, at most.

    Yields:
        The number of a prompt, from 0, and its answers, in the order in which they end. The next prompt is taken after
        that, so that of the prompts taken at most `at_once` have no answers yet.

    Raises:
        FloatingPointError: scores of the model are no numbers.
    """
    batch = _Batch(model, n, sampling)
    waiting, numbers = iter(prompts), itertools.count()  # not `enumerate`, which holds what it gave last
    places = at_once
    while True:
        entering: list[_Entry] = []
        while places > len(entering) and (taken := next(waiting, None)):
            seed, prefix = taken
            number = next(numbers)
            group = _Group(number, n, sampling, noise_of(sampling.layout, seed, prefix.logits.device))
            _draw([(group, answer) for answer in range(n)], prefix.logits.expand(n, -1), sampling)
            if group.is_complete:
                yield number, group.answers()
            else:
                entering.append(_Entry(group, prefix.detached().cache(), prefix.length, prefix.delta))
            del taken, prefix  # its keys and values are now in `entering` alone, which is taken apart
        places -= len(entering)
        batch.change(entering)
        if not batch.rows:
            return
        _draw(batch.answers(), batch.forward(), sampling)
        complete = [group for group in batch.groups() if group.is_complete]
        places += len(complete)
        if not any(row.is_going for row in batch.rows):
            batch.change([])  # its cache is free while the caller has the answers
        yield from ((group.number, group.answers()) for group in complete)


class _Group:
    """The answers to one prompt while they are written.

    Attributes:
        number: of the prompt.
        noise: of its answers.
        ids: the tokens of each answer so far.
        ended: whether each answer has ended.
    """

    def __init__(self, number: int, n: int, sampling: Sampling, noise: Noise) -> None:
        self.number = number
        self.noise = noise
        self.ids: list[list[int]] = [[] for _ in range(n)]
        self.ended = [False] * n
        self._logprobs: list[list[float]] = [[] for _ in range(n)]
        self._sampling = sampling

    def add(self, answer: int, token: int, logprob: float) -> None:
        """Add a token to an answer, if it has not ended."""
        if not self.ended[answer]:
            self.ids[answer].append(token)
            self._logprobs[answer].append(logprob)
            self.ended[answer] = token in self._sampling.ends

    @property
    def is_complete(self) -> bool:
        """Tell whether all answers have ended or are as long as they may be."""
        return all(self.ended) or max(map(len, self.ids)) == self._sampling.max_tokens

    def answers(self) -> list[GeneratedAnswer]:
        """Return all answers."""
        return [GeneratedAnswer(*answer) for answer in zip(self.ids, self._logprobs, self.ended, strict=True)]


def _draw(answers: Sequence[tuple[_Group, int]], logits: Tensor, sampling: Sampling) -> None:
    """Draw the next token of answers by logits (A, V), one row for each; those of a group are neighbours."""
    scores = allowed_scores(logits, sampling.banned)
    if sampling.temperature == 0:
        logp = scores.log_softmax(-1)
        drawn = scores.argmax(-1)
    else:
        noise = [
            _noise_for(group, [answer for _, answer in members], scores.shape[-1])
            for group, members in groupby(answers, key=itemgetter(0))
        ]
        logp = (scores.to(noise[0].dtype) / sampling.temperature).log_softmax(-1)
        drawn = choose_tokens(truncate(logp, sampling.top_k, sampling.top_p), torch.cat(noise))
    # The device is waited for once: float32 holds the numbers of tokens exactly.
    tokens, logprobs = torch.stack([drawn.float(), logp.gather(-1, drawn[:, None])[:, 0].float()]).tolist()
    if not all(map(isfinite, logprobs)):
        raise FloatingPointError("the model's scores are no numbers")
    for (group, answer), token, logprob in zip(answers, tokens, logprobs, strict=True):
        group.add(answer, int(token), logprob)


def _noise_for(group: _Group, answers: Sequence[int], vocabulary: int) -> Tensor:
    """Return noise (len(answers), V) for some answers of a group; it is drawn for all, whoever has ended."""
    noise = group.noise.draw(len(group.ids), vocabulary)
    return noise if len(answers) == len(group.ids) else noise[list(answers)]


@dataclass(frozen=True)
class _Entry:
    """A prompt that enters a batch: its answers, what the model kept of it, and `length` and `delta` of its prefix."""

    group: _Group
    cache: Cache
    length: int
    delta: int


@dataclass
class _Row:
    """One row of a batch.

    Attributes:
        group: of its prompt.
        answers: those that lie in it, all of the group or one.
        length: tokens of the prompt.
        delta: of the prompt, see `SharedPrefix`.
        read: tokens of each answer that the model has read.
    """

    group: _Group
    answers: list[int]
    length: int
    delta: int
    read: int = 0

    @property
    def columns(self) -> int:
        """The last columns of the cache, which are its own."""
        return self.length + len(self.answers) * self.read

    @property
    def is_going(self) -> bool:
        """Tell whether an answer in it goes on."""
        return not self.group.is_complete and not all(self.group.ended[answer] for answer in self.answers)


class _Batch:
    """Prompts and their answers before the model. In the cache, the rows are aligned on the right.

    Attributes:
        rows: what is in the batch; the rows of a prompt are neighbours.
    """

    def __init__(self, model: VisionLanguageModel, n: int, sampling: Sampling) -> None:
        self.rows: list[_Row] = []
        self._model = model
        self._sampling = sampling
        self._device = next(model.parameters()).device
        self._lots = [list(range(n))] if sampling.layout == "packed" else [[answer] for answer in range(n)]
        self._cache: Cache | None = None
        self._layout = None
        if sampling.layout == "packed" and has_delta_nets(model):
            prepare_linear_attention(model)
            self._layout = OneTokenEach(n)

    def answers(self) -> list[tuple[_Group, int]]:
        """Return the group and the number of each answer, as they lie in the batch."""
        return [(row.group, answer) for row in self.rows for answer in row.answers]

    def groups(self) -> list[_Group]:
        """Return the groups in the batch."""
        return [group for group, _ in groupby(row.group for row in self.rows)]

    def change(self, entering: Sequence[_Entry]) -> None:
        """Let rows that do not go on leave, and prompts enter."""
        going = [place for place, row in enumerate(self.rows) if row.is_going]
        if not entering and len(going) == len(self.rows):
            return
        self.rows = [self.rows[place] for place in going] + [
            _Row(entry.group, answers, entry.length, entry.delta) for entry in entering for answers in self._lots
        ]
        if not self.rows:
            self._cache = None
            return
        per_row = len(self._lots[0])
        self._width = max(row.columns for row in self.rows)
        most = per_row * (self._sampling.max_tokens - 1 - max(row.read for row in self.rows))  # until one is complete
        self._cache = rebuild_cache(
            self._cache,
            going,
            [entry.cache for entry in entering],
            len(self._lots),
            width=self._width,
            room=most if self._sampling.layout == "packed" else min(most, ROOM),
            answers=per_row,
            layout=self._layout,
        )
        self._lengths, self._deltas, self._steps = (
            torch.tensor(numbers, device=self._device)[:, None]
            for numbers in zip(*((row.length, row.delta, row.read) for row in self.rows), strict=True)
        )
        self._visible = self._mask(self._width + most)

    def forward(self) -> Tensor:
        """Read the last token of each answer; return the scores (A, V) of the next ones."""
        assert self._cache is not None
        tokens = [group.ids[answer][-1] for group, answer in self.answers()]
        ids = torch.tensor(tokens, device=self._device).view(len(self.rows), -1)
        self._width += ids.shape[1]
        seen = self._visible[..., : self._width]
        logits = self._model(
            input_ids=ids,
            attention_mask=seen[:, None] if self._sampling.layout == "packed" else seen[:, 0],
            position_ids=following(self._steps.expand_as(ids), self._lengths, self._deltas),
            **cache_arguments(self._model, self._cache),
        ).logits
        self._steps = self._steps + 1
        for row in self.rows:
            row.read += 1
        return logits.flatten(0, 1)

    def _mask(self, columns: int) -> Tensor:
        """Return (rows, answers of a row, columns) bool: each answer sees its prompt and itself."""
        place = torch.arange(columns, device=self._device)
        first, last = (
            torch.tensor(edges, device=self._device)[:, None]
            for edges in zip(
                *((self._width - row.columns, self._width - row.columns + row.length) for row in self.rows), strict=True
            )
        )
        answer = torch.arange(len(self._lots[0]), device=self._device)[:, None]
        own_tokens = (place - self._width) % len(self._lots[0]) == answer
        return (place >= first)[:, None] & ((place < last)[:, None] | own_tokens)
