"""Several processes, each with its part of every batch. One process is the case of one.

Exercised by `torchrun --nproc-per-node 2 -m videossr.cli train CONFIG --out RUN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


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

    def mine(self, batch: Sequence[T]) -> list[T]:
        """The part of a batch that is this process's."""
        return list(batch[self.rank :: self.size])

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes, the same everywhere."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        result: list[float] = total.tolist()
        return result

    def gather(self, value: T) -> list[T]:
        """The value of every process, in the order of their ranks, everywhere."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return [each for each in values if each is not None]
