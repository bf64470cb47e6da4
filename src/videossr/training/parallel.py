"""Train in several processes, each with its own share of every batch. A single process is the same code with one rank.

Each process computes the gradients of its own questions. They are summed over all processes once a step, before they
are divided, clipped and applied: `DataParallel` keeps all weights and the whole optimizer in every process (as DDP),
`FullyShardedParallel` a shard of the gradients and the optimizer (FSDP2). Exercised by
`torchrun --nproc-per-node 2 -m videossr.cli train CONFIG --out RUN`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from videossr.engine.checkpoint import PROBE, PROBE_CLIP
from videossr.engine.model import as_module
from videossr.errors import ConfigError
from videossr.training.optim import Optimizer
from videossr.training.policy import Policy

T = TypeVar("T")

BUCKET = 2**25
"""Numbers that are summed over the processes at once."""

PATIENCE = timedelta(hours=2)
"""How long processes wait for each other: the first one writes checkpoints while the others stand still."""


class World:
    """The processes of a run.

    Attributes:
        rank: of this one, from 0.
        size: how many there are.
    """

    def __init__(self) -> None:
        started = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if started else 0
        self.size = dist.get_world_size() if started else 1

    def shard(self, batch: Sequence[T]) -> list[T]:
        """Return this process's share of a batch."""
        return list(batch[self.rank :: self.size])

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return each value summed over all processes, the same everywhere."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        result: list[float] = total.tolist()
        return result

    def gather(self, value: T) -> list[T]:
        """Return the value of every process, in the order of their ranks, everywhere."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def on_main(self, do: Callable[[], T]) -> T:
        """Run a function in the first process alone; return or raise in all processes what it returns or raises."""
        if self.size == 1:
            return do()
        outcome: list[object] = [None, None]
        if self.rank == 0:
            try:
                outcome[0] = do()
            except Exception as error:  # the others must not wait for what will not come
                outcome[1] = error
        dist.broadcast_object_list(outcome)
        if isinstance(outcome[1], Exception):
            raise outcome[1]
        return cast(T, outcome[0])


@contextmanager
def join_processes() -> Iterator[World]:
    """Join the processes that torchrun has started; without it, this process is alone.

    Raises:
        ConfigError: there are more processes than cards, or this torch has no NCCL.
    """
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        yield World()
        return
    backend = "gloo"
    if torch.cuda.is_available():
        card, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if card >= cards:
            raise ConfigError(f"process {card} of a node with {cards} cards: give torchrun --nproc-per-node {cards}")
        if not dist.is_nccl_available():
            raise ConfigError("this build of torch has no NCCL, by which cards reach each other: install another one")
        torch.cuda.set_device(card)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=PATIENCE)
    yield World()
    dist.destroy_process_group()  # not where something was raised: it would wait for the others


class DataParallel:
    """Every process has all weights and the whole optimizer, and makes the same steps.

    Attributes:
        world: the processes.
        factor: by which a step's gradient is to be multiplied, beside its normalizer.
    """

    factor = 1.0

    def __init__(self, world: World) -> None:
        self.world = world

    def gather(self) -> None:
        """Do nothing before the passes of a step: the weights are whole."""

    def release(self) -> None:
        """Do nothing after a step."""

    def reduce(self, optimizer: Optimizer) -> None:
        """Sum the gradients over the processes, in float32. One that has seen no question adds nothing."""
        if self.world.size == 1:
            return
        present = {name for names in self.world.gather([name for name, _ in optimizer.gradients()]) for name in names}
        bucket: list[torch.Tensor] = []
        for _, gradient in optimizer.gradients(present):
            bucket.append(gradient)
            if sum(tensor.numel() for tensor in bucket) >= BUCKET:
                _add_up(bucket)
                bucket = []
        if bucket:
            _add_up(bucket)

    def discard(self, optimizer: Optimizer) -> None:
        """Forget the gradients instead of making a step."""
        optimizer.zero()


class FullyShardedParallel:
    """Every process has its part of gradient and optimizer. Weights are whole within a step, and gathered once for it.

    So the processes need not agree in how many passes they make: they meet before the first one, and behind the last,
    where each goes back through a tiny prompt whose gradient is 0, and what all have gathered is summed and dealt out.
    The copy that a policy is held to stays whole.

    Attributes:
        world: the processes.
        factor: by which a step's gradient is to be multiplied, beside its normalizer: FSDP2 makes means of sums.
    """

    def __init__(self, world: World, policy: Policy) -> None:
        """Replace the policy's weights by shards of them; make the optimizer after this."""
        self.world = world
        self.factor = float(world.size)
        self._model = policy.model
        self._root = as_module(policy.model)
        self._probe = policy.inputs(policy.checkpoint.build(PROBE, [PROBE_CLIP]))
        shard = partial(
            fully_shard,
            mesh=init_device_mesh(policy.device.type, (world.size,)),
            mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.float32),
            reshard_after_forward=False,
        )
        for block in (*policy.tower.blocks, *policy.layers):
            shard(block)
        shard(self._root)
        with torch.no_grad():  # the first pass settles which modules belong together
            self._model(**self._probe, use_cache=False)
        self.release()
        self._synchronize(False)

    def gather(self) -> None:
        """Make weights whole before the passes of a step, where they are not."""
        for module in self._sharded():
            module.unshard()

    def release(self) -> None:
        """Keep only this process's shard of the weights after a step."""
        for module in self._sharded():
            module.reshard()

    def reduce(self, optimizer: Optimizer) -> None:
        """Sum the gradients over the processes, in float32, and deal them out; weights become shards again."""
        self._synchronize(True)
        scores = self._model(**self._probe, use_cache=False).logits
        torch.autograd.backward(scores, torch.zeros_like(scores))
        self._synchronize(False)

    def discard(self, optimizer: Optimizer) -> None:
        """Forget the gradients instead of making a step; all processes call it.

        They are summed first, since those that are not yet lie with the whole weights, where the optimizer has no part.
        """
        self.reduce(optimizer)
        optimizer.zero()

    def _synchronize(self, now: bool) -> None:
        """Say whether the next backward pass sums the gradients of all processes."""
        assert isinstance(self._root, FSDPModule)  # `fully_shard` has changed its class
        self._root.set_requires_gradient_sync(now)
        self._root.set_reshard_after_backward(now)

    def _sharded(self) -> Iterator[FSDPModule]:
        return (module for module in self._root.modules() if isinstance(module, FSDPModule))


Parallelism: TypeAlias = DataParallel | FullyShardedParallel


def parallelize(policy: Policy, world: World, sharding: str) -> Parallelism:
    """Lay a policy over the processes of a run; make the optimizer after this.

    Args:
        policy: is changed in place where it is sharded.
        world: the processes.
        sharding: "none" or "fsdp", see `RunSettings.sharding`.

    Raises:
        ConfigError: one of several processes would not use its own card.
    """
    index = policy.device.index
    if world.size > 1 and policy.device.type == "cuda" and index not in (None, torch.cuda.current_device()):
        raise ConfigError(f"--run.device={policy.device}: of several processes each takes its own card: use cuda")
    if world.size == 1 or sharding == "none":
        return DataParallel(world)
    return FullyShardedParallel(world, policy)


def _add_up(tensors: Sequence[torch.Tensor]) -> None:
    """Replace tensors by their sums over all processes."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(flat)
    for tensor, summed in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(summed.view(tensor.shape))
