"""Compute what the answers of a group share once: the vision tower and the prompt, forward and backward.

    prefix = read_prefix(model, inputs)                 # with gradient, once
    (answers,) = generate(model, [prefix], 8, ...)      # from the same states, detached
    scores = answer_scores(model, prefix, answers)      # all answers as one short packed sequence
    loss(scores).backward()                             # through the prompt once; `split_backward` saves memory

The answers of a group are laid one after the other as one sequence. Each token sees the prompt and the tokens before
it in its own answer, and has the position that it would have if its answer were the only one. So nothing is padded or
repeated, and log-probabilities and gradients are those of separate full forward passes, up to rounding. Any trainer may
call these functions: docs/concepts/shared-prefix.md shows how. `benchmarks/train_step.py` measures them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import transformers
from torch.nn.utils.rnn import pad_sequence

from videossr.engine.kv_cache import (
    LayerStates,
    cache_arguments,
    cache_states,
    empty_cache,
    fixed_cache,
)
from videossr.engine.linear_attention import PackedAnswers, prepare_linear_attention
from videossr.engine.model import Cache, VisionLanguageModel, base_model, has_delta_nets
from videossr.engine.recomputation import recomputed

SHARED = ("qwen3_vl", "qwen3_vl_moe", "qwen2_5_vl", "qwen3_5", "qwen3_5_moe")
"""Model types whose layers look at other tokens through keys and values, or through states that can be handed on."""

ATTENTION = "sdpa"
"""The implementation that takes any mask of what sees what."""


SCORED_AT_ONCE = 1024
"""Tokens of answers that go through the model at once. More go in several parts, since attention between answers is
computed and masked; and their scores over the vocabulary are computed once more in the backward pass."""


@dataclass(frozen=True)
class SharedPrefix:
    """The state of a model that has read a prompt, with the graph of how it came to it.

    Attributes:
        logits: (1, V), scores of an answer's first token.
        layers: what each layer keeps, with one row. There are more rows only where it was read several times.
        length: P, tokens of the prompt.
        delta: token k behind the prompt, from 0, has the position P + k + delta.
        cuts: of `videossr.engine.split_backward` alone: tensors behind the prompt, and the leaves in their place.
    """

    logits: torch.Tensor
    layers: tuple[LayerStates, ...]
    length: int
    delta: int
    cuts: list[tuple[torch.Tensor, torch.Tensor]] | None = None

    def cut(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor behind the prompt, or a leaf in its place where the backward pass is split."""
        if self.cuts is None:
            return tensor
        leaf = as_leaf(tensor)
        self.cuts.append((tensor, leaf))
        return leaf

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> SharedPrefix:
        """Return what `change` makes of all tensors."""
        layers = tuple(layer.changed(change) for layer in self.layers)
        return SharedPrefix(change(self.logits), layers, self.length, self.delta)

    def tensors(self) -> list[torch.Tensor]:
        """Return all tensors, in the same order for any prefix of a model."""
        return [self.logits, *(side for layer in self.layers for side in (layer.first, layer.second))]

    def detached(self) -> SharedPrefix:
        """Return the same numbers without the graph; nothing is copied."""
        return self.changed(torch.Tensor.detach)

    def rows(self) -> list[SharedPrefix]:
        """Return one for each row, where a prompt was read several times at once."""
        return [self._row(row) for row in range(len(self.logits))]

    def _row(self, row: int) -> SharedPrefix:
        return self.changed(lambda tensor: tensor[row : row + 1])

    def cache(self) -> Cache:
        """Return a cache of transformers that the tokens after the prompt can see, as often as wanted."""
        return fixed_cache(self.layers)


@dataclass(frozen=True)
class TokenScores:
    """The scores of the tokens of G answers. After the end of an answer all is 0.

    Attributes:
        logprobs: (G, A) float32, of each token.
        entropies: (G, A) float32, of the distribution from which it was drawn, in nats; without gradient.
        mask: (G, A) bool, whether there is a token.
    """

    logprobs: torch.Tensor
    entropies: torch.Tensor
    mask: torch.Tensor


def as_leaf(tensor: torch.Tensor) -> torch.Tensor:
    """Return the same numbers as the start of a graph of their own, where they have a gradient."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


def can_share(model: VisionLanguageModel) -> str:
    """Say why the prefix of this model cannot be shared; return an empty text where it can."""
    config = model.config
    if config.model_type not in SHARED:
        return f"the model type {config.model_type} is not one of {', '.join(SHARED)}"
    if config._attn_implementation != ATTENTION:
        return f"attention {config._attn_implementation} does not take any mask: load it with {ATTENTION}"
    return ""


def read_prefix(model: VisionLanguageModel, inputs: Mapping[str, torch.Tensor], rows: int = 1) -> SharedPrefix:
    """Read one prompt, with gradient where it is enabled.

    Args:
        model: of a type in `SHARED`, of transformers or wrapped by peft.
        inputs: what its `forward` takes for one prompt (1, P), `position_ids` (4, 1, P) among it: the first row counts
            tokens, the others are the rotary positions. `videossr.engine.checkpoint.prompt_inputs` makes them.
        rows: read it as often, side by side; only of use where the prefix is not shared.
    """
    repeated = {name: _repeat(name, tensor, rows) for name, tensor in inputs.items()}
    cache = empty_cache(model)
    out = model(**repeated, **cache_arguments(model, cache), logits_to_keep=1)
    return _kept(out.logits, cache, inputs)


def continue_prefix(
    model: VisionLanguageModel, inputs: Mapping[str, torch.Tensor], known: SharedPrefix, shared: int
) -> SharedPrefix:
    """Read a prompt whose first tokens, with all its frames, are those of a prompt that was read before.

    Args:
        model: the one that has read the other prompt, without Gated DeltaNet layers: these keep one state of a whole
            prompt, and none of its beginning.
        inputs: those of the whole prompt without pixels, `videossr.engine.checkpoint.text_inputs`: `input_ids` (1, P),
            `attention_mask` (1, P), `position_ids` (4, 1, P).
        known: what the model kept of the other prompt; it is not changed.
        shared: tokens that both begin with, fewer than P.
    """
    cache = transformers.DynamicCache()
    for number, layer in enumerate(known.layers):
        cache.update(layer.first[:, :, :shared], layer.second[:, :, :shared], number)
    ids = inputs["input_ids"]
    out = model(
        input_ids=ids[:, shared:],
        attention_mask=inputs["attention_mask"],
        position_ids=inputs["position_ids"][..., shared:],
        **cache_arguments(model, cache),
        logits_to_keep=1,
    )
    return _kept(out.logits, cache, inputs)


def _kept(logits: torch.Tensor, cache: Cache, inputs: Mapping[str, torch.Tensor]) -> SharedPrefix:
    """Return what a model keeps of a prompt that it has read into a cache of transformers."""
    return SharedPrefix(logits[:, -1], cache_states(cache), inputs["input_ids"].shape[1], _delta(inputs))


def answer_scores(
    model: VisionLanguageModel,
    prefix: SharedPrefix,
    answers: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    banned: Sequence[int] = (),
) -> TokenScores:
    """Score answers to a prompt that was read once. Equal to `full_scores`, up to rounding.

    Args:
        model: the one that has read the prompt.
        prefix: what it kept.
        answers: tokens of each of G answers, at least one, the end token included where it was drawn.
        temperature: by which scores are divided.
        banned: tokens that cannot be drawn, such as placeholders for pixels.
    """
    lengths = [len(answer) - 1 for answer in answers]  # what follows an answer's last token is not asked

    def score(hidden: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _chosen(base_model(model).lm_head(hidden), tokens, temperature, banned)

    firsts = torch.tensor([answer[0] for answer in answers], device=prefix.logits.device)
    first = _chosen(prefix.logits.expand(len(answers), -1), firsts, temperature, banned)
    rows: list[list[torch.Tensor]] = [list(torch.split(column, 1)) for column in first]
    call = partial(recomputed, score) if sum(lengths) > SCORED_AT_ONCE else score
    for some in _parts(lengths):
        tokens = torch.tensor([token for answer in answers[some] for token in answer[1:]], device=firsts.device)
        hidden = _part_states(model, prefix, answers[some])
        pieces = zip(*(torch.split(side, SCORED_AT_ONCE) for side in (hidden, tokens)), strict=True)
        logprobs, entropies = (torch.cat(side) for side in zip(*(call(*piece) for piece in pieces), strict=True))
        for column, scored in zip(rows, (prefix.cut(logprobs), entropies), strict=True):
            tails = torch.split(scored, lengths[some])
            column[some] = [torch.cat(row) for row in zip(column[some], tails, strict=True)]
    return _padded(rows)


def _parts(lengths: Sequence[int]) -> Iterator[slice]:
    """Yield which answers of these lengths are scored at once; together they have tokens."""
    first, size = 0, 0
    for number, length in enumerate(lengths):
        if size and size + length > SCORED_AT_ONCE:
            yield slice(first, number)
            first, size = number, 0
        size += length
    if size:
        yield slice(first, len(lengths))


def _part_states(model: VisionLanguageModel, prefix: SharedPrefix, answers: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the hidden states (N, width) of all tokens of answers but the last ones, one answer after the other."""
    device = prefix.logits.device
    lengths = [len(answer) - 1 for answer in answers]
    packed = torch.tensor([token for answer in answers for token in answer[:-1]], device=device)
    owner = torch.repeat_interleave(torch.arange(len(answers)), torch.tensor(lengths)).to(device)
    step = torch.cat([torch.arange(length) for length in lengths]).to(device)
    own_tokens = (owner[:, None] == owner) & (step[:, None] >= step)
    mask = torch.cat([own_tokens.new_ones(len(packed), prefix.length), own_tokens], 1)
    with _without_head(model):
        out = model(
            input_ids=packed[None],
            attention_mask=mask[None, None],
            position_ids=following(step[None], prefix.length, prefix.delta),
            **cache_arguments(model, _packed_cache(model, prefix, lengths)),
        )
    return out.logits[0]


@contextmanager
def _without_head(model: VisionLanguageModel) -> Iterator[None]:
    """Let a model return hidden states in place of logits. Its own `forward` runs, whose hooks FSDP needs."""
    head: Any = base_model(model).lm_head
    head.forward = torch.clone  # no view, of whose gradients FSDP would warn
    try:
        yield
    finally:
        del head.forward  # the instance's, so that the class's is seen again


def _packed_cache(model: VisionLanguageModel, prefix: SharedPrefix, lengths: Sequence[int]) -> Cache:
    """Return the cache behind which packed answers of these lengths are scored."""
    if not has_delta_nets(model):
        return prefix.cache()
    prepare_linear_attention(model)
    return fixed_cache(prefix.layers, len(lengths), PackedAnswers.of(lengths, prefix.logits.device))


def full_scores(
    model: VisionLanguageModel,
    inputs: Mapping[str, torch.Tensor],
    answers: Sequence[Sequence[int]],
    *,
    rows: int = 1,
    temperature: float = 1.0,
    banned: Sequence[int] = (),
) -> Iterator[TokenScores]:
    """Score answers by full forward passes, `rows` at once: each row reads the whole prompt and its video.

    Args:
        model: of any type.
        inputs: what its `forward` takes for one prompt, see `read_prefix`.
        answers: tokens of each of G answers.
        rows: answers at once.
        temperature: by which scores are divided.
        banned: tokens that cannot be drawn.

    Yields:
        The scores of each `rows` answers, so that a caller may go back through them before the next are computed.
    """
    length, delta = inputs["input_ids"].shape[1], _delta(inputs)
    for first in range(0, len(answers), rows):
        micro_batch = answers[first : first + rows]
        repeated = {name: _repeat(name, tensor, len(micro_batch)) for name, tensor in inputs.items()}
        tails = [torch.tensor(answer, device=inputs["input_ids"].device) for answer in micro_batch]
        tail = pad_sequence(tails, batch_first=True)
        present = pad_sequence([torch.ones_like(tail) for tail in tails], batch_first=True)
        steps = torch.arange(tail.shape[1], device=tail.device).expand(len(micro_batch), -1)
        repeated["input_ids"] = torch.cat([repeated["input_ids"], tail], 1)
        repeated["attention_mask"] = torch.cat([repeated["attention_mask"], present], 1)
        repeated["position_ids"] = torch.cat([repeated["position_ids"], following(steps, length, delta)], 2)
        logits = model(**repeated, use_cache=False, logits_to_keep=tail.shape[1] + 1).logits
        present_logits = torch.cat([row[: len(answer)] for row, answer in zip(logits, micro_batch, strict=True)])
        columns = _chosen(present_logits, torch.cat(tails), temperature, banned)
        yield _padded([torch.split(column, [len(answer) for answer in micro_batch]) for column in columns])


def following(steps: torch.Tensor, length: int | torch.Tensor, delta: int | torch.Tensor) -> torch.Tensor:
    """Return `position_ids` (4, B, N) of text tokens that stand `steps` (B, N) after prompts."""
    counted = steps + length
    return torch.stack([counted, *[counted + delta] * 3])


def allowed_scores(logits: torch.Tensor, banned: Sequence[int]) -> torch.Tensor:
    """Return scores (…, V) float32 of the next token, -inf for tokens that cannot be drawn."""
    scores = logits.float()
    if banned:
        scores = scores.index_fill(-1, _tokens_on(scores.device, tuple(banned)), -torch.inf)
    return scores


@cache
def _tokens_on(device: torch.device, tokens: tuple[int, ...]) -> torch.Tensor:
    """Return tokens on a device, made once: a copy at every step would take time. They may be part of any graph."""
    with torch.inference_mode(False):
        return torch.tensor(tokens, device=device)


def _delta(inputs: Mapping[str, torch.Tensor]) -> int:
    """Return the `delta` of a prompt: positions go on one after the largest of the prompt."""
    return int(inputs["position_ids"][1:].amax()) + 1 - inputs["input_ids"].shape[1]


def _repeat(name: str, tensor: torch.Tensor, count: int) -> torch.Tensor:
    """Repeat the input of one prompt for `count` rows: patches and grids of all rows stand one after the other."""
    if name == "position_ids":
        return tensor.expand(-1, count, -1)
    return tensor if count == 1 else torch.cat([tensor] * count)


def _chosen(
    logits: torch.Tensor, tokens: torch.Tensor, temperature: float, banned: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probabilities (N,) of tokens by logits (N, V), and the entropies (N,), without gradient."""
    logs = (allowed_scores(logits, banned) / temperature).log_softmax(-1)
    with torch.no_grad():
        entropies = torch.special.entr(logs.exp()).sum(-1)
    return logs.gather(-1, tokens[:, None])[:, 0], entropies


def _padded(columns: Sequence[Sequence[torch.Tensor]]) -> TokenScores:
    """Pad the log-probabilities of each answer, and the entropies of each."""
    logprobs, entropies = (pad_sequence(list(rows), batch_first=True) for rows in columns)
    lengths = torch.tensor([len(row) for row in columns[0]])
    mask = torch.arange(logprobs.shape[1]) < lengths[:, None]
    return TokenScores(logprobs, entropies, mask.to(logprobs.device))
