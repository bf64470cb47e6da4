"""LLaMA-Factory reads what `videossr export llamafactory` wrote: clocks, pixels, and two steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.exports import ShortClipsDataset
from tests.helpers.trainer_prompts import check_shown
from tests.integration.conftest import Ask
from videossr.clock import uniform_clock
from videossr.dataset.dataset import VideoSSRDataset
from videossr.export.llamafactory import export_llamafactory
from videossr.models.tiny import make_tiny

pytestmark = pytest.mark.integration


class AlikeClips(ShortClipsDataset):
    """Two clips of an odd number of frames, and of one clock."""

    shown = (uniform_clock(7, 2910),) * 2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny") / "model")


def read(ask: Ask, opened: VideoSSRDataset, out: Path, tiny: Path, steps: int = 0) -> dict[str, Any]:
    """Export questions, and let LLaMA-Factory read them."""
    export_llamafactory(opened, out, "small")
    question = {"folder": str(out), "tiny": str(tiny), "steps": steps}
    told: dict[str, Any] = ask("llamafactory", "llamafactory_export.py", question)
    return told


def test_llamafactory_shows_the_clock_of_every_clip_and_trains_on_gold_answers(
    ask: Ask, dataset: Path, tiny: Path, tmp_path: Path
) -> None:
    opened = VideoSSRDataset(dataset)
    told = read(ask, opened, tmp_path / "out", tiny, steps=2)
    assert {len(sizes) for sizes in told["sizes"]} == {1, 6}
    check_shown(told, opened, tiny)
    assert told["answer"] == [f"{opened.question(index).answer}<|im_end|>\n" for index in range(len(opened))]
    assert len(told["losses"]) == 2
    assert all(0 < loss < 20 for loss in told["losses"])


def test_llamafactory_shows_alike_clips_of_odd_numbers_of_frames(
    ask: Ask, dataset: Path, tiny: Path, tmp_path: Path
) -> None:
    opened = AlikeClips(dataset)
    check_shown(read(ask, opened, tmp_path / "out", tiny), opened, tiny)
