"""Parse settings on the command line: `--a.b=value`, in every verb that takes settings."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Annotated

from cyclopts import Parameter

from videossr.errors import ConfigError

Setting = Annotated[str, Parameter(allow_leading_hyphen=True)]
"""The type of a command's `*settings`: every word that is none of its own options."""


def parse_settings(
    words: Iterable[str], command: Callable[..., None], example: str, prefix: str = ""
) -> dict[str, str]:
    """Read settings of the form `--a.b=value`.

    Args:
        words: what the command line holds beside the options of the command.
        command: the function of the command, whose keyword arguments are its options.
        example: a setting that this command takes, for messages.
        prefix: what all names must begin with, such as ``model.``; it is left out of the result.

    Returns:
        The text of each value by its dotted name.

    Raises:
        ConfigError: a word is not a setting; the message names the option that may have been meant.
    """
    settings = {}
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and "." not in name and (option := _nearest_option(name, command)):
            raise ConfigError(f"{word}: there is no such option; did you mean {option}?")
        if not (word.startswith("--") and equals):
            raise ConfigError(f"{word}: a setting is written --NAME=VALUE, such as {example}")
        if not name.startswith(prefix):
            raise ConfigError(f"{word}: the settings of this command begin with --{prefix}, such as {example}")
        if name.removeprefix(prefix) in settings:
            raise ConfigError(f"--{name} is given twice")
        settings[name.removeprefix(prefix)] = value
    return settings


def _nearest_option(name: str, command: Callable[..., None]) -> str | None:
    """Find the option of a command whose name is nearest to a word."""
    parameters = inspect.signature(command).parameters.values()
    options = [parameter.name.replace("_", "-") for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.8)
    return f"--{near[0]}" if near else None
