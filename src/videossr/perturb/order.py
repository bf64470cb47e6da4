"""Measure whether the order of a video's pieces can be seen, before anything is drawn, whatever order is shown later.

A piece must move, over enough of the picture that it is no still with a caption. No border between pieces may lie on a
hard cut, the end of the video must not run into its beginning, and pieces far apart must not show the same picture.
Finally the pictures must change along the video: either a piece ends as the next one begins, compared with what any two
pieces have in common, or pieces that are far apart differ more than neighbors do. `docs/results/jigsaw.md` shows what
the defaults were chosen from; `benchmarks/jigsaw.py` measures it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from videossr.measure import Measure
from videossr.perturb.gates import Floats, picture_jump
from videossr.question import Frames

SAME = 1.5
"""Mean CIE76 over the grid up to which two pictures are the same: compression and a shift by a pixel stay below."""

SEEN = 2.0
"""CIE76 from which a cell of the grid counts as changed, about one just noticeable difference."""

LOOKED = 16
"""Frames of a piece, evenly spaced, that are compared with those of other pieces."""

SIDE, BINS = 96, 8
"""Pixels of a side at which colors are counted, and bins of each channel of CIE Lab."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class OrderLimits:
    """Thresholds for the order of the pieces of a jigsaw."""

    area: Annotated[float, Field(ge=0, le=1, description="least share of the picture that changes within a piece")] = (
        0.1
    )
    cut: Annotated[
        float, Field(ge=0, le=1, description="largest share of the colors that may change at a border of two pieces")
    ] = 0.4
    loop: Annotated[
        float,
        Field(ge=0, le=10, description="least difference of the first and last slot, to that of pieces far apart"),
    ] = 0.7
    again: Annotated[
        float, Field(ge=0, le=1, description="largest share of pairs of pieces, not neighbors, with the same picture")
    ] = 0.2
    link: Annotated[
        float,
        Field(ge=0, le=10, description="largest jump at all borders but one, to that between any pieces; or `course`"),
    ] = 0.7
    course: Annotated[
        float, Field(ge=0, le=10, description="least difference of pieces far apart, to that of neighbors; or `link`")
    ] = 1.5


def unseen_order(
    frames: Frames, pictures: Floats, starts: Sequence[int], length: int, limits: OrderLimits
) -> Iterator[Measure]:
    """Measure what may hide the order of the pieces.

    Args:
        frames: (N, H, W, 3), all slots of the video.
        pictures: (N, 16, 16, 3), the same in CIE Lab on the gates' grid.
        starts: first slot of each piece, three pieces or more.
        length: slots of a piece.
        limits: the thresholds.

    Yields:
        The gates still_picture, cut_border, loop, seen_again, and either unseen_course or unseen_link.
    """
    pieces = [pictures[start : start + length] for start in starts]
    changed = (np.linalg.norm(piece - piece[0], axis=-1).max(axis=0) > SEEN for piece in pieces)
    yield Measure("still_picture", min(float(cells.mean()) for cells in changed), limits.area, setting="limits.area")

    borders = [(start + length - 1, after) for start, after in pairwise(starts)]
    shares = (1 - np.minimum(_colors(frames[a]), _colors(frames[b])).sum() for a, b in borders)
    yield Measure("cut_border", float(max(shares)), limits.cut, least=False, setting="limits.cut")

    between, nearest = _differences(pieces)
    lags = np.abs(np.subtract.outer(range(len(starts)), range(len(starts))))
    neighbors, apart = np.median(between[lags == 1]), np.median(between[lags >= max(2, len(starts) // 2)])
    ends = _ratio(float(picture_jump(pictures[0], pictures[-1])), apart)
    yield Measure("loop", ends, limits.loop, setting="limits.loop")
    again = float((nearest[lags > 1] <= SAME).mean())
    yield Measure("seen_again", again, limits.again, least=False, setting="limits.again")

    either, course = "unseen_order", _ratio(apart, neighbors)
    yield Measure("unseen_course", course, limits.course, setting="limits.course", either=either)
    jumps = sorted(float(picture_jump(pictures[a], pictures[b])) for a, b in borders)
    link = _ratio(jumps[-2], np.median(between[lags > 0]))
    yield Measure("unseen_link", link, limits.link, least=False, setting="limits.link", either=either)


def _colors(frame: Frames) -> Floats:
    """Return the share of each bin of CIE Lab in `frame` (H, W, 3): a camera or thing that moves hardly changes it."""
    small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    ranges = (0, 100.01, -64, 64, -64, 64)
    counts = cv2.calcHist([cv2.cvtColor(small, cv2.COLOR_RGB2LAB)], [0, 1, 2], None, [BINS] * 3, ranges)
    return np.asarray(counts / SIDE**2, np.float32)


def _differences(pieces: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return the median and the least picture jump between the frames of every two pieces, both (n, n)."""
    shown = [piece[np.linspace(0, len(piece) - 1, min(len(piece), LOOKED)).round().astype(int)] for piece in pieces]
    median = np.zeros((len(pieces), len(pieces)), np.float32)
    least = median.copy()
    for first, piece in enumerate(shown):
        for second in range(first):
            jumps = picture_jump(piece[:, None], shown[second][None])
            median[first, second] = median[second, first] = np.median(jumps)
            least[first, second] = least[second, first] = jumps.min()
    return median, least


def _ratio(value: float | np.floating[Any], to: float | np.floating[Any]) -> float:
    """Divide; what is nothing to begin with is exceeded by anything that is more."""
    if to > 0:
        return float(value / to)
    return float("inf") if value > 0 else 1.0


def unlike_starts(pictures: Floats, pieces: int, length: int) -> list[int]:
    """Choose where each piece starts within its share of the slots so that borders match as badly as they can.

    The video alone decides, not the order that is shown: the jumps from the end of each piece to the beginning of the
    next one are largest in sum. Exact, by dynamic programming.

    Args:
        pictures: (N, 16, 16, 3) in CIE Lab on the gates' grid.
        pieces: how many there are; each has N // `pieces` slots to itself.
        length: slots of a piece that are shown.

    Returns:
        The first slot of each piece.
    """
    whole = len(pictures) // pieces
    room = np.arange(whole - length + 1)
    total, chosen = np.zeros(len(room)), []
    for piece in range(1, pieces):
        ends = pictures[(piece - 1) * whole + room + length - 1]
        sums = total[:, None] + picture_jump(ends[:, None], pictures[piece * whole + room][None])
        chosen.append(sums.argmax(axis=0))
        total = sums.max(axis=0)
    places = [int(total.argmax())]
    for before in reversed(chosen):
        places.append(int(before[places[-1]]))
    return [piece * whole + place for piece, place in enumerate(reversed(places))]
