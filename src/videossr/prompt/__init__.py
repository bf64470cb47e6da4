"""What a model family reads: its markers of time, its tokens, its layout.

`builder` makes the `Builder` of a checkpoint. Exercised by `videossr bench run BENCH --model hf:CHECKPOINT --out RUN`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videossr.prompt import qwen3_vl
from videossr.prompt.base import Builder, Tokenizer

PREPROCESSORS = ("video_preprocessor_config.json", "processor_config.json", "preprocessor_config.json")
"""Files of a checkpoint that may tell how its pixels are normalised; the first that does counts."""


def checkpoint_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's `config.json`, and with it `image_mean` and `image_std` of its preprocessor.

    Raises FileNotFoundError or ValueError that names the file and what it lacks.
    """
    raise NotImplementedError


def builder(config: Mapping[str, Any], tokenizer: Tokenizer, layout: str | None = None) -> Builder:
    """What turns questions into prompts for one checkpoint.

    Args:
        config: as `checkpoint_config` reads it.
        tokenizer: the checkpoint's own, with its chat template.
        layout: of the tokens around a video, for families that have several: see `videossr.prompt.qwen3_vl.Layout`.
            By default the one that the released weights were trained with.

    Raises ValueError for a family that is not known, and for settings or special tokens that are missing.
    """
    raise NotImplementedError
