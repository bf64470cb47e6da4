"""Draw a clip as a strip of small frames: one JPEG, and what is true in each of its slots.

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

_BLOCK = 16
"""Thumbnail sides are multiples of a JPEG block of halved colors, so that its artefacts stay out of its neighbours."""


@dataclass(frozen=True, slots=True)
class Sprite:
    """All frames of a clip in one JPEG, row by row on a grid of `columns` x `rows` cells."""

    jpeg: bytes
    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of a strip: its place in the clip, when it is shown, its cell of the sprite, and what is true in it.

    `marked` says that it was altered or shows a shape; `x` and `y` are CSS background positions. `before` are those of
    the frame that an altered slot would have shown, where it is known.
    """

    index: int
    start_ms: int
    end_ms: int
    x: str
    y: str
    marked: bool
    outlines: tuple[Outline, ...]
    before: tuple[str, str] | None = None


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
    return Sprite(simplejpeg.encode_jpeg(picture, quality, "RGB", "420"), columns, rows)


def make_strips(
    clips: Sequence[Clip],
    truth: Truth,
    height: int,
    quality: int,
    chosen: Sequence[int] | None = None,
    before: Frames | None = None,
) -> list[Strip]:
    """Make the strips of a question's clips. Spans and outlines are marked where there is one clip alone.

    Args:
        clips: of the question, in order.
        truth: what the answer rests on.
        height: of the small frames, in pixels.
        quality: of the JPEGs, from 1 to 100.
        chosen: the slots that are shown of each clip; all of them by default.
        before: (T, H, W, 3), what the T slots of the first span would show if nothing had been altered. All slots of
            the span must be among the chosen.
    """
    return [
        _strip(clip, truth, height, quality, chosen, before)
        if position == 0
        else _strip(clip, Truth(order=truth.order), height, quality, chosen, None, position)
        for position, clip in enumerate(clips)
    ]


def _strip(
    clip: Clip,
    truth: Truth,
    height: int,
    quality: int,
    chosen: Sequence[int] | None,
    before: Frames | None,
    position: int = 0,
) -> Strip:
    kept = list(range(len(clip.clock)) if chosen is None else chosen)
    frames = clip.frames if chosen is None else clip.frames[kept]
    due: dict[int, int] = {}
    if before is not None:
        first, last = truth.spans[0]
        due = {slot: len(kept) + at for at, slot in enumerate(range(first, last + 1))}
        frames = np.concatenate([frames, before])
    sprite = make_sprite(frames, height, quality)
    edges = (*clip.clock.times_ms, clip.clock.end_ms)
    shapes: dict[int, list[Outline]] = {}
    for outline in truth.outlines:
        shapes.setdefault(outline.slot, []).append(outline)

    def cell_of(cell: int) -> tuple[str, str]:
        return place_of(cell % sprite.columns, sprite.columns), place_of(cell // sprite.columns, sprite.rows)

    slots = tuple(
        Slot(
            k,
            edges[k],
            edges[k + 1],
            *cell_of(cell),
            marked=k in shapes or any(first <= k <= last for first, last in truth.spans),
            outlines=tuple(shapes.get(k, ())),
            before=cell_of(due[k]) if k in due else None,
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
    """Return the CSS background position of a cell: 0% shows the first of `cells`, 100% the last."""
    return f"{100 * cell / max(1, cells - 1):.4g}%"
