"""Object counting: shapes flash up on a few slots, and the model says how many of each it saw (paper, section 3).

The order of a draw keeps the distribution of the answers exact: how many slots each shape gets, how many instances each
of these slots shows, which slots they are, how large each instance is. None of that is ever drawn again. Only where an
instance lies, how it is turned and its color are retried, by the same rule for one shape and for many.

Exercised by `python -m benchmarks.counting 1000`, which also measures all that is claimed here.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from itertools import product
from statistics import fmean
from typing import Annotated, Any, ClassVar, Self, cast

import numpy as np
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from videossr.answers.checks import Check, independent
from videossr.answers.counts import CountDistribution, Counts, count_distribution
from videossr.measure import Measure
from videossr.perturb.contrast import Lab, disk, near, to_lab
from videossr.perturb.native_shapes import native_share
from videossr.perturb.shapes import SHAPES, Points, outline, paint
from videossr.question import Clip, Frames, Outline, Question, Truth
from videossr.registry import suggest
from videossr.sample import Rejection, Sample
from videossr.tasks.base import Donors, Video
from videossr.templates import PromptTemplates

EIGHTHS = 8
"""Places and sizes are whole eighths of a pixel: exact in JSON, in the comparisons and in the drawing."""
LEAST_SPACE = 4
"""Pixels between the circles of two shapes, however small the frame: their soft edges then never meet."""
ROOM = 0.47
"""Largest share of a square frame that the shapes of a merged group may fill; measured in docs/results/counting.md."""
_EXAMPLE = "3141592653589793"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class CountingConfig:
    """The difficulty of counting. The defaults are the paper's easy setting; hard is 4 slots and 4 instances.

    Raises pydantic.ValidationError for what cannot be satisfied: too few frames for the slots, too little room.
    """

    shapes: Annotated[
        tuple[str, ...], Field(min_length=1, description=f"shapes to count, in the answer's order: {', '.join(SHAPES)}")
    ] = ("circle", "square", "triangle")
    slots_max: Annotated[
        int, Field(ge=1, le=8, description="most slots that show a shape; 1 to this many, uniform")
    ] = 3
    instances_max: Annotated[
        int, Field(ge=1, le=8, description="most instances on such a slot; 1 to this, uniform")
    ] = 3
    min_gap: Annotated[int, Field(ge=0, description="slots of one shape lie more than this many slots apart")] = 8
    frames: Annotated[int, Field(ge=1, le=768, description="slots of the clip")] = 48
    merge: Annotated[
        int, Field(ge=1, le=8, description="slots that the model merges into one; nothing overlaps within such a group")
    ] = 2
    size_min: Annotated[
        float, Field(gt=0, le=1, description="least diameter of the circumscribed circle, as a share of the short side")
    ] = 0.125
    size_max: Annotated[
        float,
        Field(gt=0, le=1, description="largest such diameter, as a share of the short side; uniform between them"),
    ] = 0.24
    min_pixels: Annotated[int, Field(ge=14, description="pixels that the smallest diameter must have in a video")] = 16
    spacing: Annotated[
        float,
        Field(ge=0, le=1, description="least space between circles, as a share of the short side; 4 pixels at least"),
    ] = 0.03
    color_min: Annotated[int, Field(ge=0, le=255, description="least level of a color's channels")] = 50
    color_max: Annotated[int, Field(ge=0, le=255, description="largest level of a color's channels")] = 255
    contrast: Annotated[
        float,
        Field(ge=20, le=100, description="distance in CIE L*a*b* (1976) from the pixels behind and around a shape"),
    ] = 30.0
    lookalikes: Annotated[
        float, Field(ge=0, le=0.02, description="largest share of these pixels that may lie nearer than `contrast`")
    ] = 0.01
    open_share: Annotated[
        float, Field(ge=0.01, le=1, description="share of places and colors with `contrast` that every slot must offer")
    ] = 0.1
    margin: Annotated[
        float, Field(ge=0, le=0.3, description="share of each side, at both its ends, that no shape reaches into")
    ] = 0.0
    native: Annotated[
        float, Field(ge=0, le=1, description="largest share of twelve frames that may show filled shapes of their own")
    ] = 0.2
    gates: Annotated[bool, Field(description="whether every shape must stand out from what lies behind it")] = True
    overlap: Annotated[bool, Field(description="whether shapes may lie on each other")] = False
    tries: Annotated[
        int, Field(ge=50, le=1000, description="places tried for a shape in a layout, and layouts tried for a group")
    ] = 100

    @field_validator("shapes")
    @classmethod
    def _known(cls, shapes: tuple[str, ...]) -> tuple[str, ...]:
        """Each shape is named once."""
        problems = [f"no {name!r}{suggest(name, SHAPES)}" for name in shapes if name not in SHAPES]
        problems += [f"{name!r} is named twice" for name, number in Counter(shapes).items() if number > 1]
        if problems:
            raise ValueError("; ".join(problems))
        return shapes

    @model_validator(mode="after")
    def _check(self) -> Self:
        """`size_min` <= `size_max`, `color_min` <= `color_max`.

        `frames` hold all slots that show a shape, `min_gap` apart; the largest shapes of a merged group fit a square
        frame. The message says by how much they do not.
        """
        problems = []
        if self.size_min > self.size_max or self.color_min > self.color_max:
            problems.append("size_min and color_min must not be above size_max and color_max")
        needed = (self.slots_max - 1) * (self.min_gap + 1) + 1 + (len(self.shapes) - 1) * self.slots_max
        if self.frames < needed:
            problems.append(
                f"{len(self.shapes)} shapes on {self.slots_max} slots more than {self.min_gap} apart need {needed} "
                f"frames, got {self.frames}: raise frames, or lower slots_max or min_gap"
            )
        slots = self.merge if self.min_gap < self.merge - 1 else min(self.merge, len(self.shapes))
        most = 1 if self.overlap else self.instances_max * slots
        spacing = max(self.spacing, LEAST_SPACE * self.size_min / self.min_pixels)  # in the smallest frame admitted
        filled = most * math.pi / 4 * (self.size_max + spacing) ** 2
        room = ROOM * (1 - 2 * self.margin) ** 2
        if filled > room:
            problems.append(
                f"{most} shapes of size_max {self.size_max} and spacing {spacing:.3f} fill {filled:.2f} of a square "
                f"frame, more than {room:.2f}: lower size_max, spacing, margin or instances_max"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self


@plain_dataclass(frozen=True, slots=True)
class Shape:
    """One drawn instance, as `Sample.params["shapes"]` stores it.

    Center, and `size` (diameter of the circumscribed circle) in pixels, whole eighths; `angle` in degrees; RGB `color`.
    """

    name: str
    slot: int
    x: float
    y: float
    size: float
    angle: int
    color: Sequence[int]

    @property
    def points(self) -> Points:
        """Return the corners of the shape."""
        return outline(self.name, self.x, self.y, self.size, self.angle)


def draw_slots(rng: np.random.Generator, needed: Sequence[int], config: CountingConfig) -> list[tuple[int, ...]]:
    """Draw the slots of each shape: `needed[s]` of them for shape s, ascending; no slot serves two shapes.

    The shapes choose one after another, in random order, each uniformly among all sets that keep its own gap and avoid
    the slots already taken. That cannot fail: were the earliest slot chosen each time, a slot that is taken would delay
    a shape by one at most, and `CountingConfig` asks for that many slots.
    """
    free = [True] * config.frames
    chosen: list[tuple[int, ...]] = [()] * len(needed)
    for shape in rng.permutation(len(needed)):
        chosen[shape] = _spread(rng, free, needed[shape], config.min_gap + 1)
        for slot in chosen[shape]:
            free[slot] = False
    return chosen


def _spread(rng: np.random.Generator, free: Sequence[bool], count: int, step: int) -> tuple[int, ...]:
    """Draw one of all sets of `count` free slots at least `step` apart: rank them, first slot first; draw a rank."""
    ways = [[1] * (len(free) + step)]  # ways[j][slot]: sets of j such slots, none before `slot`
    for _ in range(count):
        row = [0] * (len(free) + step)
        for slot in reversed(range(len(free))):
            row[slot] = row[slot + 1] + free[slot] * ways[-1][slot + step]
        ways.append(row)
    rank, slot, chosen = int(rng.integers(ways[count][0])), 0, []
    for left in reversed(range(count)):
        while not free[slot] or rank >= ways[left][slot + step]:
            rank -= free[slot] * ways[left][slot + step]
            slot += 1
        chosen.append(slot)
        slot += step
    return tuple(chosen)


def lay_out(
    rng: np.random.Generator, wanted: Sequence[tuple[str, int, int]], colors: Mapping[int, Lab], config: CountingConfig
) -> list[Shape] | None:
    """Find place, angle and color for all shapes of one group of merged slots, the largest shape first.

    They keep clear of each other unless `config.overlap`, and stand out from what is behind unless not `config.gates`.

    Args:
        rng: the draw's generator.
        wanted: (name, slot, size in eighths of a pixel) of each shape.
        colors: the frame (H, W, 3) of each slot, as `to_lab` gives it.
        config: spacing, contrast, colors, tries.

    Returns:
        The shapes; None when `config.tries` layouts all left one without a place.
    """
    for _ in range(config.tries):
        placed: list[Shape] = []
        for name, slot, size in sorted(wanted, key=lambda shape: -shape[2]):
            shape = _place(rng, name, slot, size, placed, colors[slot], config)
            if shape is None:
                break
            placed.append(shape)
        else:
            return placed
    return None


def _place(
    rng: np.random.Generator, name: str, slot: int, size: int, placed: Sequence[Shape], lab: Lab, config: CountingConfig
) -> Shape | None:
    height, width = lab.shape[:2]
    space = _space(config, min(height, width))
    border = (size + 1) // 2 + EIGHTHS  # a pixel more than the circle: its soft edge stays inside too
    left, top = (border + math.ceil(config.margin * side * EIGHTHS) for side in (width, height))
    for _ in range(config.tries):
        x = int(rng.integers(left, width * EIGHTHS - left, endpoint=True))
        y = int(rng.integers(top, height * EIGHTHS - top, endpoint=True))
        angle = int(rng.integers(360))
        color = rng.integers(config.color_min, config.color_max, size=3, endpoint=True, dtype=np.uint8)
        if not config.overlap and any(
            4 * ((x - other.x * EIGHTHS) ** 2 + (y - other.y * EIGHTHS) ** 2)
            < (size + other.size * EIGHTHS + 2 * space) ** 2
            for other in placed
        ):
            continue
        behind = disk(lab, x / EIGHTHS, y / EIGHTHS, (size / 2 + space) / EIGHTHS)
        if not config.gates or near(behind, to_lab(color), config.contrast).mean() <= config.lookalikes:
            return Shape(name, slot, x / EIGHTHS, y / EIGHTHS, size / EIGHTHS, angle, color.tolist())
    return None


def _space(config: CountingConfig, short_side: int) -> int:
    return max(LEAST_SPACE * EIGHTHS, round(config.spacing * short_side * EIGHTHS))


def _open_share(frame: Frames, config: CountingConfig) -> float:
    """Measure the share of (tile of the frame (H, W, 3), color) pairs of enough contrast, on a coarse grid of both."""
    short_side = min(frame.shape[:2])
    side = min(short_side, int(config.size_max * short_side + 2 * _space(config, short_side) / EIGHTHS))
    stride = max(1, side // 8)
    side //= stride
    lab = to_lab(frame[stride // 2 :: stride, stride // 2 :: stride])
    down, across = lab.shape[0] // side, lab.shape[1] // side
    tiles = lab[: down * side, : across * side].reshape(down, side, across, side, 3).swapaxes(1, 2)
    levels = np.linspace(config.color_min, config.color_max, 3).astype(np.uint8)
    palette = to_lab(np.array(list(product(levels, repeat=3)), np.uint8))
    alike = near(tiles.reshape(down * across, side * side, 1, 3), palette, config.contrast).mean(axis=1)
    return float((alike <= config.lookalikes).mean())


class Counting:
    """The counting task, registered as ``counting``."""

    name = "counting"
    Config = CountingConfig
    answer_type = Counts(names=("circles", "squares", "triangles"))
    difficulty_labels: ClassVar[Mapping[str, str]] = {
        "shapes": "shapes that are drawn",
        "slots": "slots that show a shape",
        "size": "smallest diameter, pixels",
    }

    def required_frames(self, config: CountingConfig) -> tuple[int, int]:
        """Return the slots of a clip, and the frames that a pack must hold for each."""
        return config.frames, 1

    def gates(self, video: Video, config: CountingConfig) -> Iterator[Measure]:
        """Gates: too_small (pixels), no_contrast (share of tries), native_shapes (share); none without `gates`."""
        if not config.gates:
            return
        yield Measure("too_small", config.size_min * min(video.size), config.min_pixels, setting="min_pixels")
        frames = video.subsample(config.frames).frames
        open_share = min(_open_share(frame, config) for frame in frames)
        yield Measure("no_contrast", open_share, config.open_share, setting="open_share")
        if config.native < 1:
            share = native_share(frames, config.shapes)
            yield Measure("native_shapes", share, config.native, least=False, setting="native")

    def draw(
        self, video: Video, category: str, config: CountingConfig, rng: np.random.Generator, donors: Donors
    ) -> Sample | Rejection:
        """Draw a sample of an admitted video. Reason: no_room (shapes in the group, layouts tried)."""
        short_side = min(video.size)
        smallest = math.ceil(config.size_min * short_side * EIGHTHS)
        largest = max(smallest, math.floor(config.size_max * short_side * EIGHTHS))
        stride = video.density(config.frames)
        needed = [int(n) for n in rng.integers(1, config.slots_max, size=len(config.shapes), endpoint=True)]
        shown = [[int(n) for n in rng.integers(1, config.instances_max, size=n, endpoint=True)] for n in needed]
        groups: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
        for name, slots, instances in zip(config.shapes, draw_slots(rng, needed, config), shown, strict=True):
            for slot, count in zip(slots, instances, strict=True):
                sizes = rng.integers(smallest, largest, size=count, endpoint=True)
                groups[slot // config.merge] += [(name, slot, int(size)) for size in sizes]
        shapes: list[Shape] = []
        for _, wanted in sorted(groups.items()):
            slots_shown = {slot for _, slot, _ in wanted}
            placed = lay_out(rng, wanted, {slot: to_lab(video.frames[slot * stride]) for slot in slots_shown}, config)
            if placed is None:
                return Rejection("no_room", len(wanted), config.tries)
            shapes += placed
        shapes.sort(key=lambda shape: (shape.slot, shape.x, shape.y))
        return Sample(
            task=self.name,
            category=category,
            sources=(video.key,),
            slots=tuple((0, slot * stride) for slot in range(config.frames)),
            clock=video.clock.subsample(config.frames),
            size=video.size,
            params={"names": list(config.shapes), "shapes": [asdict(shape) for shape in shapes]},
            answer=",".join(str(sum(instances)) for instances in shown),
        )

    def render(self, frames: Frames, sample: Sample) -> list[Clip]:
        """Render one clip: a copy of `frames` (T, H, W, 3) with every shape painted on its slot."""
        painted = frames.copy()
        for shape in shapes_of(sample):
            paint(painted[shape.slot], shape.points, shape.color)
        return [Clip(painted, sample.clock)]

    def question(self, sample: Sample, templates: PromptTemplates) -> Question:
        """Fill {names} (plural, in the answer's order) and {example} into the templates' ``counting.prompt``."""
        names = [name + ("es" if name.endswith("s") else "s") for name in cast(list[str], sample.params["names"])]
        example = ",".join(_EXAMPLE[: len(names)])
        prompt = templates["counting"]["prompt"].strip().format(names=", ".join(names), example=example)
        return Question(
            id=sample.id,
            data_source=f"videossr/{self.name}",
            system=templates["system"]["text"],
            prompt=prompt,
            answer=sample.answer,
            clocks=(sample.clock,),
        )

    def truth(self, sample: Sample) -> Truth:
        """Return the outline of every shape."""
        return Truth(outlines=tuple(Outline(shape.slot, shape.name, shape.points) for shape in shapes_of(sample)))

    def difficulty(self, sample: Sample) -> Mapping[str, float | str]:
        """`shapes` that are drawn, `slots` that show one, and the smallest diameter as a `size` in pixels."""
        shapes = shapes_of(sample)
        return {
            "shapes": len(shapes),
            "slots": len({shape.slot for shape in shapes}),
            "size": min(shape.size for shape in shapes),
        }

    def answer_distribution(self, config: CountingConfig) -> CountDistribution:
        """Return the distribution of the counts, which is the same for every shape."""
        totals = count_distribution(config.slots_max, config.instances_max)
        return CountDistribution(len(config.shapes), totals, config.shapes)

    def checks(self, samples: Sequence[Sample]) -> Iterator[Check]:
        """Test that the count of a shape shows neither in how large its instances are, nor in their color."""
        counts, sizes, colors = [], [], []
        for sample in samples:
            shapes = shapes_of(sample)
            for name in sorted({shape.name for shape in shapes}):
                alike = [shape for shape in shapes if shape.name == name]
                counts.append(len(alike))
                sizes.append(fmean(shape.size for shape in alike) / min(sample.size))
                colors.append(fmean(fmean(shape.color) for shape in alike))
        yield independent("size tells the count", counts, sizes)
        yield independent("color tells the count", counts, colors)


def shapes_of(sample: Sample) -> list[Shape]:
    """List every instance that a sample draws, by slot."""
    return [Shape(**entry) for entry in cast(list[dict[str, Any]], sample.params["shapes"])]
