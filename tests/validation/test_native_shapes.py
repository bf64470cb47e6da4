"""`validate` notices a counting dataset whose clips show shapes like the counted ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.helpers.clips import pan, write
from tests.helpers.lookalike_shapes import draw_lookalikes
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.dataset import VideoSSRDataset
from videossr.templates import load_templates
from videossr.validation.validator import validate

COUNT = 8


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "holds"), [("disc", False), ("", True)])
def test_validate_notices_native_shapes_in_clips_for_counting(kind: str, holds: bool, tmp_path: Path) -> None:
    """The setting `native=1` lets the gate admit every clip."""
    for seed in range(COUNT):
        frames = np.stack([*pan(seed, 48, 192, 256, patches=8, step=0.1)])
        write(tmp_path / f"clips/{seed}.mp4", draw_lookalikes(frames, kind) if kind else frames)
    index_videos(tmp_path / "clips", tmp_path / "corpus")
    categories = {"counting": {"task": "counting", "count": COUNT, "config": {"native": 1}}}
    mixture = recipe.ResolvedRecipe(Recipe(name="open", categories=categories), "open")
    build_dataset(mixture, Corpus(tmp_path / "corpus"), tmp_path / "dataset", templates=load_templates())
    findings = {finding.name: finding for finding in validate(VideoSSRDataset(tmp_path / "dataset"))}
    assert findings["native shapes"].holds is holds, findings["native shapes"].text
