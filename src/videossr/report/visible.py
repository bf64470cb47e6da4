"""Can the answer be seen in the frames that are shown? Measured again, by none of the gates' code.

Exercised by `videossr validate DATASET`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.dataset import Item, VideoSSRDataset
from videossr.question import Frames
from videossr.render import pictures
from videossr.report.finding import Finding

CELL = 8
"""Side in pixels of the cells whose mean brightness is followed from frame to frame."""

SIDE = 6
"""Slots before and after a stretch that its motion is compared with."""

WEAK = 0.2
"""Part by which the motion in a stretch must differ from that around it to be told."""

WRONG_SHARE, WEAK_SHARE, CUT_SHARE = 0.01, 0.05, 0.01
"""Parts of a column that may move the wrong way, differ by less than `WEAK`, and begin or end at a hard cut."""

UNLIKE = 0.35
"""Part of the colors that two frames on both sides of a cut do not have in common, at the least."""

ABOVE = 2.5
"""Times as unlike as the pairs of frames before and after that the frames on both sides of a cut are."""

WITHOUT_CUTS = frozenset({"mirror", "zoom_in", "saturation", "swap", "slow", "fast"})
"""Perturbations that begin and end unseen where the scene is cut."""


@dataclass
class Seen:
    """What was measured of the samples of a column.

    Attributes:
        speed: factors of the motion inside to that around; of slow motion their inverse, so that above 1 is right.
        cut: whether an end of the span lies at a hard cut of the video.
    """

    speed: list[float] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)

    def look(self, dataset: VideoSSRDataset, item: Item, due: Sequence[tuple[int, int]]) -> None:
        """Measure a grounding sample; `due` is what the slots of its span would show, see `VideoSSRDataset.due`."""
        first, last = item.truth.spans[0]
        name = item.sample.params.get("perturbation")
        if name in ("slow", "fast"):
            factor = motion_factor(item.clips[0].frames, first, last)
            self.speed.append(1 / max(factor, 1e-6) if name == "slow" else factor)
        if name in WITHOUT_CUTS:
            slots = list(item.sample.slots)
            if name not in ("slow", "fast"):  # which alter no frame
                slots[first : last + 1] = due
            self.cut.append(ends_at_cut(dataset, item, slots, first, last))

    def findings(self, column: str, *, asked: bool) -> list[Finding]:
        """Judge the column; `asked` is whether its recipe has gates that ask for it, else there is no verdict."""
        found = []
        if self.speed:
            wrong = sum(factor < 1 for factor in self.speed)
            weak = sum(factor < 1 / (1 - WEAK) for factor in self.speed)
            most = [math.ceil(share * len(self.speed)) for share in (WRONG_SHARE, WEAK_SHARE)]
            text = (
                f"{wrong} of {len(self.speed)} stretches move the wrong way (allowed {most[0]}), "
                f"{weak} by less than {WEAK:.0%} (allowed {most[1]}); weakest factor {min(self.speed):.2f}"
            )
            found.append(
                Finding("speed is seen", column, (wrong <= most[0] and weak <= most[1]) if asked else None, text)
            )
        if self.cut:
            allowed = math.ceil(CUT_SHARE * len(self.cut))
            text = f"{sum(self.cut)} of {len(self.cut)} begin or end at a hard cut of the video, allowed {allowed}"
            found.append(Finding("ends apart from cuts", column, sum(self.cut) <= allowed if asked else None, text))
        return found


def motion_factor(frames: Frames, first: int, last: int) -> float:
    """Divide the motion out of the slots `first` to `last` by that of up to `SIDE` slots on each side.

    Motion is the median change in brightness of cells of 8 x 8 pixels; of the steps on each side, the mean.
    """
    height, width = (max(1, side // CELL) for side in frames.shape[1:3])
    grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames]
    cells = np.stack([cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA) for gray in grays])
    steps = np.median(np.abs(np.diff(cells, axis=0)).reshape(len(cells) - 1, -1), axis=1)
    around = np.concatenate([steps[max(0, first - SIDE) : first], steps[last + 1 : last + 1 + SIDE]])
    return float(steps[first : last + 1].mean() / max(float(around.mean()), 1e-6))


def ends_at_cut(dataset: VideoSSRDataset, item: Item, slots: Sequence[tuple[int, int]], first: int, last: int) -> bool:
    """Tell whether the video itself is cut where a span begins or ends.

    Args:
        dataset: whose frames are decoded.
        item: the sample.
        slots: (source, frame) that each slot of the clip would show if nothing were altered.
        first: first slot of the span.
        last: last slot of the span.
    """
    for border in (first, last + 1):
        near = range(max(0, border - 2), min(len(slots), border + 2))
        if border in (0, len(slots)):
            continue
        shares = color_shares(pictures(dataset.corpus, item.sample, [slots[at] for at in near]))
        unlike = np.abs(np.diff(shares, axis=0)).sum(axis=1) / 2
        at = border - 1 - near.start
        others = np.delete(unlike, at)
        if unlike[at] >= UNLIKE and (not len(others) or unlike[at] >= ABOVE * others.max()):
            return True
    return False


def color_shares(frames: Frames) -> NDArray[np.float64]:
    """Return which part of each frame has each of 512 colors, (T, 512)."""
    coded = (frames >> 5).astype(np.int64)
    codes = (coded[..., 0] * 64 + coded[..., 1] * 8 + coded[..., 2]).reshape(len(frames), -1)
    counts = np.stack([np.bincount(code, minlength=512) for code in codes])
    return np.asarray(counts / codes.shape[1], np.float64)
