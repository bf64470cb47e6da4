"""Samples without pixels, drawn from the distributions of the tasks or with given values, to test validation checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from videossr.clock import uniform_clock
from videossr.sample import JSON, Sample, VideoKey

KEY = VideoKey("a" * 64, "b" * 64)
SHAPES = ("circle", "square", "triangle")
CLOCKS = [uniform_clock(48, duration) for duration in range(6000, 96001, 1000)]


def grounding_sample(first: int, last: int, clock: int = 42) -> Sample:
    """Make a grounding sample; `clock` is an index into CLOCKS."""
    start, end = CLOCKS[clock].span(first, last)
    params: dict[str, JSON] = {"perturbation": "mirror", "first": first, "last": last, "strength": {}}
    return Sample("grounding", "g", (KEY,), (), CLOCKS[clock], (64, 64), params, f"{start:.1f}-{end:.1f}")


def draw_grounding_samples(rng: np.random.Generator, count: int) -> list[Sample]:
    """Draw grounding samples: length uniform in 8..16, place uniform given the length, clip of any duration."""
    samples = []
    for length, clock in zip(rng.integers(8, 17, count), rng.integers(len(CLOCKS), size=count), strict=True):
        first = int(rng.integers(0, 48 - length + 1))
        samples.append(grounding_sample(first, first + int(length) - 1, int(clock)))
    return samples


def counting_sample(
    rng: np.random.Generator,
    counts_by_shape: Sequence[int],
    size: Callable[[int], float] = lambda count: 0.0,
    color: Callable[[int], float] = lambda count: 0.0,
) -> Sample:
    """Make a counting sample; `size` and `color` return what is added to drawn sizes and colors for a count."""
    shapes: list[JSON] = []
    for name, count in zip(SHAPES, counts_by_shape, strict=True):
        sizes = rng.uniform(8, 16, count) + size(count)
        colors = rng.uniform(50, 255, (count, 3)) + color(count)
        for drawn, level in zip(sizes.tolist(), colors.tolist(), strict=True):
            shapes.append({"name": name, "slot": 0, "x": 32, "y": 32, "size": drawn, "angle": 0, "color": level})
    answer = ",".join(map(str, counts_by_shape))
    return Sample("counting", "c", (KEY,), (), CLOCKS[0], (64, 64), {"names": [*SHAPES], "shapes": shapes}, answer)


def draw_counts(rng: np.random.Generator, most: int, samples: int) -> list[list[int]]:
    """Draw counts of each shape: 1 to `most` slots, 1 to `most` instances on each, all uniform."""
    instances = rng.integers(1, most + 1, (samples, len(SHAPES), most))
    is_shown = np.arange(most) < rng.integers(1, most + 1, (samples, len(SHAPES), 1))
    result: list[list[int]] = (instances * is_shown).sum(axis=2).tolist()
    return result


def answer_only_counting_sample(counts_by_shape: Sequence[int]) -> Sample:
    """Make a counting sample without shapes, for checks that only read the answer."""
    return Sample(
        "counting",
        "c",
        (KEY,),
        (),
        CLOCKS[0],
        (64, 64),
        {"names": [*SHAPES], "shapes": []},
        ",".join(map(str, counts_by_shape)),
    )


def jigsaw_sample(order: Sequence[int]) -> Sample:
    """Make a jigsaw sample that shows the pieces in this order."""
    answer = "".join(str(list(order).index(piece) + 1) for piece in range(len(order)))
    return Sample("jigsaw", "j", (KEY,), (), CLOCKS[0], (64, 64), {"order": [*order], "gap": 0}, answer)


def draw_order(rng: np.random.Generator, pieces: int) -> list[int]:
    """Draw an order of pieces: uniform, but never the identity."""
    while True:
        order = [int(piece) for piece in rng.permutation(pieces)]
        if order != sorted(order):
            return order
