"""Go back through the answers of a group first, part by part, and through their prompt afterwards.

In a single backward pass autograd adds up the gradients of a weight from all its uses before the weight gets any of
them. The answers and the prompt use the same weights, so the answers' gradients of all layers would wait in memory for
those of the prompt: 13 GiB for a model of 8 billion bfloat16 weights. In several passes each weight gets them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from videossr.engine.shared_prefix import SharedPrefix, as_leaf


@contextmanager
def split_backward(prefix: SharedPrefix) -> Iterator[SharedPrefix]:
    """Yield a copy of a prefix whose graph ends at the prompt; on exit, go back through the prompt.

        with split_backward(prefix) as leaves:
            loss(answer_scores(model, leaves, answers)).backward()

    The backward pass of the block ends at the log-probabilities of the answers. On exit, one goes through each part of
    the answers (`SCORED_AT_ONCE`), and the last through the prompt. Gradients are those of a single backward pass, up
    to the order in which they are summed.

    Args:
        prefix: what the model kept of a prompt, with its graph. The graph is freed.

    Yields:
        The same numbers as leaves, which share the memory of `prefix`. Where the block made no backward pass, there
        is none through the prompt either.
    """
    cuts: list[tuple[Tensor, Tensor]] = []
    leaves = replace(prefix.changed(as_leaf), cuts=cuts)
    yield leaves
    while cuts:
        _go_back([cuts.pop()])
    _go_back(zip(prefix.tensors(), leaves.tensors(), strict=True))


def _go_back(cut: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Go back through tensors together, each with the gradient that the leaf in its place has got, if it has one."""
    pairs = [(tensor, leaf.grad) for tensor, leaf in cut if leaf.grad is not None]
    if pairs:
        tensors, gradients = zip(*pairs, strict=True)
        torch.autograd.backward(tensors, gradients)
