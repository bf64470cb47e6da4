"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def videos() -> Path:
    """The folder of real and of damaged test videos: beside the repository, or where VIDEOSSR_TEST_VIDEOS says."""
    named = os.environ.get("VIDEOSSR_TEST_VIDEOS")
    folder = Path(named) if named else Path(__file__).parents[1] / "../shared/videos"
    if not folder.is_dir():
        pytest.skip(f"no test videos at {folder}; set VIDEOSSR_TEST_VIDEOS to a folder that has them")
    return folder.resolve()
