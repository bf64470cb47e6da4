"""Jigsaws whose order nobody can be sure of: told from the pictures of the pieces, without the code of the gates.

Exercised by `videossr validate DATASET`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from videossr.answers.checks import Check
from videossr.question import Frames
from videossr.validation.distributions import allowed, at_most

SIDE, BLOCK = 64, 16
"""Pixels of a side at which pieces are compared, and of a block that is looked for on the other side of a border."""

ALIKE, FLAT = 0.75, 4.0
"""Correlation from which a block counts as found, and the deviation in levels below which it has nothing to find."""

FOUND = 0.15
"""Least share of an end's blocks that must be found where the next piece begins: else a cut lies between them."""

LEVELS, MOVING = 12, 0.02
"""Levels by which a pixel changes visibly, and the share of pixels that must do so for a piece not to be a still."""

CLOSED = 0.5
"""The video is a loop when its end is nearer to its beginning than this share of the distance of any two pieces."""

SAME = 0.7
"""A piece repeats another if its frames are nearer to frames of that one than this share of its own steps."""

KINDS = ("cut", "still", "loop", "repeat")

ALLOWED = 0.05
"""Share of puzzles that may have such a fault."""


def faults(pieces: Sequence[Frames]) -> list[str]:
    """Name what hides the order of `pieces`, each (T, H, W, 3), the first of the video first: some of `KINDS`."""
    small = [np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in p]) for p in pieces]
    found = []
    if any(_linked(now[-1], after[0]) < FOUND for now, after in pairwise(small)):
        found.append("cut")
    moving = (np.ptp(piece.mean(axis=-1), axis=0) > LEVELS for piece in small)
    if any(pixels.mean() < MOVING for pixels in moving):
        found.append("still")
    middles = [piece[len(piece) // 2] for piece in small]
    usual = np.median([_distance(a, b) for place, a in enumerate(middles) for b in middles[place + 2 :]])
    if _distance(small[-1][-1], small[0][0]) < CLOSED * usual:
        found.append("loop")
    apart = ((a, b) for place, a in enumerate(small) for b in small[place + 2 :])
    if any(_repeats(a, b) or _repeats(b, a) for a, b in apart):
        found.append("repeat")
    return found


def finding(category: str, seen: Sequence[Sequence[str]], *, gated: bool) -> Check:
    """Judge a category by what `faults` says of each puzzle; where the recipe has no gates it is only reported."""
    wrong = sum(bool(faults) for faults in seen)
    kinds = ", ".join(f"{name} {sum(name in each for each in seen)}" for name in KINDS)
    text = f"{wrong} of {len(seen)} puzzles have an order that cannot be seen ({kinds})"
    if not gated:
        return Check("orders", None, f"{text}; the recipe has no gates", category)
    text += f", allowed {allowed(len(seen), ALLOWED)}: {ALLOWED:.0%} and chance"
    return Check("orders", at_most(wrong, len(seen), ALLOWED), text, category)


def _linked(end: Frames, beginning: Frames) -> float:
    """Return the share of the blocks of `end` (64, 64, 3) that are found in `beginning`; flat ones do not count."""
    places = range(0, SIDE, BLOCK)
    blocks = [end[y : y + BLOCK, x : x + BLOCK] for y in places for x in places]
    rich = [block for block in blocks if block.std() >= FLAT]
    found = [float(cv2.matchTemplate(beginning, block, cv2.TM_CCOEFF_NORMED).max()) >= ALIKE for block in rich]
    return float(np.mean(found)) if found else 1.0


def _repeats(piece: Frames, other: Frames) -> bool:
    """Tell whether the frames of `piece` are shown in `other` again, both (T, 64, 64, 3)."""
    nearest = [min(_distance(frame, twin) for twin in other) for frame in piece]
    steps = [_distance(now, after) for now, after in pairwise(piece)]
    return bool(np.median(nearest) < SAME * np.median(steps))


def _distance(a: Frames, b: Frames) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())
