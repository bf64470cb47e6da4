"""Batches of our collator equal those of transformers' own processors, and models compute the same from both."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from tests.integration.conftest import RELEASES, Ask, Release
from videossr.dataset.dataset import VideoSSRDataset
from videossr.models.tiny import Family, make_tiny

pytestmark = pytest.mark.integration

CATEGORIES = ("grounding/mirror", "jigsaw/6", "counting/easy")
"""Of the items of a batch: one clip, several clips, and one clip whose clock is made uneven."""


@pytest.mark.parametrize("release", RELEASES, ids=str)
@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl"])
def test_collator_gives_what_the_processor_gives(
    ask: Ask, dataset: Path, tmp_path: Path, family: Family, release: Release
) -> None:
    """Qwen2.5-VL has no uneven clocks; where its positions differ is in docs/concepts/prompt.md."""
    categories = VideoSSRDataset(dataset)["category"]
    question = {
        "library": sysconfig.get_paths()["purelib"],
        "checkpoint": str(make_tiny(tmp_path / "model", family=family)),
        "dataset": str(dataset),
        "indices": [categories.index(name) for name in CATEGORIES],
        "layout": release.layout if family == "qwen3_vl" else None,
        "uneven": family == "qwen3_vl",
    }
    answer = ask(release.environment, "collator.py", question)
    assert answer["version"].startswith(f"{release}.")
    kinds = ["mm_token_type_ids"] * (release.version != "4.57")
    for side in ("left", "right"):
        ours, theirs = answer[side]["names"]
        wanted = ["attention_mask", "input_ids", *kinds, "pixel_values_videos", "position_ids", "video_grid_thw"]
        assert ours == wanted
        assert sorted({*ours} - {"position_ids"}) == sorted({*theirs} - {"second_per_grid_ts"})
        assert answer[side]["equal"] == dict.fromkeys(sorted({*ours} - {"pixel_values_videos", "position_ids"}), True)
        assert answer[side]["pixels"] <= 1e-6
        if family == "qwen3_vl":
            assert answer[side]["logits"] <= 2e-5 * answer[side]["reach"]
