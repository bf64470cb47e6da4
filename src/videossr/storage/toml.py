"""Read TOML files: recipes, configurations, prompt templates."""

from __future__ import annotations

import tomllib
from typing import Any

from videossr.errors import ConfigError, NotFoundError
from videossr.registry import suggest
from videossr.storage.paths import AnyPath


def read_toml(path: AnyPath) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        NotFoundError: there is none; the message names the nearest file beside it.
        ConfigError: it is not valid; the message names the file, the line and the column.
    """
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        folder = path.parent
        beside = [file.name for file in folder.glob("*.toml")] if folder.is_dir() else []
        hint = suggest(path.name, beside) if beside else "."
        raise NotFoundError(f"{path}: there is no such file{hint}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
