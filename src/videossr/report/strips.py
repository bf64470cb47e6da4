"""A clip as a strip of small frames: one JPEG, and what is true in each of its slots.

Exercised by `videossr gallery DATASET --out gallery.html`.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg

from videossr.question import Clip, Frames, Outline, Truth

_BLOCK = 8
"""Thumbnail sides are multiples of a JPEG block, so that a frame's artefacts stay out of its neighbours."""


@dataclass(frozen=True, slots=True)
class Sprite:
    """All frames of a clip in one JPEG, row by row on a grid of `columns` x `rows` cells."""

    jpeg: bytes
    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of a strip: its place in the clip, when it is shown, its cell of the sprite, and what is true in it.

    `marked` says that it was altered or shows a shape; `x` and `y` are CSS background positions.
    """

    index: int
    start_ms: int
    end_ms: int
    x: str
    y: str
    marked: bool
    outlines: tuple[Outline, ...]


@dataclass(frozen=True, slots=True)
class Strip:
    """A clip to be shown: its sprite (`data` is the JPEG in base64), its slots, and what is true of it.

    `original` is the piece of the video, from 1, where the clip is one.
    """

    sprite: Sprite
    data: str
    slots: tuple[Slot, ...]
    spans_ms: tuple[tuple[int, int], ...]
    original: int | None


def make_sprite(frames: Frames, height: int, quality: int) -> Sprite:
    """Shrink `frames` (T, H, W, 3) to about `height` and put them on one JPEG.

    Cells are stretched to whole JPEG blocks; whoever shows them knows the frames' aspect and undoes it.
    """
    count, full_height, full_width = frames.shape[:3]
    scale = min(1.0, height / full_height)
    cell_height, cell_width = (max(1, round(side * scale / _BLOCK)) * _BLOCK for side in (full_height, full_width))
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows, cell_height, columns, cell_width, 3), np.uint8)
    for k, frame in enumerate(frames):
        sheet[k // columns, :, k % columns] = cv2.resize(frame, (cell_width, cell_height), interpolation=cv2.INTER_AREA)
    picture = sheet.reshape(rows * cell_height, columns * cell_width, 3)
    return Sprite(simplejpeg.encode_jpeg(picture, quality, "RGB", "444"), columns, rows)


def make_strips(
    clips: Sequence[Clip], truth: Truth, height: int, quality: int, chosen: Sequence[int] | None = None
) -> list[Strip]:
    """The strips of a question's clips. Spans and outlines are marked where there is one clip alone.

    `chosen` names the slots that are shown of each clip; all of them by default.
    """
    return [
        _strip(clip, truth if position == 0 else Truth(order=truth.order), position, height, quality, chosen)
        for position, clip in enumerate(clips)
    ]


def _strip(clip: Clip, truth: Truth, position: int, height: int, quality: int, chosen: Sequence[int] | None) -> Strip:
    kept = list(range(len(clip.clock)) if chosen is None else chosen)
    sprite = make_sprite(clip.frames if chosen is None else clip.frames[kept], height, quality)
    edges = (*clip.clock.times_ms, clip.clock.end_ms)
    shapes: dict[int, list[Outline]] = {}
    for outline in truth.outlines:
        shapes.setdefault(outline.slot, []).append(outline)
    slots = tuple(
        Slot(
            index=k,
            start_ms=edges[k],
            end_ms=edges[k + 1],
            x=place_of(cell % sprite.columns, sprite.columns),
            y=place_of(cell // sprite.columns, sprite.rows),
            marked=k in shapes or any(first <= k <= last for first, last in truth.spans),
            outlines=tuple(shapes.get(k, ())),
        )
        for cell, k in enumerate(kept)
    )
    return Strip(
        sprite=sprite,
        data=base64.b64encode(sprite.jpeg).decode(),
        slots=slots,
        spans_ms=tuple((edges[first], edges[last + 1]) for first, last in truth.spans),
        original=truth.order[position] + 1 if truth.order else None,
    )


def place_of(cell: int, cells: int) -> str:
    """CSS background position of a cell: 0% shows the first of `cells`, 100% the last."""
    return f"{100 * cell / max(1, cells - 1):.4g}%"
