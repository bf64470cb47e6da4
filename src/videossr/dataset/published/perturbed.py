"""Altered frames of a published question, recognized by the names of their files.

An altered frame lies beside its original under a longer name: `12_mirror.jpg`, and `5_circle3.jpg` where three circles
were drawn. `videossr.dataset.published.dataset` derives categories and truth from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from videossr.dataset.published.frames import Entry
from videossr.perturb import PERTURBATIONS

_ALTERED = re.compile(r"\d+_([a-z]+)(\d*)", re.IGNORECASE | re.ASCII)
_SHAPES = ("circle", "square", "triangle")


@dataclass(frozen=True, slots=True)
class PerturbedSpan:
    """The altered frames of a clip.

    Attributes:
        slots: slots that show an altered frame.
        perturbation: this package's name of the alteration; empty where the names do not have it.
        shapes: name of a drawn shape -> how often it is on each of its frames.
    """

    slots: tuple[int, ...]
    perturbation: str
    shapes: Mapping[str, tuple[int, ...]]


def find_perturbed(entry: Entry) -> PerturbedSpan:
    """Find the altered frames of an entry of a row's `videos`; none where it is no list of files."""
    slots: list[int] = []
    kinds: set[str] = set()
    shapes: dict[str, tuple[int, ...]] = {}
    names = entry.get("video")
    for slot, name in enumerate(names if isinstance(names, list) else ()):
        match = _ALTERED.fullmatch(PurePosixPath(name).stem) if isinstance(name, str) and len(name) < 4096 else None
        if match is None:
            continue
        slots.append(slot)
        word = match[1].lower()
        number = match[2]
        if word in _SHAPES and number:
            shapes[word] = (*shapes.get(word, ()), min(int(number[:9]), 10**6))
        else:
            kinds.add(word + number)
    (kind,) = kinds if len(kinds) == 1 else ("",)
    return PerturbedSpan(tuple(slots), _known_names().get(kind, ""), shapes)


def perturbation_of(name: str) -> str:
    """Return this package's name of a perturbation, `channel_swap` for `ChannelSwap`; an unknown one in lower case."""
    plain = re.sub(r"[^a-z0-9]+", "", name.lower())
    return _known_names().get(plain, plain)


@cache
def _known_names() -> Mapping[str, str]:
    """Return the names of this package's perturbations by those that published files may have."""
    return {name.replace("_", ""): name for name in PERTURBATIONS.names()} | {"stutterhold": "stutter"}
