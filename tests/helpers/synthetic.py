"""Samples without pixels, drawn from the distributions of the tasks or from skewed ones, to test the checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from videossr.clock import uniform_clock
from videossr.sample import JSON, Sample, VideoKey

KEY = VideoKey("a" * 64, "b" * 64)
SHAPES = ("circle", "square", "triangle")
CLOCKS = [uniform_clock(48, duration) for duration in range(6000, 96001, 1000)]


def segment(first: int, last: int, clock: int = 42) -> Sample:
    """A grounding sample; `clock` is an index into CLOCKS."""
    start, end = CLOCKS[clock].span(first, last)
    params: dict[str, JSON] = {"perturbation": "mirror", "first": first, "last": last, "strength": {}}
    return Sample("grounding", "g", (KEY,), (), CLOCKS[clock], (64, 64), params, f"{start:.1f}-{end:.1f}")


def segments(rng: np.random.Generator, count: int) -> list[Sample]:
    """The distribution of spans: length uniform in 8..16, place uniform given the length, clip of any duration."""
    found = []
    for length, clock in zip(rng.integers(8, 17, count), rng.integers(len(CLOCKS), size=count), strict=True):
        first = int(rng.integers(0, 48 - length + 1))
        found.append(segment(first, first + int(length) - 1, int(clock)))
    return found


def counted(
    rng: np.random.Generator,
    counts: Sequence[int],
    size: Callable[[int], float] = lambda count: 0.0,
    color: Callable[[int], float] = lambda count: 0.0,
) -> Sample:
    """A counting sample; `size` and `color` say what is added to the drawn ones for a count."""
    shapes: list[JSON] = []
    for name, count in zip(SHAPES, counts, strict=True):
        sizes = rng.uniform(8, 16, count) + size(count)
        colors = rng.uniform(50, 255, (count, 3)) + color(count)
        for drawn, level in zip(sizes.tolist(), colors.tolist(), strict=True):
            shapes.append({"name": name, "slot": 0, "x": 32, "y": 32, "size": drawn, "angle": 0, "color": level})
    answer = ",".join(map(str, counts))
    return Sample("counting", "c", (KEY,), (), CLOCKS[0], (64, 64), {"names": [*SHAPES], "shapes": shapes}, answer)


def counts(rng: np.random.Generator, most: int, samples: int) -> list[list[int]]:
    """The distribution for each shape: 1 to `most` slots, 1 to `most` instances on each, all uniform."""
    instances = rng.integers(1, most + 1, (samples, len(SHAPES), most))
    shown = np.arange(most) < rng.integers(1, most + 1, (samples, len(SHAPES), 1))
    drawn: list[list[int]] = (instances * shown).sum(axis=2).tolist()
    return drawn


def answered(counts: Sequence[int]) -> Sample:
    """A counting sample whose shapes are not there: the checks look at the answer alone."""
    return Sample(
        "counting", "c", (KEY,), (), CLOCKS[0], (64, 64), {"names": [*SHAPES], "shapes": []}, ",".join(map(str, counts))
    )


def permuted(order: Sequence[int]) -> Sample:
    """A jigsaw sample that shows the pieces in this order."""
    answer = "".join(str(list(order).index(piece) + 1) for piece in range(len(order)))
    return Sample("jigsaw", "j", (KEY,), (), CLOCKS[0], (64, 64), {"order": [*order], "gap": 0}, answer)


def permutation(rng: np.random.Generator, pieces: int) -> list[int]:
    """The distribution of orders: uniform, but never the identity."""
    while True:
        order = [int(piece) for piece in rng.permutation(pieces)]
        if order != sorted(order):
            return order
