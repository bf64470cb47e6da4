"""Temporal perturbations (paper, anomaly grounding): they choose which frame a slot shows and never alter its time.

The first and the last slot of a rearranged segment always show another frame than they would without it, unless
`Strengths.shift` is 0. A change of speed shows in the steps out of the slots of its segment.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from videossr.perturb.strengths import Strengths

Draw: TypeAlias = Callable[[int, Strengths, np.random.Generator], list[int]]
"""Length of a segment -> for each of its slots, the offset of the frame shown there."""


def shuffle(
    length: int,
    strengths: Strengths,
    rng: np.random.Generator,
    firsts: Collection[int] | None = None,
    lasts: Collection[int] | None = None,
) -> list[int]:
    """Draw a uniform permutation among those that move the first and last frame by at least `strengths.shift` slots.

    With a `shift` of 0 that is any, the identity too.

    Args:
        length: of the segment, in slots.
        strengths: `shift`.
        rng: what is drawn from.
        firsts: offsets of the frames that may be shown in the first slot, where these are fewer; see `outermost`.
        lasts: the same for the last slot.
    """
    heads, tails = outermost(length, strengths)
    pairs = [
        (head, tail)
        for head in (heads if firsts is None else firsts)
        for tail in (tails if lasts is None else lasts)
        if head != tail
    ]
    head, tail = pairs[int(rng.integers(len(pairs)))]
    inner = rng.permutation([offset for offset in range(length) if offset not in (head, tail)])
    return [head, *(int(offset) for offset in inner), tail]


def outermost(length: int, strengths: Strengths) -> tuple[range, range]:
    """Offsets of the frames that a shuffle may show in the first and in the last slot of a segment."""
    return range(strengths.shift, length), range(length - strengths.shift)


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


ORDERS: dict[str, Draw] = {"shuffle": shuffle, "stutter": stutter}

SPEEDS: dict[str, Callable[[Strengths], float]] = {
    "slow": lambda strengths: strengths.slow,
    "fast": lambda strengths: strengths.fast,
}


def strides(speed: float, density: int, slots: int, longest: int) -> list[tuple[int, int]]:
    """List the frames of the pack per slot, (outside, inside) of a segment of up to `longest` slots at `speed`.

    The pack holds `density` frames a slot. All pairs of whole strides that fit into it; those that cover most of the
    video come first. Raises ValueError when there is none.
    """
    ratio = Fraction(speed).limit_denominator(64)
    found = []
    for outside in range(density, 0, -1):
        inside = outside * ratio
        if (
            inside.denominator == 1
            and inside >= 1
            and outside * (slots - longest) + inside * longest <= density * slots
        ):
            found.append((outside, int(inside)))
    if not found:
        raise ValueError(f"a speed of {speed} cannot be shown from {density} frames a slot")
    return found


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
