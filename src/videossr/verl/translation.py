"""Translate a configuration of `videossr train` to settings of verl, key by key, by the rules of `videossr.verl.rules`.

`videossr train CONFIG --engine verl` and `videossr export verl` use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from videossr.errors import ConfigError
from videossr.training.config import TrainConfig
from videossr.verl.rules import RULES, Overrides


@dataclass(frozen=True, slots=True)
class Translation:
    """A configuration in the words of verl.

    Attributes:
        settings: what is set.
        keys: of each setting the key that decides it.
        notes: sentences for the user.
    """

    settings: Overrides
    keys: Mapping[str, str]
    notes: tuple[str, ...]


def translate(config: TrainConfig) -> Translation:
    """Translate a configuration.

    Raises:
        ConfigError: verl cannot do what a key asks for; the message names the key, its value and the way out.
    """
    settings: Overrides = {}
    keys: dict[str, str] = {}
    notes: list[str] = []
    for key, rule in RULES.items():
        if fault := rule.fault(config):
            raise ConfigError(f"{key}={_written(value_of(config, key))}: {fault}")
        made = rule.settings(config)
        settings |= made
        keys |= dict.fromkeys(made, key)
        if note := rule.note(config):
            notes.append(f"{key}={_written(value_of(config, key))}: {note}")
    return Translation(settings, keys, tuple(notes))


def value_of(config: TrainConfig, key: str) -> Any:
    """Return the value of a key by its dotted name; None where the table that it is in is not there."""
    value: Any = config
    for name in key.split("."):
        value = None if value is None else getattr(value, name)
    return value


def _written(value: object) -> str:
    """Write a value as it stands on the command line; of a mixture, the names of its sets."""
    if isinstance(value, Mapping):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
