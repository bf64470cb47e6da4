"""Changes of speed (paper, anomaly grounding): frames of a denser pack are shown, each at the usual time.

A change of speed shows in the steps out of the slots of its segment. Whether it would be seen is measured on all frames
of a pack, before anything is drawn.

How fast a scene moves is the median color change (CIE76) over blocks of about 10 x 10 pixels from one shown frame to
the next: that of a camera or a crowd, and not of one small thing. A stretch in slow or fast motion can be told from
what surrounds it only where the scene's own speed is steady: the motion inside must be smaller (slow) or larger (fast)
than before it, after it, and on both sides together, and no cut may lie in what is compared.

A pack has more frames than a clip shows, so a clip may start at several of them. It starts at one from which *every*
stretch that may be drawn can be told. So the stretch is drawn without a look at the pixels, and neither the frames that
are shown nor the clip's length say anything about where it lies.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.clock import Clock
from videossr.measure import Measure
from videossr.perturb.base import SHORTEST, Drawn, Params, Perturbation, Segment, SegmentConfig, shortest_segment
from videossr.perturb.gates import Floats, Limits, hard_cuts
from videossr.perturb.video import Donors, Video
from videossr.question import Frames

BLOCK = 10
"""Side of a block in pixels, about."""

SIDE = 6
"""Steps before and after a stretch that it is compared with."""

FEWEST = 3
"""Steps on one side of a stretch that are needed to compare it with this side alone."""

Doubles = NDArray[np.float64]

Strides: TypeAlias = tuple[int, int]
"""Frames of the pack from one slot to the next, (outside, inside) of a segment."""


class SpeedPerturbation(Perturbation):
    """A perturbation that shows a segment faster or slower than the rest."""

    hidden_by_cuts = True
    leaves_no_traces = True

    @abstractmethod
    def speed(self, config: SegmentConfig) -> float:
        """Return how many times as fast as in nature the scene moves in a segment."""

    def problems(self, config: SegmentConfig) -> Iterator[str]:
        if config.length[1] > config.frames - 8:
            yield f"length {config.length}: slow and fast need most <= frames - 8, to compare it with the rest"

    def density(self, config: SegmentConfig) -> int:
        return least_density(self.speed(config), config.frames, config.length[1])

    def starts(self, length: int, config: SegmentConfig) -> range:
        """Leave out the last slot of a clip: no step leads out of it."""
        return range(config.frames - length)

    def clocks(self, video: Video, config: SegmentConfig) -> list[Clock]:
        """Return those of all strides that may be shown; a clip shows a part of the video."""
        pairs = self._strides(video, config)
        return [_clock(video, pair, config) for pair in (pairs if config.gates else pairs[:1])]

    def requirements(self, video: Video, config: SegmentConfig) -> Iterator[Measure]:
        yield Measure("uneven_clock", video.clock.jitter_ms, 1, least=False)

    def gates(self, video: Video, config: SegmentConfig) -> Iterator[Measure]:
        factor = max(float(factors.max()) for _, factors in self._paces(video, config))
        yield Measure("hidden_speed", factor, config.limits.speed, setting="limits.speed")

    def draw(
        self, video: Video, segment: Segment, config: SegmentConfig, rng: np.random.Generator, donors: Donors
    ) -> Drawn:
        (outside, inside), start = self._start(video, config, rng)
        steps = [inside if segment.first <= slot <= segment.last else outside for slot in range(config.frames - 1)]
        slots = [(0, int(frame)) for frame in np.cumsum([start, *steps])]
        return Drawn(slots, {"strides": [outside, inside]}, clock=_clock(video, (outside, inside), config))

    def natural_frames(self, shown: Sequence[int], segment: Segment, spacing: int, params: Params) -> list[int]:
        """Follow the usual stride from the first slot of the segment, which still shows what it would show anyway."""
        strides = params.get("strides")
        if not isinstance(strides, list) or not isinstance(strides[0], int):
            raise TypeError(f"strides must be two whole numbers, got {strides!r}")
        return [shown[segment.first] + slot * strides[0] for slot in range(segment.length)]

    def _start(self, video: Video, config: SegmentConfig, rng: np.random.Generator) -> tuple[Strides, int]:
        """Choose the strides, and a frame to start at from which every stretch that may be drawn can be told.

        Neither looks at the stretch that was drawn, so the frames that are shown say nothing about it.
        """
        if not config.gates:
            outside, inside = self._strides(video, config)[0]
            longest = max(outside * (config.frames - 1 - length) + inside * length for length in config.length)
            return (outside, inside), int(rng.integers(len(video.clock) - longest))
        usable = (
            (pair, np.flatnonzero(factors >= config.limits.speed)) for pair, factors in self._paces(video, config)
        )
        pair, starts = next((pair, starts) for pair, starts in usable if len(starts))
        return pair, int(rng.choice(starts))

    def _strides(self, video: Video, config: SegmentConfig) -> list[Strides]:
        return strides(self.speed(config), video.density(config.frames), config.frames, config.length[1])

    def _paces(self, video: Video, config: SegmentConfig) -> Iterator[tuple[Strides, Doubles]]:
        """Yield pairs of strides, each with how well every stretch can be told, by the frame that a clip starts at."""
        for pair in self._strides(video, config):
            if shortest_segment(_clock(video, pair, config), config.length[0]) >= SHORTEST:
                scene = pace(video.frames, video.features.pictures, pair, config.frames, config.limits)
                yield pair, scene.starts(config.length, config.limits)


class Slow(SpeedPerturbation):
    """Slow motion."""

    name = "slow"
    text = (
        "For part of this video, the scene moves in slow motion. Timestamps stay evenly spaced throughout; "
        "judge by the motion alone."
    )

    def speed(self, config: SegmentConfig) -> float:
        return config.strengths.slow


class Fast(SpeedPerturbation):
    """Fast motion."""

    name = "fast"
    text = (
        "For part of this video, the scene moves in fast motion. Timestamps stay evenly spaced throughout; "
        "judge by the motion alone."
    )

    def speed(self, config: SegmentConfig) -> float:
        return config.strengths.fast


def _clock(video: Video, pair: Strides, config: SegmentConfig) -> Clock:
    """Return the clock of a clip whose slots are as many frames apart as the first of `pair` says."""
    return video.clock.slice(0, config.frames * pair[0]).subsample(config.frames)


def blocks(frames: Frames) -> Floats:
    """Average frames (N, H, W, 3) over blocks: (N, about H / 10, about W / 10, 3) in CIE Lab."""
    height, width = (max(1, side // BLOCK) for side in frames.shape[1:3])
    small = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames]
    colors = np.stack(small).astype(np.float32) / 255
    lab = cv2.cvtColor(colors.reshape(len(frames) * height, width, 3), cv2.COLOR_RGB2LAB)
    return np.asarray(lab, np.float32).reshape(colors.shape)


def motion(pictures: Floats, stride: int) -> Doubles:
    """Measure the motion from each frame to the one `stride` later (N - stride,): the median change of its blocks."""
    changes = np.linalg.norm(pictures[stride:] - pictures[:-stride], axis=-1)
    return np.asarray(np.median(changes.reshape(len(changes), -1), axis=-1), np.float64)


@dataclass(frozen=True)
class Pace:
    """The motion of a scene, for stretches at one pair of strides.

    Attributes:
        frames: of the pack.
        strides: frames of the pack from one slot to the next, (outside, inside) of a stretch.
        slots: of a clip.
        usual, changed: (N - stride,) the motion over the stride outside and inside, see `motion`.
        cuts: (N,) how many hard cuts there are up to a frame.
    """

    frames: int
    strides: tuple[int, int]
    slots: int
    usual: Doubles
    changed: Doubles
    cuts: NDArray[np.intp]

    def starts(self, lengths: tuple[int, int], limits: Limits) -> Doubles:
        """Compare all stretches that may be drawn with their surroundings, for each start of the clip.

        Args:
            lengths: slots of a stretch, least and most.
            limits: `pace` is the least motion of the faster part.

        Returns:
            (S,), S the number of frames that a clip may start at whatever the length: the least of `factors`.
        """
        worst = [self.factors(length, limits).min(axis=0) for length in range(lengths[0], lengths[1] + 1)]
        fewest = min(map(len, worst))
        return np.asarray(np.min([factors[:fewest] for factors in worst], axis=0), np.float64)

    def factors(self, length: int, limits: Limits) -> Doubles:
        """Compare each stretch of `length` slots with its surroundings, for each start of the clip.

        Returns:
            (slots - length, S), S the number of frames that a clip may start at: for each first slot, the least factor
            by which the motion differs in the right direction; 0 where there is a cut, or where even the faster part
            moves by less than `limits.pace`.
        """
        steps = self.slots - 1
        groups = groupby(
            range(steps - length + 1), key=lambda first: (min(SIDE, first), min(SIDE, steps - length - first))
        )
        return np.concatenate([self._factors(np.array([*firsts]), length, sides, limits) for sides, firsts in groups])

    def _factors(self, firsts: NDArray[np.intp], length: int, sides: tuple[int, int], limits: Limits) -> Doubles:
        """Compute `factors` of stretches that have as many steps before and after them, (F, S)."""
        (outside, inside), (before, after) = self.strides, sides
        starts = np.arange(self.frames - outside * (self.slots - 1 - length) - inside * length)
        begin = starts + outside * firsts[:, None]
        end = begin + inside * length
        stretch = self.changed[begin[..., None] + inside * np.arange(length)]
        around = [
            self.usual[begin[..., None] - outside * np.arange(1, before + 1)],
            self.usual[end[..., None] + outside * np.arange(after)],
        ]
        both, middle = np.concatenate(around, axis=-1), np.median(stretch, axis=-1)
        pairs = [(np.median(both, axis=-1), middle), (both.mean(axis=-1), stretch.mean(axis=-1))]
        pairs += [(np.median(side, axis=-1), middle) for side in around if side.shape[-1] >= FEWEST]
        least = np.full(begin.shape, np.inf)
        for natural, altered in pairs:
            slower, faster = (altered, natural) if inside < outside else (natural, altered)
            least = np.minimum(least, np.where(faster >= limits.pace, faster / np.maximum(slower, 1e-6), 0))
        crossed = self.cuts[end + outside * after] - self.cuts[begin - outside * before]
        return np.where(crossed > 0, 0.0, least)


def pace(frames: Frames, pictures: Floats, strides: tuple[int, int], slots: int, limits: Limits) -> Pace:
    """Measure how a scene moves.

    Args:
        frames: of the pack (N, H, W, 3).
        pictures: what the gates see of them (N, 16, 16, 3), see `gates.clip_features`.
        strides: frames of the pack from one slot to the next, (outside, inside) of a stretch.
        slots: of a clip.
        limits: `cut` says what a hard cut is.
    """
    small = blocks(frames)
    cuts = np.concatenate([[0], np.cumsum(hard_cuts(pictures, limits))])
    return Pace(len(frames), strides, slots, motion(small, strides[0]), motion(small, strides[1]), cuts)


def strides(speed: float, density: int, slots: int, longest: int) -> list[Strides]:
    """List the frames of the pack per slot, (outside, inside) of a segment of up to `longest` slots at `speed`.

    The pack holds `density` frames a slot. All pairs of whole strides that fit into it; those that cover most of the
    video come first.

    Raises:
        ValueError: there is none.
    """
    ratio = Fraction(speed).limit_denominator(64)
    pairs = []
    for outside in range(density, 0, -1):
        inside = outside * ratio
        if (
            inside.denominator == 1
            and inside >= 1
            and outside * (slots - longest) + inside * longest <= density * slots
        ):
            pairs.append((outside, int(inside)))
    if not pairs:
        raise ValueError(f"a speed of {speed} cannot be shown from {density} frames a slot")
    return pairs


def least_density(speed: float, slots: int, longest: int) -> int:
    """Return the fewest frames a slot from which a segment at `speed` can be shown."""
    density = 1
    while True:
        try:
            strides(speed, density, slots, longest)
        except ValueError:
            density += 1
        else:
            return density
