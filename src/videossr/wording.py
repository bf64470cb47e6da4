"""Every text put to a model, read from `prompts.toml` and from the files that a user lays over it (`--wording`)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

Wording = Mapping[str, Any]
"""Tables of `prompts.toml`: a task's name -> its texts."""


def load_wording(overlay: Path | None = None) -> Wording:
    """The package's wording; texts in `overlay` replace those of the same place, unknown places are refused."""
    base = tomllib.loads((files("videossr") / "prompts.toml").read_text("utf-8"))
    if overlay is not None:
        try:
            replacement = tomllib.loads(overlay.read_text("utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{overlay}: not valid TOML: {error}") from error
        _lay_over(base, replacement, str(overlay))
    return MappingProxyType(base)


def _lay_over(base: dict[str, Any], overlay: Mapping[str, Any], where: str) -> None:
    for name, value in overlay.items():
        if isinstance(value, Mapping):
            _lay_over(base.setdefault(name, {}), value, f"{where}: {name}")
        elif isinstance(value, str):
            base[name] = value
        else:
            raise ValueError(f"{where}: {name} must be text, got {type(value).__name__}")
