"""Would a change of speed be seen? Measured on all frames of a pack, before anything is drawn.

How fast a scene moves is the median color change (CIE76) over blocks of about 10 x 10 pixels from one shown frame to
the next: that of a camera or a crowd, and not of one small thing. A stretch in slow or fast motion can be told from
what surrounds it only where the scene's own speed is steady: the motion inside must be smaller (slow) or larger (fast)
than before it, after it, and on both sides together, and no cut may lie in what is compared.

A pack has more frames than a clip shows, so a clip may start at several of them. It starts at one from which *every*
stretch that may be drawn can be told. So the stretch is drawn without a look at the pixels, and neither the frames that
are shown nor the clip's length say anything about where it lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.perturb.gates import Floats, Limits, hard_cuts
from videossr.question import Frames

BLOCK = 10
"""Side of a block in pixels, about."""

SIDE = 6
"""Steps before and after a stretch that it is compared with."""

FEWEST = 3
"""Steps on one side of a stretch that are needed to compare it with this side alone."""

Doubles = NDArray[np.float64]


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
    """How a scene moves, for stretches at one pair of strides.

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
        found = [self.factors(length, limits).min(axis=0) for length in range(lengths[0], lengths[1] + 1)]
        fewest = min(map(len, found))
        return np.asarray(np.min([each[:fewest] for each in found], axis=0), np.float64)

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
