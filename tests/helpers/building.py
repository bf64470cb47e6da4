"""Many short generated clips, whose content every gate admits, and corpora and datasets of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.clips import pan, write
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.cli import main
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.manifest import Manifest
from videossr.question import Frames
from videossr.templates import load_templates
from videossr.video.plan import Plan

CLIPS = 16
SLOTS = 16
PLAN = Plan(frames=SLOTS)
CONFIG = {"frames": SLOTS, "length": [4, 6]}
CALM = {"contrast": 1.2}
"""With these limits, all generated clips admit a mirror and a swap."""

MIRROR = {"task": "grounding", "config": {**CONFIG, "perturbation": "mirror", "limits": CALM}}
SWAP = {"task": "grounding", "config": {**CONFIG, "perturbation": "swap", "limits": CALM}}
JIGSAW = {"task": "jigsaw", "config": {"frames": SLOTS, "pieces": 4, "solver": 1}}
COUNTING = {"task": "counting", "config": {"frames": SLOTS, "slots_max": 1}}

Categories = Mapping[str, tuple[dict[str, Any], int]]
Make = Callable[..., Manifest]
Run = Callable[..., tuple[int, str, str]]


def picture(seed: int, frames: int = 24, height: int = 128, width: int = 160) -> Frames:
    """Return the pictures of `pan` in one array."""
    return np.stack(list(pan(seed, frames, height, width)))


def indexed(folder: Path, plan: Plan = PLAN, source_id: str | None = None) -> Corpus:
    """Index a folder into a corpus beside it."""
    out = folder.with_name(folder.name + "-corpus")
    index_videos(folder, out, plan, source_id=source_id)
    return Corpus(out)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "clips"
    for number in range(CLIPS):
        write(folder / f"clip_{number:02}.mp4", picture(number))
    return folder


@pytest.fixture(scope="session")
def made(clips: Path) -> Corpus:
    return indexed(clips)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return `make("name", corpus, {category: (table, count)}, …)`: it builds `tmp_path/name` and returns its manifest.

    Its argument `most` is the largest number of videos to use, 0 for all.
    """

    def build(
        name: str, corpus: Corpus, categories: Mapping[str, tuple[dict[str, Any], int]], most: int = 0, **options: Any
    ) -> Manifest:
        tables = {category: {**table, "count": count} for category, (table, count) in categories.items()}
        plan = recipe.ResolvedRecipe(Recipe(name="made", categories=tables), "made").of_videos(most)
        return build_dataset(plan, corpus, tmp_path / name, templates=load_templates(), **options)

    return build


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return `run("build", …)`, which calls the command and returns its exit status and both outputs."""

    def run_command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = 0
        try:
            main(words)
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        return status, *capsys.readouterr()

    return run_command
