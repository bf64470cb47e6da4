"""Temporal perturbations (paper, anomaly grounding): another order of a segment's own frames, at unaltered times.

The first and the last slot of a segment always show another frame than they would without the change, unless
`Strengths.shift` is 0.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from videossr.measure import Measure
from videossr.perturb.base import Drawn, Perturbation, Segment, SegmentConfig, own_slots
from videossr.perturb.gates import Steps, hidden_motion, no_course, steps
from videossr.perturb.strengths import Strengths
from videossr.perturb.video import Donors, Video

Outermost: TypeAlias = Callable[[int], tuple[Sequence[int], Sequence[int]]]
"""Length of a segment -> offsets of the frames that may be shown in its first slot, and in its last slot."""


class OrderPerturbation(Perturbation):
    """A perturbation that shows the frames of a segment in another order, or some of them only."""

    leaves_no_traces = True

    @abstractmethod
    def order(self, video: Video, segment: Segment, config: SegmentConfig, rng: np.random.Generator) -> Sequence[int]:
        """Draw the order.

        Args:
            video: that is shown, for a perturbation that looks for frames which differ.
            segment: the slots that are altered.
            config: of the category.
            rng: the only source of chance.

        Returns:
            For each slot of the segment, the offset of the frame shown there, from 0 to `segment.length` - 1.
        """

    def draw(
        self, video: Video, segment: Segment, config: SegmentConfig, rng: np.random.Generator, donors: Donors
    ) -> Drawn:
        """Draw the order; the segment shows its own frames in it."""
        order = [int(offset) for offset in self.order(video, segment, config, rng)]
        slots = own_slots(video, config)
        slots[segment.slots] = [slots[segment.first + offset] for offset in order]
        return Drawn(slots, {"order": [*order]})


class Shuffle(OrderPerturbation):
    """The frames in a random order."""

    name = "shuffle"
    text = "For part of this video, the frames have been put in a wrong order."
    steps_at_ends = True

    def problems(self, config: SegmentConfig) -> Iterator[str]:
        shortest, shift = config.length[0], config.strengths.shift
        if shortest <= 2 * shift:
            yield f"shuffle: segments of {shortest} slots cannot move their ends by {shift}"

    def always_changes(self, config: SegmentConfig) -> bool:
        return config.strengths.shift > 0

    def gates(self, video: Video, config: SegmentConfig) -> Iterator[Measure]:
        shown = video.subsample(config.frames)
        yield from hidden_ends(shown, config, lambda length: outermost(length, config.strengths))
        yield no_course(shown.features.pictures, 1, config.limits)

    def order(self, video: Video, segment: Segment, config: SegmentConfig, rng: np.random.Generator) -> list[int]:
        if not config.gates:
            return shuffle(segment.length, config.strengths, rng)
        compared = steps(video.subsample(config.frames).features)
        factors = end_factors(compared, segment, config, outermost(segment.length, config.strengths))
        heads, tails = ([o for o, factor in end.items() if factor >= config.limits.ends] for end in factors)
        return shuffle(segment.length, config.strengths, rng, heads, tails)


class Stutter(OrderPerturbation):
    """Frames that are held, one after the other."""

    name = "stutter"
    text = "For part of this video, the motion stutters: the picture freezes, jumps, and freezes again."

    def gates(self, video: Video, config: SegmentConfig) -> Iterator[Measure]:
        pictures = video.subsample(config.frames).features.pictures
        yield hidden_motion(pictures, range(1, config.length[1] + 1), config.limits)

    def order(self, video: Video, segment: Segment, config: SegmentConfig, rng: np.random.Generator) -> list[int]:
        return stutter(segment.length, config.strengths, rng)


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
    """Return the offsets of the frames that a shuffle may show in the first and in the last slot of a segment."""
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


def hidden_ends(shown: Video, config: SegmentConfig, outermost: Outermost) -> Iterator[Measure]:
    """Measure whether both ends of every segment that may be drawn can be seen in some of its orders.

    First the motion by which a frame in the first and one in the last slot differ from those that are due there; then,
    among the frames that do so by the least motion, the steps at the borders, as factors on the scene's own.

    Args:
        shown: the video with as many frames as the clip has slots.
        config: of the category.
        outermost: which frames of a segment may be shown in its first and in its last slot, by its length.

    Yields:
        The gate hidden_ends, first by the motion and then by the factors.
    """
    compared = steps(shown.features)
    motion = factor = np.inf
    for length in range(config.length[0], config.length[1] + 1):
        offsets = outermost(length)
        for first in range(config.frames - length + 1):
            segment = Segment(first, first + length - 1)
            moved = [
                {offset: float(compared.motion[due, first + offset]) for offset in end}
                for due, end in zip((segment.first, segment.last), offsets, strict=True)
            ]
            motion = min(motion, _least_of_both(*moved))
            factor = min(factor, _least_of_both(*end_factors(compared, segment, config, offsets)))
    yield Measure("hidden_ends", motion, config.limits.motion)  # no setting: the factors depend on it too
    yield Measure("hidden_ends", factor, config.limits.ends, setting="limits.ends")


def _least_of_both(heads: Mapping[int, float], tails: Mapping[int, float]) -> float:
    """Return the largest value that two different offsets reach, one of `heads` and one of `tails`; 0 where none do."""
    offsets = sorted((max(heads.get(o, 0.0), tails.get(o, 0.0)) for o in {*heads, *tails}), reverse=True)
    return min(max(heads.values()), max(tails.values()), offsets[1]) if heads and tails and len(offsets) > 1 else 0.0


def end_factors(
    compared: Steps, segment: Segment, config: SegmentConfig, offsets: tuple[Sequence[int], Sequence[int]]
) -> tuple[dict[int, float], dict[int, float]]:
    """Compare the steps into and out of a segment with the scene's own, for each frame that may be shown at its ends.

    Args:
        compared: the steps between any two frames of the clip.
        segment: the slots that are altered.
        config: `limits.motion` is the least motion by which a frame differs from the one that is due.
        offsets: of the frames that may be shown in the first slot, and in the last slot.

    Returns:
        For the first and for the last slot, the factors by offset, of frames that differ from the due one. A segment at
        the start or the end of a clip has no border there, and the factor is infinite.
    """
    heads, tails = offsets
    first, last, after = segment.first, segment.last, segment.last + 1
    least = config.limits.motion
    return (
        {
            offset: float(compared.factors[first - 1, first + offset]) if first else np.inf
            for offset in heads
            if compared.motion[first, first + offset] >= least
        },
        {
            offset: float(compared.factors[after, first + offset]) if after < config.frames else np.inf
            for offset in tails
            if compared.motion[last, first + offset] >= least
        },
    )
