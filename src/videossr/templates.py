"""Every text put to a model: those of `prompts.toml` and of the perturbations, and what a user lays over them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

from videossr.config import read_toml
from videossr.errors import ConfigError
from videossr.perturb import PERTURBATIONS, open_perturbation
from videossr.question import VIDEO
from videossr.registry import suggest

PromptTemplates = Mapping[str, Any]
"""Tables of `prompts.toml`: a task's name -> its texts."""


def load_templates(overlay: Path | None = None) -> PromptTemplates:
    """Read the wording of this package, with the texts of `overlay` in place of its own.

    The overlay may also have a table for an installed task of another package, and texts of installed perturbations of
    other packages under ``[grounding.changes]``.

    Args:
        overlay: a TOML file (`--templates`).

    Raises:
        ConfigError: the overlay has a text that there is no place for, or that cannot be filled in as the one that it
            replaces.
    """
    base = tomllib.loads((files("videossr") / "prompts.toml").read_text("utf-8"))
    changes = {name: open_perturbation(name).text for name in PERTURBATIONS.names() if _is_built_in(name)}
    base["grounding"]["changes"] = changes
    if overlay is not None:
        table = read_toml(overlay)
        plugins = {point.name for point in entry_points(group="videossr.tasks")} - base.keys()
        own = {name: table.pop(name) for name in plugins & table.keys()}
        for name in _worded_changes(table):
            if name in PERTURBATIONS.names():
                changes[name] = open_perturbation(name).text
        _lay_over(base, table, str(overlay))
        base.update(own)
    return base


def _is_built_in(perturbation: str) -> bool:
    """Tell whether a perturbation belongs to this package; the texts of others are in the datasets that use them."""
    return PERTURBATIONS.module(perturbation).partition(".")[0] == "videossr"


def _worded_changes(table: Mapping[str, Any]) -> Iterable[str]:
    """Return the names of the perturbations for which an overlay has texts."""
    grounding = table.get("grounding")
    changes = grounding.get("changes") if isinstance(grounding, Mapping) else None
    return changes if isinstance(changes, Mapping) else ()


def _lay_over(base: dict[str, Any], overlay: Mapping[str, Any], where: str) -> None:
    for name, value in overlay.items():
        place = base.get(name)
        if place is None:
            raise ConfigError(f"{where}: there is no text {name!r}{suggest(name, base)}")
        if isinstance(place, dict) and isinstance(value, Mapping):
            _lay_over(place, value, f"{where}: {name}")
        elif isinstance(place, str) and isinstance(value, str):
            _compare(place, value, f"{where}: {name}")
            base[name] = value
        else:
            expected = "a table" if isinstance(place, dict) else "text"
            raise ConfigError(f"{where}: {name} must be {expected}, got {type(value).__name__}")


def _compare(old: str, new: str, where: str) -> None:
    """A text must be filled in with what the one that it replaces is filled in with, and show as many clips."""
    try:
        filled = _fields(new)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; a brace that is meant as such is doubled") from error
    if filled != _fields(old):
        names = ", ".join(f"{{{name}}}" for name in sorted(_fields(old))) or "no braces"
        raise ConfigError(f"{where}: must hold {names}, got {', '.join(sorted(filled)) or 'none'}")
    if new.count(VIDEO) != old.count(VIDEO):
        raise ConfigError(f"{where}: must hold {VIDEO} {old.count(VIDEO)} times, got {new.count(VIDEO)}")


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
