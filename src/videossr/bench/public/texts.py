"""The texts by which public benchmarks are asked: those of `prompts.toml`, and a file of the user laid over them."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from videossr.errors import ConfigError
from videossr.question import VIDEO
from videossr.registry import suggest
from videossr.storage.parsing import read_toml
from videossr.templates import check_placeholders

DEFAULT = "default"

_LABEL = "one_video", "each_video"


class Texts:
    """The texts of one benchmark, by the names of templates.

    Args:
        benchmark: its registered name.
        overlay: a TOML file whose tables replace texts: `[default]` for all benchmarks, a benchmark's name for it
            alone.

    Raises:
        ConfigError: the file has a table or a text that nothing uses, or one that lacks a placeholder.
    """

    def __init__(self, benchmark: str, overlay: Path | None = None, *, known: tuple[str, ...] = ()) -> None:
        base: dict[str, dict[str, str]] = tomllib.loads(
            (files("videossr.bench.public") / "prompts.toml").read_text("utf-8")
        )
        texts = base[DEFAULT] | base.get(benchmark, {})
        if overlay is not None:
            tables = read_toml(overlay)
            for name, table in tables.items():
                where = f"{overlay}: [{name}]"
                if name not in {DEFAULT, *base, *known}:
                    raise ConfigError(f"{where}: there is no such benchmark{suggest(name, {DEFAULT, *known})}")
                if not isinstance(table, Mapping):
                    raise ConfigError(f"{overlay}: {name} must be a table")
                allowed = base[DEFAULT] | base.get(name, {})
                for key, text in table.items():
                    if key not in allowed:
                        raise ConfigError(f"{where}: there is no text {key!r}{suggest(key, allowed)}")
                    if not isinstance(text, str):
                        raise ConfigError(f"{where}: {key} must be a text")
                    check_placeholders(allowed[key], text, f"{where}: {key}")
            texts |= tables.get(DEFAULT, {}) | tables.get(benchmark, {})
        self._texts = texts

    @property
    def hash(self) -> str:
        """SHA-256 in hex over the texts."""
        return hashlib.sha256(json.dumps(self._texts, sort_keys=True).encode()).hexdigest()

    @property
    def system(self) -> str:
        """Return the system turn, which may be empty."""
        return self._texts["system"]

    def prompt(self, template: str, question: str, options: tuple[str, ...], videos: int) -> str:
        """Write the user turn of a question that shows so many videos.

        Raises:
            ConfigError: there is no such template.
        """
        if template not in self._texts or template in _LABEL:
            raise ConfigError(f"there is no text {template!r}{suggest(template, self._texts)}")
        if videos == 1:
            shown = self._texts["one_video"]
        else:
            shown = "".join(self._texts["each_video"].format(position=k) for k in range(1, videos + 1))
        plain = {"question": question.strip(), "options": "\n".join(options)}
        plain = {name: text.replace(VIDEO, "video") for name, text in plain.items()}
        return self._texts[template].format(videos=shown, **plain).strip()
