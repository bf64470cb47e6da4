"""Limits on what a file may ask for, so that a small file of a stranger stays a small task.

Each is checked before memory is reserved, and what exceeds it is an error of that row, pack or file alone. Where data
that you trust need more, the environment variable of the same name behind `VIDEOSSR_` sets another limit, as in
`VIDEOSSR_PICTURE_PIXELS=200000000`. Readers of pictures, videos, packs, rows, tables and settings call this module.
"""

from __future__ import annotations

import os

from videossr.errors import ConfigError

_VARIABLE = "VIDEOSSR_{}"


def _limit(name: str, default: int) -> int:
    """Return a limit: that of the environment, or else the default. Raises ConfigError for one that is no number."""
    variable = _VARIABLE.format(name)
    text = os.environ.get(variable, "")
    if text and not (text.isascii() and text.isdigit() and int(text[:18])):
        raise ConfigError(f"{variable}={text[:60]}: it must be a whole number above 0")
    return int(text[:18]) if text else default


PICTURE_PIXELS = _limit("PICTURE_PIXELS", 2**26)
"""Height times width of one picture or one frame of a video file. 8K video has 2**25; photos rarely have 2**26."""

PICTURE_BYTES = _limit("PICTURE_BYTES", 2**28)
"""Size of the file of one picture. A PNG of `PICTURE_PIXELS` without any compression has 2**27.6."""

CLIP_PIXELS = _limit("CLIP_PIXELS", 2**28)
"""Height times width times frames of what is decoded for one sample, row or video at once; 805 MB.

48 frames of 256 x 256 have 2**21.6. The longest clip that qwen_vl_utils makes of a video by itself has 2**27.8.
"""

ROW_FRAMES = _limit("ROW_FRAMES", 2**13)
"""Frames that all entries of one published row name. The paper's rows have 48; qwen_vl_utils takes 768 of a video."""

VIDEO_FRAMES = _limit("VIDEO_FRAMES", 2**22)
"""Frames of one video file: 46 hours at 25 a second."""

ROWS_BYTES = _limit("ROWS_BYTES", 2**30)
"""Size of a file of published rows in JSON. The paper's rows have 100 MB."""

TABLE_BYTES = _limit("TABLE_BYTES", 2**28)
"""Bytes of a decoded Parquet file, and beyond them `TABLE_RATIO` bytes for each of the file's own."""

TABLE_RATIO = _limit("TABLE_RATIO", 128)
"""Decoded bytes for a byte of a Parquet file. Rows with long prompts that are all alike reach 60."""

JSON_BYTES = _limit("JSON_BYTES", 2**26)
"""Size of a manifest or another JSON file that is no list of rows. That of a corpus has 50 kB."""

TOML_BYTES = _limit("TOML_BYTES", 2**20)
"""Size of a recipe, of a file of prompts, and of the settings of a run. Shipped recipes have up to 10 kB."""

CATEGORY_SAMPLES = _limit("CATEGORY_SAMPLES", 10**8)
"""Samples of one category of a recipe. The paper's dataset has 10,000 in each."""


def exceeds(what: str, value: int, name: str) -> str:
    """Say that something has more than a limit allows, and how to raise it.

    Args:
        what: what the number counts, as a phrase such as ``pixels``.
        value: how many there are.
        name: of the limit, a constant of this module.
    """
    most: int = globals()[name]
    return f"{value} {what} are more than {most}; where you trust the data, set {_VARIABLE.format(name)} higher"


def picture_excess(height: int, width: int) -> str:
    """Say that a picture of a size in pixels is larger than `PICTURE_PIXELS`; an empty text where it is not."""
    pixels = height * width
    return exceeds(f"pixels ({width} x {height})", pixels, "PICTURE_PIXELS") if pixels > PICTURE_PIXELS else ""
