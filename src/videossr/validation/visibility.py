"""Measure again, with none of the gates' code, whether the answer can be seen in the frames that are shown.

Exercised by `videossr validate DATASET`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from videossr.answers.checks import Check
from videossr.dataset.dataset import Item, VideoSSRDataset
from videossr.perturb.base import perturbation_of
from videossr.question import Frames
from videossr.rendering import pictures

CELL = 8
"""Side in pixels of the cells whose mean brightness is followed from frame to frame."""

SIDE = 6
"""Slots before and after a stretch that its motion is compared with."""

STILL = 0.5
"""Levels of brightness from which motion is seen."""

WEAK = 0.2
"""Part by which the motion in a stretch must differ from that around it to be told."""

WRONG_SHARE = 0.01
"""Part of a category that may move the wrong way."""

WEAK_SHARE = 0.05
"""Part of a category that may differ by less than `WEAK`."""

CUT_SHARE = 0.01
"""Part of a category that may begin or end at a hard cut."""

UNLIKE = 0.35
"""Part of the colors that two frames on both sides of a cut do not have in common, at the least."""

ABOVE = 2.5
"""Times as unlike as the pairs of frames before and after that the frames on both sides of a cut are."""

FAINT = 0.9
"""Factor on the scene's own steps that both ends of a shuffled span need."""

FAINT_SHARE = 0.02
"""Part of a category that may lack `FAINT`."""


@dataclass
class VisibilityChecks:
    """Measurements of the samples of a category.

    Attributes:
        speed: factors of the motion inside to that around; of slow motion their inverse, so that above 1 is right.
        paced: whether the frames of the video are as far apart as their neighbors are in the span, and outside it.
        ends: of a shuffle, the least factor of the step at an end of the span to the scene's own steps.
        cut: whether an end of the span lies at a hard cut of the video, or a donor is cut inside the span.
    """

    speed: list[float] = field(default_factory=list)
    paced: list[bool] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    cut: list[bool] = field(default_factory=list)

    def look(self, dataset: VideoSSRDataset, item: Item, due: Sequence[tuple[int, int]]) -> None:
        """Measure a sample with an altered span; `due` is what its slots would show, see `VideoSSRDataset.due`."""
        first, last = item.truth.spans[0]
        sample, frames = item.sample, item.clips[0].frames
        strides = sample.params.get("strides")
        if isinstance(strides, list):  # (outside, inside) of a change of speed
            factor = motion_factor(frames, first, last)
            outside, inside = sample.integers("strides")
            self.speed.append(1 / max(factor, 1e-6) if inside < outside else factor)
            self.paced.append(changes_pace([frame for _, frame in sample.slots], first, last))
        perturbation = perturbation_of(sample)
        if perturbation is None:
            return
        if perturbation.steps_at_ends:
            original = pictures(dataset.corpus, sample, [due[0], due[-1]])
            self.ends.append(end_factor(frames, original, first, last))
        if perturbation.hidden_by_cuts:
            slots = list(sample.slots)
            if strides is None:  # a change of speed alters no frame
                slots[first : last + 1] = due
            inside_donor = len(sample.sources) > 1 and bool(cuts(frames[first : last + 1]).any())
            self.cut.append(inside_donor or ends_at_cut(dataset, item, slots, first, last))

    def findings(self, category: str, *, asked: bool) -> list[Check]:
        """Judge the category; `asked` is whether its recipe has gates that ask for it, else there is no verdict."""
        results = []
        if self.speed:
            wrong = sum(factor < 1 for factor in self.speed)
            weak = sum(factor < 1 / (1 - WEAK) for factor in self.speed)
            wrong_most, weak_most = (math.ceil(share * len(self.speed)) for share in (WRONG_SHARE, WEAK_SHARE))
            text = (
                f"{wrong} of {len(self.speed)} stretches move the wrong way (allowed {wrong_most}), "
                f"{weak} by less than {WEAK:.0%} (allowed {weak_most}); weakest factor {min(self.speed):.2f}"
            )
            holds = wrong <= wrong_most and weak <= weak_most
            results.append(Check("speed is seen", holds if asked else None, text, category))
            late = len(self.paced) - sum(self.paced)
            text = f"{late} of {len(self.paced)} spans are not those in which the scene moves at the other speed"
            results.append(Check("span of the speed", late == 0, text, category))
        if self.ends:
            faint = sum(factor < FAINT for factor in self.ends)
            most = math.ceil(FAINT_SHARE * len(self.ends))
            text = (
                f"at {faint} of {len(self.ends)} an end of the span is a step under {FAINT:g} times the scene's own, "
                f"allowed {most}; weakest {min(self.ends):.2f}"
            )
            results.append(Check("ends are seen", faint <= most if asked else None, text, category))
        if self.cut:
            most = math.ceil(CUT_SHARE * len(self.cut))
            text = f"{sum(self.cut)} of {len(self.cut)} begin or end at a hard cut, or show a donor's, allowed {most}"
            results.append(Check("ends apart from cuts", sum(self.cut) <= most if asked else None, text, category))
        return results


def motion_factor(frames: Frames, first: int, last: int) -> float:
    """Divide the motion out of the slots `first` to `last` by that of up to `SIDE` slots on each side.

    Motion is the median change in brightness of cells of 8 x 8 pixels; of several steps it is the least of their mean
    and their median, so that one cut adds nothing. Where neither reaches `STILL`, the factor is 1: nothing is seen.
    """
    steps = np.median(np.abs(np.diff(_cells(frames), axis=0)), axis=1)
    around = np.concatenate([steps[max(0, first - SIDE) : first], steps[last + 1 : last + 1 + SIDE]])
    inside, outside = (min(float(part.mean()), float(np.median(part))) for part in (steps[first : last + 1], around))
    return inside / max(outside, 1e-6) if max(inside, outside) >= STILL else 1.0


def changes_pace(frames: Sequence[int], first: int, last: int) -> bool:
    """Tell whether a clip of the `frames` of a video moves at one pace out of the slots `first` to `last`.

    And at another pace out of all other slots.
    """
    steps = np.diff(frames)
    inside, outside = set(steps[first : last + 1].tolist()), {*steps[:first].tolist(), *steps[last + 1 :].tolist()}
    return len(inside) == len(outside) == 1 and inside != outside


def end_factor(frames: Frames, original: Frames, first: int, last: int) -> float:
    """Compare the steps into and out of a rearranged span with those that the scene itself makes there.

    Args:
        frames: (T, H, W, 3), as shown.
        original: (2, H, W, 3), what the first and the last slot of the span would show.
        first: first slot of the span.
        last: last slot of the span.

    Returns:
        The least factor of both ends, inf where the span is the whole clip. At each end the step that is shown is
        divided by the larger of the two steps into and out of the natural frame next to it, in the mean change of all
        cells or of the tenth that changes most, whichever tells more.
    """
    shown, (due_first, due_last) = _cells(frames), _cells(original)
    sides = []
    if first > 0:
        sides.append((shown[first - 1], shown[first], due_first, shown[max(first - 2, 0)]))
    if last + 1 < len(shown):
        sides.append((shown[last + 1], shown[last], due_last, shown[min(last + 2, len(shown) - 1)]))
    factors = [
        np.max(_changes(natural, altered) / np.maximum(_changes(natural, due), _changes(natural, beside)).clip(1e-6))
        for natural, altered, due, beside in sides
    ]
    return float(min(factors, default=np.inf))


def _cells(frames: Frames) -> NDArray[np.float32]:
    """Average the brightness of `frames` (T, H, W, 3) over cells: (T, cells)."""
    height, width = (max(1, side // CELL) for side in frames.shape[1:3])
    grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in frames]
    cells = [cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA) for gray in grays]
    return np.stack(cells).reshape(len(frames), -1)


def _changes(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean change of all cells and of the tenth that changes most, (2,)."""
    change = np.sort(np.abs(a - b))
    return np.array([change.mean(), change[-max(1, len(change) // 10) :].mean()], np.float32)


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
        frames = pictures(dataset.corpus, item.sample, [slots[at] for at in near])
        if cuts(frames)[border - 1 - near.start]:
            return True
    return False


def cuts(frames: Frames) -> NDArray[np.bool_]:
    """Tell at which steps between neighbors frames (T, H, W, 3) are cut, (T - 1,)."""
    unlike = np.abs(np.diff(color_shares(frames), axis=0)).sum(axis=1) / 2
    beside = np.pad(unlike, 1)
    return np.asarray((unlike >= UNLIKE) & (unlike >= ABOVE * np.maximum(beside[:-2], beside[2:])))


def color_shares(frames: Frames) -> NDArray[np.float64]:
    """Return which part of each frame has each of 512 colors, (T, 512)."""
    coded = (frames >> 5).astype(np.int64)
    codes = (coded[..., 0] * 64 + coded[..., 1] * 8 + coded[..., 2]).reshape(len(frames), -1)
    counts = np.stack([np.bincount(code, minlength=512) for code in codes])
    return np.asarray(counts / codes.shape[1], np.float64)
