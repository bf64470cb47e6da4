"""What a model family reads: its markers of time, its tokens, its layout. docs/concepts/prompt.md tells it at length.

`builder` makes the `Builder` of a checkpoint. Exercised by `videossr bench run BENCH --model hf:CHECKPOINT --out RUN`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from videossr.errors import DataError
from videossr.prompt.base import Builder, Tokenizer
from videossr.prompt.qwen2_5_vl import Qwen25VL
from videossr.prompt.qwen3_vl import Qwen3VL
from videossr.registry import suggest

FAMILIES: Mapping[str, type[Qwen3VL] | type[Qwen25VL]] = {
    "qwen3_vl": Qwen3VL,
    "qwen3_vl_moe": Qwen3VL,
    "qwen2_5_vl": Qwen25VL,
}
"""By the `model_type` of a checkpoint's `config.json`."""

PREPROCESSORS = ("video_preprocessor_config.json", "processor_config.json", "preprocessor_config.json")
"""Files of a checkpoint that may tell how pixels are normalised; the first that does counts."""

PIXELS = ("image_mean", "image_std")


class Config(Protocol):
    """A configuration object of transformers, as `AutoConfig.from_pretrained` returns it."""

    def to_dict(self) -> dict[str, Any]:
        """The content of `config.json`."""


def checkpoint_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's `config.json`, and with it `image_mean` and `image_std` of its preprocessor.

    Raises FileNotFoundError or ValueError that names the file and what it lacks.
    """
    config = read_table(folder / "config.json")
    if pixels := _pixels(folder):
        return {**config, **pixels}
    raise DataError(
        f"{folder}: none of {', '.join(PREPROCESSORS)} gives {' and '.join(PIXELS)}; copy these files from the "
        "model that it was trained from"
    )


def builder(config: Mapping[str, Any] | Config, tokenizer: Tokenizer, layout: str | None = None) -> Builder:
    """What turns questions into prompts for one checkpoint.

    Args:
        config: as `checkpoint_config` reads it, or a configuration object of transformers. That says nothing of
            `image_mean` and `image_std`: they are read from the folder that it was loaded from, or, where it came from
            elsewhere, are those of the family's released checkpoints.
        tokenizer: the checkpoint's own, with its chat template.
        layout: of the tokens around a video, for families that have several: see `videossr.prompt.qwen3_vl.Layout`.
            By default the one that the released weights were trained with.

    Raises ValueError for a family or layout that is not known, and for settings or special tokens that are missing.
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
    """`image_mean` and `image_std` as the first preprocessor file of a checkpoint tells both; None where none does."""
    for name in PREPROCESSORS:
        if (folder / name).is_file():
            table = read_table(folder / name)
            inner = table.get("video_processor")
            table = inner if isinstance(inner, dict) else table
            if all(key in table for key in PIXELS):
                return {key: table[key] for key in PIXELS}
    return None


def read_table(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises FileNotFoundError, or ValueError that names the file and what is wrong with it."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is no JSON: {error}") from None
    if not isinstance(table, dict):
        raise DataError(f"{path} is no JSON object")
    return table
