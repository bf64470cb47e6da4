"""A plug-in of swift for tests with the tiny model in TINY, whose tokenizer has other ids than the released one.

It also registers a reward, `spread`, by which the random answers of such a model differ.
"""

import json
import os
import zlib
from pathlib import Path

import torchvision_ops  # noqa: F401  (before swift)
from swift.rewards import ORM, orms
from swift.template.templates.qwen import Qwen3VLTemplate

config = json.loads((Path(os.environ["TINY"]) / "config.json").read_text("utf-8"))
Qwen3VLTemplate.image_token_id = config["image_token_id"]
Qwen3VLTemplate.video_token_id = config["video_token_id"]


class Spread(ORM):
    """A number in [0, 1) that depends on the text."""

    def __call__(self, completions, **_columns):
        return [zlib.crc32(text.encode()) / 2**32 for text in completions]


orms["spread"] = Spread
