"""Which frames of a published question are altered ones, and how, as the names of their files tell.

An altered frame lies beside its original under a longer name: `12_mirror.jpg`, and `5_circle3.jpg` where three circles
were drawn. Exercised by `videossr bench run ROWS.parquet --model chance --out RUN`.
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
    """What the names of a clip's frames tell.

    Attributes:
        slots: those that show an altered frame.
        perturbation: how they are altered, as this package calls it; empty where the names do not say it.
        shapes: for each shape that is drawn, how often it is on each of its frames.
    """

    slots: tuple[int, ...]
    perturbation: str
    shapes: Mapping[str, tuple[int, ...]]


def find_perturbed(entry: Entry) -> PerturbedSpan:
    """What an entry of a row's `videos` tells; nothing where it is no list of files."""
    slots: list[int] = []
    kinds: set[str] = set()
    shapes: dict[str, tuple[int, ...]] = {}
    names = entry.get("video")
    for slot, name in enumerate(names if isinstance(names, list) else ()):
        found = _ALTERED.fullmatch(PurePosixPath(name).stem) if isinstance(name, str) and len(name) < 4096 else None
        if found is None:
            continue
        slots.append(slot)
        word, number = found[1].lower(), found[2]
        if word in _SHAPES and number:
            shapes[word] = (*shapes.get(word, ()), min(int(number[:9]), 10**6))
        else:
            kinds.add(word + number)
    (kind,) = kinds if len(kinds) == 1 else ("",)
    return PerturbedSpan(tuple(slots), _known_names().get(kind, ""), shapes)


def perturbation_of(name: str) -> str:
    """What this package calls a perturbation: `channel_swap` for `ChannelSwap`. One that it has not, in its style."""
    plain = re.sub(r"[^a-z0-9]+", "", name.lower())
    return _known_names().get(plain, plain)


@cache
def _known_names() -> Mapping[str, str]:
    """Return the names of this package's perturbations by those that published files may have."""
    return {name.replace("_", ""): name for name in PERTURBATIONS.names()} | {"stutterhold": "stutter"}
