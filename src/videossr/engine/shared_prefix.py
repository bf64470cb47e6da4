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
from functools import partial
from typing import Any

import torch
import transformers
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from videossr.engine.kv_cache import (
    FixedLayer,
    LayerStates,
    cache_argument,
    cache_arguments,
    cache_states,
    empty_cache,
    fixed_cache,
)
from videossr.engine.linear_attention import PackedAnswers, last_inputs, prepare_linear_attention
from videossr.engine.model import Cache, VisionLanguageModel, base_model, has_delta_nets

SHARED = ("qwen3_vl", "qwen3_vl_moe", "qwen2_5_vl", "qwen3_5", "qwen3_5_moe")
"""Model types whose layers look at other tokens through keys and values, or through states that can be handed on."""

ATTENTION = "sdpa"
"""The implementation that takes any mask of what sees what."""


_recomputed = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
"""Compute a layer again in the backward pass; nothing in it is random."""


@dataclass(frozen=True)
class SharedPrefix:
    """The state of a model that has read a prompt, with the graph of how it came to it.

    Attributes:
        logits: (1, V), scores of an answer's first token.
        layers: what each layer keeps, with one row. There are more rows only where it was read several times.
        length: P, tokens of the prompt.
        delta: token k behind the prompt, from 0, has the position P + k + delta.
    """

    logits: torch.Tensor
    layers: tuple[LayerStates, ...]
    length: int
    delta: int

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
    device = prefix.logits.device
    lengths = [len(answer) - 1 for answer in answers]  # what follows an answer's last token is not asked
    first = prefix.logits.expand(len(answers), -1)
    if not sum(lengths):
        return _scores([row[None] for row in first], answers, temperature, banned)
    packed = torch.tensor([token for answer in answers for token in answer[:-1]], device=device)
    owner = torch.repeat_interleave(torch.arange(len(answers)), torch.tensor(lengths)).to(device)
    step = torch.cat([torch.arange(length) for length in lengths]).to(device)
    own_tokens = (owner[:, None] == owner) & (step[:, None] >= step)
    mask = torch.cat([own_tokens.new_ones(len(packed), prefix.length), own_tokens], 1)
    out = model(
        input_ids=packed[None],
        attention_mask=mask[None, None],
        position_ids=following(step[None], prefix.length, prefix.delta),
        **cache_arguments(model, _packed_cache(model, prefix, lengths)),
    )
    behind = torch.split(out.logits[0], lengths)
    rows = [torch.cat([head[None], tail]) for head, tail in zip(first, behind, strict=True)]
    return _scores(rows, answers, temperature, banned)


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
        yield _scores(
            [row[: len(answer)] for row, answer in zip(logits, micro_batch, strict=True)],
            micro_batch,
            temperature,
            banned,
        )


def following(steps: torch.Tensor, length: int | torch.Tensor, delta: int | torch.Tensor) -> torch.Tensor:
    """Return `position_ids` (4, B, N) of text tokens that stand `steps` (B, N) after prompts."""
    counted = steps + length
    return torch.stack([counted, *[counted + delta] * 3])


def allowed_scores(logits: torch.Tensor, banned: Sequence[int]) -> torch.Tensor:
    """Return scores (…, V) float32 of the next token, -inf for tokens that cannot be drawn."""
    scores = logits.float()
    if banned:
        scores = scores.index_fill(-1, torch.tensor(banned, device=scores.device), -torch.inf)
    return scores


@contextmanager
def gradient_checkpointing(model: VisionLanguageModel) -> Iterator[None]:
    """Keep of a pass with gradient only the input of each layer; the backward pass computes the rest once more.

    The gradient checkpointing of transformers would switch the cache off; this keeps the keys and values of a prompt.
    """
    base = base_model(model)
    language, vision = base.model.language_model.layers, base.model.visual.blocks
    for place, layer in enumerate(language):
        layer.forward = partial(_recomputed_layer, layer.forward, cache_argument(layer.forward), place)
    for block in vision:
        block.forward = partial(_recomputed_block, block.forward)
    try:
        yield
    finally:
        for layer in (*language, *vision):
            del layer.forward  # the instance's, so that the class's is seen again


class _Slot:
    """A cache that holds what one layer keeps of the first tokens, as it comes."""

    states: LayerStates

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_more: object, **_named: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.states = LayerStates(key_states, value_states)
        return key_states, value_states

    def get_conv_state(self, *_more: object, **_named: object) -> None:
        """Return the inputs before the first tokens: there are none."""

    get_recurrent_state = get_conv_state

    def has_previous_state(self, *_more: object, **_named: object) -> bool:  # asked up to transformers 5.21
        return False

    def is_recording_past(self, *_more: object) -> bool:
        return True

    def update_conv_state(
        self, conv_states: torch.Tensor, *_more: object, conv_kernel_size: int = 4, **_named: object
    ) -> torch.Tensor:
        self._convolved = last_inputs(conv_states, conv_kernel_size)
        return conv_states

    def update_recurrent_state(self, recurrent_states: torch.Tensor, *_more: object, **_named: object) -> torch.Tensor:
        self.states = LayerStates(self._convolved, recurrent_states, recurrent=True)
        return recurrent_states


def _recomputed_layer(
    forward: Callable[..., object], argument: str, place: int, hidden: torch.Tensor, *more: Any, **named: Any
) -> Any:
    """Run layer `place` of the language model, whose cache is in `named[argument]`.

    What it puts into an empty cache is made an output of the recomputed function.
    """
    cache = named.get(argument)
    if not torch.is_grad_enabled():
        return forward(hidden, *more, **named)
    if cache is None or _is_fixed(cache):
        return _recomputed(partial(forward, **named), hidden, *more)

    def keep(hidden: torch.Tensor) -> tuple[Any, torch.Tensor, torch.Tensor]:
        slot = _Slot()
        out = forward(hidden, *more, **{**named, argument: slot})
        return out, slot.states.first, slot.states.second

    out, first, second = _recomputed(keep, hidden)
    if place < len(cache.layers) and hasattr(cache.layers[place], "states"):
        cache.layers[place].hold(first, second)
    else:
        cache.update(first, second, place)
    return out


def _is_fixed(cache: Cache) -> bool:
    """Tell whether the layers of a cache leave it as it is."""
    return any(isinstance(layer, FixedLayer) for layer in cache.layers)


def _recomputed_block(forward: Callable[..., object], hidden: torch.Tensor, *more: Any, **named: Any) -> Any:
    """Run a block of the vision tower."""
    if not torch.is_grad_enabled():
        return forward(hidden, *more, **named)
    return _recomputed(partial(forward, **named), hidden, *more)


def _delta(inputs: Mapping[str, torch.Tensor]) -> int:
    """Return the `delta` of a prompt: positions go on one after the largest of the prompt."""
    return int(inputs["position_ids"][1:].amax()) + 1 - inputs["input_ids"].shape[1]


def _repeat(name: str, tensor: torch.Tensor, count: int) -> torch.Tensor:
    """Repeat the input of one prompt for `count` rows: patches and grids of all rows stand one after the other."""
    if name == "position_ids":
        return tensor.expand(-1, count, -1)
    return tensor if count == 1 else torch.cat([tensor] * count)


def _scores(
    rows: Sequence[torch.Tensor], answers: Sequence[Sequence[int]], temperature: float, banned: Sequence[int]
) -> TokenScores:
    """Score the tokens of answers by the logits (N, V) of each, N tokens."""
    logs = (allowed_scores(torch.cat(list(rows)), banned) / temperature).log_softmax(-1)
    tokens = torch.tensor([token for answer in answers for token in answer], device=logs.device)
    chosen = logs.gather(-1, tokens[:, None])[:, 0]
    with torch.no_grad():
        entropies = torch.special.entr(logs.exp()).sum(-1)
    lengths = [len(answer) for answer in answers]
    padded = (pad_sequence(list(tensor.split(lengths)), batch_first=True) for tensor in (chosen, entropies))
    logprobs, spread = padded
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return TokenScores(logprobs, spread, mask.to(logs.device))
