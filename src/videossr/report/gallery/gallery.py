"""The gallery: one self-contained HTML page on which people see whether the labels are right.

    videossr gallery DATASET --out gallery.html

The page is streamed to the file card by card, so that memory holds the pixels of one sample at a time. Text on it is
untrusted (paths, category names, prompts): Jinja2 escapes all of it, and the page's own policy runs no script but ours.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videossr.question import VIDEO, Clip, Frames, Question, Truth
from videossr.report.gallery.filmstrip import make_strips
from videossr.report.page import write_page
from videossr.sample import JSON, Sample

THUMB_HEIGHT = 208
"""Height of the frames in pixels: as the page shows one of them large."""

_LONG_LIST = 48
"""A list that takes more characters than this is shown by its length alone."""


@dataclass(frozen=True, slots=True)
class Card:
    """One sample as the gallery shows it.

    `command` is the shell line that makes this card again; `params` are the drawn parameters as its task shows them
    (`videossr.tasks.base.OpenTask.shown_params`); `paths` name the sample's sources, where they are known;
    `before` (T, H, W, 3) is what the T slots of the altered span would show if nothing had been altered.
    """

    sample: Sample
    question: Question
    clips: Sequence[Clip]
    truth: Truth
    command: str
    params: Mapping[str, JSON]
    paths: Sequence[str] = ()
    before: Frames | None = None


def write_gallery(
    cards: Iterable[Card],
    out: Path,
    title: str,
    facts: Mapping[str, str],
    thumb_height: int = THUMB_HEIGHT,
    quality: int = 70,
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
    write_page(
        "gallery.html.jinja",
        out,
        ["gallery.css"],
        ["player.js", "gallery_strips.js", "gallery.js"],
        title=title,
        facts=facts,
        cards=_views(cards, thumb_height, quality, progress),
    )


def shown_parameters(params: Mapping[str, JSON]) -> dict[str, str]:
    """Return parameters as text, by dotted name; a long list is shown by its length."""
    settings: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, dict):
            settings |= {f"{name}.{inner}": text for inner, text in shown_parameters(value).items()}
        elif isinstance(value, list) and len(json.dumps(value)) > _LONG_LIST:
            settings[name] = f"{len(value)} values"
        else:
            settings[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return settings


def _views(
    cards: Iterable[Card], thumb_height: int, quality: int, progress: Callable[[int], None] | None
) -> Iterator[dict[str, object]]:
    for done, card in enumerate(cards, start=1):
        settings = shown_parameters(card.params)
        words = [card.sample.id, card.sample.task, card.sample.category, *(f"{k}={v}" for k, v in settings.items())]
        yield {
            "sample": card.sample,
            "question": card.question,
            "truth": card.truth,
            "prompt": card.question.prompt.split(VIDEO),
            "command": card.command,
            "paths": [*card.paths, *[""] * (len(card.sample.sources) - len(card.paths))],
            "strips": make_strips(card.clips, card.truth, thumb_height, quality, before=card.before),
            "settings": settings,
            "search": " ".join(words).lower(),
            "tally": sorted(Counter(outline.name for outline in card.truth.outlines).items()),
        }
        if progress is not None:
            progress(done)
