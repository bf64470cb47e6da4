"""VIUBench as the paper has it: the order of its categories, its abilities, and the scores that it publishes.

Exercised by `videossr bench score RUN --paper`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

HEADINGS: Mapping[str, str] = {
    "counting/easy": "C easy",
    "counting/hard": "C hard",
    "grounding/channel_swap": "channel",
    "grounding/rotate_180": "rotate",
    "grounding/zoom_out": "zoom out",
    "grounding/mirror": "mirror",
    "grounding/shuffle": "shuffle",
    "jigsaw/6": "J 6",
    "jigsaw/8": "J 8",
}
"""Names of the categories in the paper's table."""

CATEGORIES = tuple(HEADINGS)
"""In the paper's order; 300 questions each."""

ABILITIES: Mapping[str, frozenset[str]] = {
    "fine-grained": frozenset(
        {"counting", "channel_swap", "saturation", "noise", "blur", "grayscale", "invert"},
    ),
    "spatial": frozenset({"rotate_90", "rotate_180", "rotate_270", "zoom_in", "zoom_out", "mirror"}),
    "temporal": frozenset({"shuffle", "slow", "fast", "stutter", "jigsaw"}),
}
"""Abilities that the paper says a task, or a perturbation of a grounding question, asks of a model."""


@dataclass(frozen=True, slots=True)
class Published:
    """A row that the paper prints, in percent. It was measured on other videos than a benchmark built here."""

    model: str
    categories: Mapping[str, float]
    overall: float


@cache
def published() -> tuple[Published, ...]:
    """Read the rows of the paper's table, in its order."""
    table = tomllib.loads((files("videossr.bench") / "published.toml").read_text("utf-8"))
    return tuple(
        Published(row["model"], dict(zip(CATEGORIES, row["categories"], strict=True)), row["overall"])
        for row in table["viubench"]
    )


def ability(category: str, task: str, perturbation: str = "") -> str | None:
    """Return the ability that a category asks for; None where the paper names none.

    The perturbation is the last part of the category's name, unless it is given.
    """
    kind = (perturbation or category.rpartition("/")[2]) if task == "grounding" else task
    return next((name for name, kinds in ABILITIES.items() if kind in kinds), None)


def rank(category: str) -> tuple[int, str]:
    """Sorts categories in the paper's order, and others behind them by name."""
    return (CATEGORIES.index(category) if category in CATEGORIES else len(CATEGORIES), category)
