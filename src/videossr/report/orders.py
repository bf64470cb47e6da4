"""Jigsaws whose order nobody can be sure of: told from the pictures of the pieces, without the code of the gates.

Exercised by `videossr validate DATASET`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from videossr.question import Frames
from videossr.report.finding import Finding
from videossr.report.laws import at_most

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

ALLOWED = 0.05
"""Share of puzzles that may have such a fault."""


def faults(pieces: Sequence[Frames]) -> list[str]:
    """Name what hides the order of `pieces`, each (T, H, W, 3), the first of the video first: cut, still, loop."""
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
    return found


def finding(column: str, seen: Sequence[Sequence[str]], *, gated: bool) -> Finding:
    """Judge a column by what `faults` says of each puzzle; where the recipe has no gates it is only reported."""
    wrong = sum(bool(each) for each in seen)
    kinds = ", ".join(f"{name} {sum(name in each for each in seen)}" for name in ("cut", "still", "loop"))
    text = f"{wrong} of {len(seen)} puzzles have a border on a cut, a still piece or a loop ({kinds})"
    if not gated:
        return Finding("orders", column, None, f"{text}; the recipe has no gates")
    return Finding("orders", column, at_most(wrong, len(seen), ALLOWED), f"{text}, allowed {ALLOWED:.0%}")


def _linked(end: Frames, beginning: Frames) -> float:
    """Return the share of the blocks of `end` (64, 64, 3) that are found in `beginning`; flat ones do not count."""
    places = range(0, SIDE, BLOCK)
    blocks = [end[y : y + BLOCK, x : x + BLOCK] for y in places for x in places]
    rich = [block for block in blocks if block.std() >= FLAT]
    found = [float(cv2.matchTemplate(beginning, block, cv2.TM_CCOEFF_NORMED).max()) >= ALIKE for block in rich]
    return float(np.mean(found)) if found else 1.0


def _distance(a: Frames, b: Frames) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())
