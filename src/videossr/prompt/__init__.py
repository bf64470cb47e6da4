"""What a model family reads: its markers of time, its tokens, its layout. docs/prompt.md tells it at length.

`builder` makes the `Builder` of a checkpoint. Exercised by `videossr bench run BENCH --model hf:CHECKPOINT --out RUN`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def checkpoint_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's `config.json`, and with it `image_mean` and `image_std` of its preprocessor.

    Raises FileNotFoundError or ValueError that names the file and what it lacks.
    """
    config = read_table(folder / "config.json")
    for name in PREPROCESSORS:
        if (folder / name).exists():
            table = read_table(folder / name)
            inner = table.get("video_processor")
            table = inner if isinstance(inner, dict) else table
            if all(key in table for key in PIXELS):
                return {**config, **{key: table[key] for key in PIXELS}}
    raise ValueError(
        f"{folder}: none of {', '.join(PREPROCESSORS)} gives {' and '.join(PIXELS)}; copy these files from the "
        "model that it was trained from"
    )


def builder(config: Mapping[str, Any], tokenizer: Tokenizer, layout: str | None = None) -> Builder:
    """What turns questions into prompts for one checkpoint.

    Args:
        config: as `checkpoint_config` reads it.
        tokenizer: the checkpoint's own, with its chat template.
        layout: of the tokens around a video, for families that have several: see `videossr.prompt.qwen3_vl.Layout`.
            By default the one that the released weights were trained with.

    Raises ValueError for a family or layout that is not known, and for settings or special tokens that are missing.
    """
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise ValueError(f"no prompts for the model_type {family!r}{suggest(family, FAMILIES)}")
    return FAMILIES[family](config, tokenizer, layout)


def read_table(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises FileNotFoundError, or ValueError that names the file and what is wrong with it."""
    try:
        table = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(table, dict):
        raise ValueError(f"{path} is no JSON object")
    return table
