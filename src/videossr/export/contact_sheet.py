"""A picture of a few questions for a card: one row of frames each, marked where the answer shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from videossr.question import Clip, Frames, Truth

ACROSS = 8
"""Most frames in a row."""

_CELL_PIXELS = 160 * 90
_BAR, _GAP = 6, 10
_MARK, _PAPER = (230, 110, 20), (255, 255, 255)
_QUALITY = 88


@dataclass(frozen=True, slots=True)
class SheetRow:
    """Frames of one question, and for each whether something was altered or drawn there."""

    frames: tuple[Frames, ...]
    marked: tuple[bool, ...]


def choose_frames(clips: Sequence[Clip], truth: Truth) -> SheetRow:
    """Choose the frames of a question that are shown.

    Of several clips these are the frames in their middles. Of one clip half of them show what was altered or drawn,
    where there is so much, and the others lie around.

    Args:
        clips: of the question, in order.
        truth: what the answer rests on.
    """
    if len(clips) > 1:
        middles = tuple(clip.frames[len(clip.frames) // 2] for clip in clips[:ACROSS])
        return SheetRow(middles, (False,) * len(middles))
    (clip,) = clips
    altered = {slot for first, last in truth.spans for slot in range(first, last + 1)}
    altered |= {outline.slot for outline in truth.outlines}
    marked = _evenly(sorted(altered), ACROSS // 2)
    others = [slot for slot in range(len(clip.frames)) if slot not in altered]
    chosen = sorted(marked + _evenly(others, ACROSS - len(marked)))
    return SheetRow(tuple(clip.frames[slot] for slot in chosen), tuple(slot in altered for slot in chosen))


def _evenly(slots: Sequence[int], most: int) -> list[int]:
    """Choose at most so many slots, at equal steps."""
    if not slots:
        return []
    return [slots[round(at)] for at in np.linspace(0, len(slots) - 1, min(most, len(slots)))]


def draw_sheet(rows: Sequence[SheetRow]) -> bytes:
    """Draw the rows one below the other, with a bar below each marked frame, as a JPEG."""
    strips = [_strip(row) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    padded = [
        cv2.copyMakeBorder(strip, 0, _GAP, 0, width - strip.shape[1], cv2.BORDER_CONSTANT, value=_PAPER)
        for strip in strips
    ]
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(np.vstack(padded)), _QUALITY, "RGB", "444")
    return jpeg


def _strip(row: SheetRow) -> NDArray[np.uint8]:
    """Draw one row. All frames get the size that the first one has when it is shrunk."""
    height, width = row.frames[0].shape[:2]
    scale = min(1.0, (_CELL_PIXELS / (height * width)) ** 0.5)
    cell = (max(1, round(width * scale)), max(1, round(height * scale)))
    cells = []
    for frame, marked in zip(row.frames, row.marked, strict=True):
        small = cv2.resize(frame, cell, interpolation=cv2.INTER_AREA)
        bar = np.full((_BAR, cell[0], 3), _MARK if marked else _PAPER, np.uint8)
        cells.append(np.vstack([small, bar]))
    return np.hstack(cells)
