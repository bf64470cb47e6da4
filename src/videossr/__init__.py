"""videossr: questions with proven answers from any folder of unlabelled videos.

The names below are the public ones; each is imported when it is first used, so `import videossr` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

_HOME = {
    "Clip": "videossr.question",
    "Clock": "videossr.clock",
    "Corpus": "videossr.corpus.corpus",
    "Item": "videossr.dataset.dataset",
    "Measure": "videossr.measure",
    "Question": "videossr.question",
    "Reject": "videossr.sample",
    "Sample": "videossr.sample",
    "Scores": "videossr.rewards",
    "Task": "videossr.tasks.base",
    "Truth": "videossr.question",
    "Video": "videossr.tasks.base",
    "VideoKey": "videossr.sample",
    "VideoSSRDataset": "videossr.dataset.dataset",
    "collate": "videossr.dataset.dataset",
    "compute_score": "videossr.rewards",
}

__all__ = sorted(_HOME)
__version__ = version("videossr")


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'videossr' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
