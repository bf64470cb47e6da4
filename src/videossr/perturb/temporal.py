"""Temporal perturbations (paper, anomaly grounding): they choose which frame a slot shows and never alter its time.

The first and the last slot of a segment always show another frame than they would without the perturbation, unless
`Strengths.shift` is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from videossr.perturb.strengths import Strengths


@dataclass(frozen=True)
class Order:
    """A rearrangement of a segment.

    Attributes:
        draw: length of the segment -> for each of its slots, the offset of the frame shown there.
        least_shift: by how many slots the frames in the first and in the last slot are moved, at the least; 1 or more.
    """

    draw: Callable[[int, Strengths, np.random.Generator], list[int]]
    least_shift: Callable[[Strengths], int]


def shuffle(length: int, strengths: Strengths, rng: np.random.Generator) -> list[int]:
    """A uniform permutation among those that move the first and last frame by at least `shift` slots.

    With a `shift` of 0 that is any, the identity too.
    """
    while True:
        order = rng.permutation(length)
        if order[0] >= strengths.shift and order[-1] <= length - 1 - strengths.shift:
            return [int(offset) for offset in order]


def stutter(length: int, strengths: Strengths, rng: np.random.Generator) -> list[int]:
    """Cut the segment at random into holds of two slots or more, each showing one of its own frames throughout.

    The first hold never shows the first frame of the segment, the last one never the last.
    """
    least, most = strengths.holds
    most = min(most, length // 2)
    holds = int(rng.integers(min(least, most), most + 1))
    cuts = np.sort(rng.choice(length - holds - 1, holds - 1, replace=False)) + np.arange(1, holds) + 1
    starts = [0, *(int(cut) for cut in cuts), length]
    order: list[int] = []
    for start, stop in pairwise(starts):
        low = start + (start == 0)
        high = stop - (stop == length)
        order += [int(rng.integers(low, high))] * (stop - start)
    return order


ORDERS: dict[str, Order] = {
    "shuffle": Order(shuffle, lambda strengths: max(1, strengths.shift)),
    "stutter": Order(stutter, lambda strengths: 1),
}

SPEEDS: dict[str, Callable[[Strengths], float]] = {
    "slow": lambda strengths: strengths.slow,
    "fast": lambda strengths: strengths.fast,
}


def strides(speed: float, density: int, slots: int, longest: int) -> tuple[int, int]:
    """Frames of the pack per slot, (outside, inside) of a segment of up to `longest` slots with the scene at `speed`.

    The pack holds `density` frames a slot. Of the pairs of whole strides that fit into it, the one that covers most of
    the video. Raises ValueError when there is none.
    """
    ratio = Fraction(speed).limit_denominator(64)
    for outside in range(density, 0, -1):
        inside = outside * ratio
        if inside.denominator == 1 and outside * (slots - longest) + inside * longest <= density * slots:
            return outside, int(inside)
    raise ValueError(f"a speed of {speed} cannot be shown from {density} frames a slot")


def least_density(speed: float, slots: int, longest: int) -> int:
    """The fewest frames a slot from which a segment at `speed` can be shown."""
    density = 1
    while True:
        try:
            strides(speed, density, slots, longest)
        except ValueError:
            density += 1
        else:
            return density
