"""Compare what another trainer makes of exported questions with our own prompts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from videossr.dataset.dataset import VideoSSRDataset
from videossr.engine.checkpoint import open_checkpoint
from videossr.prompt.qwen3_vl import markers


def check_shown(told: dict[str, Any], opened: VideoSSRDataset, tiny: Path) -> None:
    """Check that a trainer reads our prompts, with our time marks, and every frame at our size.

    Args:
        told: by a script of tests/integration/side: for each question `text`, `pads`, `features` and `sizes`.
        opened: the questions.
        tiny: the checkpoint whose prompts they are.
    """
    checkpoint = open_checkpoint(str(tiny))
    assert len(told["text"]) == len(opened)
    for index, text in enumerate(told["text"]):
        question, clips = opened.question(index), opened.clips(index)
        assert re.findall(r"<[\d.]+ seconds>", text) == [mark for clip in clips for mark in markers(clip.clock)]
        assert text == checkpoint.build(question, clips).text
        assert told["pads"][index] == told["features"][index] > 0
        even = [(len(clip.frames) + len(clip.frames) % 2, *clip.frames.shape[1:3]) for clip in clips]
        assert [tuple(size) for size in told["sizes"][index]] == even
