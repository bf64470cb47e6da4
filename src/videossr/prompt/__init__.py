"""Prompts of the model families: their markers of time, their tokens, their layout.

`builder` makes the `Builder` of a checkpoint, for evaluation and training. docs/concepts/prompt.md explains the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from videossr.errors import DataError
from videossr.prompt.base import Builder, Tokenizer
from videossr.prompt.qwen2_5_vl import Qwen25VL
from videossr.prompt.qwen3_vl import Qwen3VL
from videossr.registry import suggest
from videossr.storage.parsing import load_json

FAMILIES: Mapping[str, type[Qwen3VL] | type[Qwen25VL]] = {
    "qwen3_vl": Qwen3VL,
    "qwen3_vl_moe": Qwen3VL,
    "qwen2_5_vl": Qwen25VL,
    "qwen3_5": Qwen3VL,
    "qwen3_5_moe": Qwen3VL,
}
"""`model_type` in a checkpoint's `config.json` -> its builder."""

PREPROCESSORS = ("video_preprocessor_config.json", "processor_config.json", "preprocessor_config.json")
"""Files of a checkpoint that may have mean and deviation of the pixels; the first that has both counts."""

PIXELS = ("image_mean", "image_std")


class Config(Protocol):
    """A configuration object of transformers, as `AutoConfig.from_pretrained` returns it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `config.json`."""


def checkpoint_config(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's `config.json`, and add `image_mean` and `image_std` of its preprocessor.

    Args:
        folder: of the checkpoint.

    Raises:
        FileNotFoundError: the folder has no `config.json`.
        DataError: a file is damaged, or none has mean and deviation of the pixels.
    """
    config = read_table(folder / "config.json")
    if pixels := _pixels(folder):
        return {**config, **pixels}
    raise DataError(
        f"{folder}: none of {', '.join(PREPROCESSORS)} gives {' and '.join(PIXELS)}; copy these files from the "
        "model that it was trained from"
    )


def builder(config: Mapping[str, Any] | Config, tokenizer: Tokenizer, layout: str | None = None) -> Builder:
    """Make the builder of prompts for one checkpoint.

    Args:
        config: as `checkpoint_config` reads it, or a configuration object of transformers. Such an object has no
            `image_mean` and `image_std`: they are read from the folder that it was loaded from, or, where it came from
            elsewhere, are those of the family's released checkpoints.
        tokenizer: the checkpoint's own, with its chat template.
        layout: of the tokens around a video, for families that have several: see `videossr.prompt.qwen3_vl.Layout`.
            By default the one that the released weights were trained with.

    Returns:
        The builder, which turns a question and its clips into a `Prompt`.

    Raises:
        DataError: the family is not known, or settings or special tokens are missing.
        ConfigError: the layout is not known.
    """
    table = config if isinstance(config, Mapping) else config.to_dict()
    family = str(table.get("model_type"))
    if family not in FAMILIES:
        raise DataError(f"no prompts for the model_type {family!r}{suggest(family, FAMILIES)}")
    if not isinstance(config, Mapping):
        source = getattr(config, "name_or_path", "")
        table = {**table, **((_pixels(Path(source)) if source else None) or FAMILIES[family].pixels)}
    return FAMILIES[family](table, tokenizer, layout)


def _pixels(folder: Path) -> dict[str, Any] | None:
    """Read `image_mean` and `image_std` from the first preprocessor file that has both; None where none has."""
    for name in PREPROCESSORS:
        if (folder / name).is_file():
            table = read_table(folder / name)
            inner = table.get("video_processor")
            table = inner if isinstance(inner, dict) else table
            if all(key in table for key in PIXELS):
                return {key: table[key] for key in PIXELS}
    return None


def read_table(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is not a JSON object.
    """
    try:
        table = load_json(path)
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from None
    if not isinstance(table, dict):
        raise DataError(f"{path} is no JSON object")
    return table
