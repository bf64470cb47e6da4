"""Prompt templates: every text of a question, from `prompts.toml`, from perturbations, and from a file of the user."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

from videossr.errors import ConfigError
from videossr.perturb import PERTURBATIONS, open_perturbation
from videossr.question import VIDEO
from videossr.registry import find_entry_points, suggest
from videossr.storage.parsing import read_toml

PromptTemplates = Mapping[str, Any]
"""Tables of `prompts.toml`: a task's name -> its texts."""


def load_templates(overlay: Path | None = None) -> PromptTemplates:
    """Load the templates of the package, with the texts of `overlay` in place of its own.

    Args:
        overlay: a TOML file with some of the tables of `prompts.toml` (`--templates`). It may also have a table for an
            installed task of another package, of any content, and texts of installed perturbations of other packages
            under ``[grounding.changes]``.

    Returns:
        Table of each task.

    Raises:
        ConfigError: the file has a text that nothing uses, or one that lacks a placeholder.
    """
    base = tomllib.loads((files("videossr") / "prompts.toml").read_text("utf-8"))
    changes = {name: open_perturbation(name).text for name in PERTURBATIONS.names() if _is_built_in(name)}
    base["grounding"]["changes"] = changes
    if overlay is not None:
        table = read_toml(overlay)
        plugins = {point.name for point in find_entry_points("videossr.tasks")} - base.keys()
        plugin_tables = {name: table.pop(name) for name in plugins & table.keys()}
        for name in _worded_changes(table):
            if name in PERTURBATIONS.names():
                changes[name] = open_perturbation(name).text
        _merge(base, table, str(overlay))
        base.update(plugin_tables)
    return base


def _is_built_in(perturbation: str) -> bool:
    """Tell whether a perturbation belongs to this package; the texts of others are in the datasets that use them."""
    return PERTURBATIONS.module(perturbation).partition(".")[0] == "videossr"


def _worded_changes(table: Mapping[str, Any]) -> Iterable[str]:
    """Return the names of the perturbations for which an overlay has texts."""
    grounding = table.get("grounding")
    changes = grounding.get("changes") if isinstance(grounding, Mapping) else None
    return changes if isinstance(changes, Mapping) else ()


def _merge(base: dict[str, Any], overlay: Mapping[str, Any], where: str) -> None:
    """Replace texts of `base` by those of `overlay`, table by table."""
    for name, value in overlay.items():
        old = base.get(name)
        if old is None:
            raise ConfigError(f"{where}: there is no text {name!r}{suggest(name, base)}")
        if isinstance(old, dict) and isinstance(value, Mapping):
            _merge(old, value, f"{where}: {name}")
        elif isinstance(old, str) and isinstance(value, str):
            check_placeholders(old, value, f"{where}: {name}")
            base[name] = value
        else:
            expected = "a table" if isinstance(old, dict) else "text"
            raise ConfigError(f"{where}: {name} must be {expected}, got {type(value).__name__}")


def check_placeholders(old: str, new: str, where: str) -> None:
    """Check that a text has the placeholders of the text that it replaces, and shows as many clips.

    Raises:
        ConfigError: it lacks one or has another one; the message begins with `where`.
    """
    try:
        filled = _fields(new)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; write a brace that is part of the text twice") from error

    if filled != _fields(old):
        names = ", ".join(f"{{{name}}}" for name in sorted(_fields(old))) or "no braces"
        raise ConfigError(f"{where}: must hold {names}, got {', '.join(sorted(filled)) or 'none'}")
    if new.count(VIDEO) != old.count(VIDEO):
        raise ConfigError(f"{where}: must hold {VIDEO} {old.count(VIDEO)} times, got {new.count(VIDEO)}")


def _fields(text: str) -> set[str]:
    """Return what stands in the braces of a text: names, with a conversion or a format if they have one."""
    return {
        name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
        for _, name, form, conversion in Formatter().parse(text)
        if name is not None
    }
