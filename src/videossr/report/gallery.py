"""The gallery: one self-contained HTML page on which people see whether the labels are right.

    videossr gallery DATASET --out gallery.html

The page is streamed to the file card by card, so that memory holds the pixels of one sample at a time. Text on it is
untrusted (paths, column names, prompts): Jinja2 escapes all of it, and the page's own policy runs no script but ours.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from videossr.question import VIDEO, Clip, Frames, Outline, Question, Truth
from videossr.sample import JSON, Sample
from videossr.store import replacing

_BLOCK = 8
"""Thumbnail sides are multiples of a JPEG block, so that a frame's artefacts stay out of its neighbours."""

_LONG_LIST = 48
"""A list that takes more characters than this is shown by its length alone."""


@dataclass(frozen=True, slots=True)
class Card:
    """One sample as the gallery shows it.

    `command` is the shell line that makes this card again; `paths` name the sample's sources, where they are known.
    """

    sample: Sample
    question: Question
    clips: Sequence[Clip]
    truth: Truth
    command: str
    paths: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Sprite:
    """All frames of a clip in one JPEG, row by row on a grid of `columns` x `rows` cells."""

    jpeg: bytes
    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class _Slot:
    index: int
    start_ms: int
    end_ms: int
    x: str
    y: str
    marked: bool
    outlines: tuple[Outline, ...]


@dataclass(frozen=True, slots=True)
class _Strip:
    sprite: Sprite
    data: str
    slots: tuple[_Slot, ...]
    spans_ms: tuple[tuple[int, int], ...]
    original: int | None


def write_gallery(
    cards: Iterable[Card],
    out: Path,
    title: str,
    facts: Mapping[str, str],
    thumb_height: int = 96,
    quality: int = 80,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the page of `cards`; the file appears under its name only when it is complete.

    Args:
        cards: consumed once, in the order in which they are to be shown.
        out: the HTML file to write.
        title: heading of the page.
        facts: name -> value, shown under the heading.
        thumb_height: height in pixels of the frames on the page; never more than the model sees.
        quality: JPEG quality of the frames on the page.
        progress: called with the number of cards written after each.
    """
    script, style = _asset("gallery_strips.js") + _asset("gallery.js"), _asset("gallery.css")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["seconds"] = lambda milliseconds: f"{milliseconds / 1000:.2f}"
    page = environment.from_string(_asset("gallery.html.jinja")).generate(
        title=title,
        facts=facts,
        style=Markup(style),
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        cards=_views(cards, thumb_height, quality, progress),
    )
    with (
        replacing(out) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        file.writelines(page)


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


def shown_knobs(params: Mapping[str, JSON]) -> dict[str, str]:
    """The drawn parameters as text, by dotted name; a long list is shown by its length."""
    knobs: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            knobs |= {f"{name}.{inner}": text for inner, text in shown_knobs(value).items()}
        elif isinstance(value, list) and len(json.dumps(value)) > _LONG_LIST:
            knobs[name] = f"{len(value)} values"
        else:
            knobs[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return knobs


def _asset(name: str) -> str:
    return (files("videossr.report") / name).read_text("utf-8")


def _views(
    cards: Iterable[Card], thumb_height: int, quality: int, progress: Callable[[int], None] | None
) -> Iterator[dict[str, object]]:
    for done, card in enumerate(cards, start=1):
        knobs = shown_knobs(card.sample.params)
        words = [card.sample.id, card.sample.task, card.sample.column, *(f"{k}={v}" for k, v in knobs.items())]
        yield {
            "sample": card.sample,
            "question": card.question,
            "truth": card.truth,
            "prompt": card.question.prompt.split(VIDEO),
            "command": card.command,
            "paths": [*card.paths, *[""] * (len(card.sample.sources) - len(card.paths))],
            "strips": [_strip(card, k, thumb_height, quality) for k in range(len(card.clips))],
            "knobs": knobs,
            "search": " ".join(words).lower(),
            "tally": sorted(Counter(outline.name for outline in card.truth.outlines).items()),
        }
        if progress is not None:
            progress(done)


def _strip(card: Card, position: int, thumb_height: int, quality: int) -> _Strip:
    clip = card.clips[position]
    sprite = make_sprite(clip.frames, thumb_height, quality)
    truth = card.truth if position == 0 else Truth(order=card.truth.order)  # spans and outlines belong to a lone clip
    edges = (*clip.clock.times_ms, clip.clock.end_ms)
    shapes: dict[int, list[Outline]] = {}
    for outline in truth.outlines:
        shapes.setdefault(outline.slot, []).append(outline)
    slots = tuple(
        _Slot(
            index=k,
            start_ms=edges[k],
            end_ms=edges[k + 1],
            x=_place(k % sprite.columns, sprite.columns),
            y=_place(k // sprite.columns, sprite.rows),
            marked=k in shapes or any(first <= k <= last for first, last in truth.spans),
            outlines=tuple(shapes.get(k, ())),
        )
        for k in range(len(clip.clock))
    )
    return _Strip(
        sprite=sprite,
        data=base64.b64encode(sprite.jpeg).decode(),
        slots=slots,
        spans_ms=tuple((edges[first], edges[last + 1]) for first, last in truth.spans),
        original=truth.order[position] + 1 if truth.order else None,
    )


def _place(cell: int, cells: int) -> str:
    """CSS background position of a cell: 0% shows the first of `cells`, 100% the last."""
    return f"{100 * cell / max(1, cells - 1):.4g}%"
