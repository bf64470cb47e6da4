"""The checks of `validate` for orders and the solver of jigsaws, on datasets that were built with such faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.clips import write
from videossr.answers.checks import Check
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.dataset import VideoSSRDataset
from videossr.question import Frames
from videossr.rewards import score_order, scorer
from videossr.templates import load_templates
from videossr.validation import shortcuts
from videossr.validation.orders import faults, finding
from videossr.validation.validator import validate

OPEN = {"area": 0, "cut": 1, "loop": 0, "again": 1, "link": 10, "course": 0}
COUNT = 12


def shot(seed: int, frames: int) -> Frames:
    """Pan over a wall of tiles, two pixels a frame."""
    tiles = np.random.default_rng(seed).integers(0, 256, (8, 20, 3), np.uint8).repeat(12, axis=0).repeat(12, axis=1)
    return np.stack([tiles[:, 2 * frame : 2 * frame + 128] for frame in range(frames)])


def montage(seed: int) -> Frames:
    """Join shots of 8 frames, so that every border of 6 pieces lies on a cut."""
    return np.concatenate([shot(100 * seed + part, 8) for part in range(6)])


def slideshow(seed: int) -> Frames:
    """Show a still picture for each piece, in which only a small mark changes."""
    frames = np.concatenate([shot(100 * seed + part, 1).repeat(8, axis=0) for part in range(6)])
    frames[:, 4:10, 4:10] = np.random.default_rng(seed).integers(0, 256, (48, 1, 1, 3), np.uint8)
    return frames


def swing(seed: int) -> Frames:
    """Pan forwards and back, so that the last picture is the first one."""
    forward = shot(seed, 24)
    return np.concatenate([forward, forward[::-1]])


def rerun(seed: int) -> Frames:
    """Repeat parts of a scene: its first part is shown three times and its second part twice."""
    scene = shot(seed, 24)
    return np.concatenate([scene[:16], scene[:8], scene[16:], scene[:16]])


def moving_shot(seed: int) -> Frames:
    """Pan over a scene without repetition."""
    return shot(seed, 48)


KINDS = {"cut": montage, "still": slideshow, "loop": swing, "repeat": rerun}


def validate_jigsaws(folder: Path, make: Any, **validated: Any) -> dict[str, Check]:
    """Validate a dataset of jigsaws from videos that `make` makes, with limits that admit all of them."""
    for seed in range(COUNT):
        write(folder / f"clips/{seed}.mp4", make(seed), options={"preset": "ultrafast", "crf": "12"})
    index_videos(folder / "clips", folder / "corpus")
    config = {"difference": 0, "motion": 0, "limits": OPEN}
    categories = {"jigsaw/6": {"task": "jigsaw", "count": COUNT, "config": config}}
    mixture = recipe.ResolvedRecipe(Recipe(name="open", categories=categories), "open")
    build_dataset(mixture, Corpus(folder / "corpus"), folder / "dataset", templates=load_templates())
    return {check.name: check for check in validate(VideoSSRDataset(folder / "dataset"), **validated)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_validate_notices_puzzles_without_a_visible_order(kind: str, tmp_path: Path) -> None:
    check = validate_jigsaws(tmp_path, KINDS[kind])["orders"]
    assert check.holds is False
    assert f"{COUNT} of {COUNT} puzzles" in check.text
    assert f"{kind} {COUNT}" in check.text


@pytest.mark.slow
def test_validate_notices_a_jigsaw_that_the_solver_solves(tmp_path: Path) -> None:
    checks = validate_jigsaws(tmp_path, moving_shot)
    assert checks["orders"].holds
    assert checks["jigsaw solver"].holds is False
    assert "allowed 0.500: 0.1 beyond chance, and what luck may add" in checks["jigsaw solver"].text
    assert '"--categories.jigsaw/6.config.gap=2"' in checks["jigsaw solver"].text
    checks_without_verdict = {
        finding.name: finding for finding in validate(VideoSSRDataset(tmp_path / "dataset"), solver=1)
    }
    assert checks_without_verdict["jigsaw solver"].holds is None


@pytest.mark.parametrize("kind", KINDS)
def test_faults_names_each_fault_of_an_order(kind: str) -> None:
    frames = KINDS[kind](3)
    assert kind in faults(np.split(frames, 6))
    clean = moving_shot(3)
    assert faults(np.split(clean, 6)) == []


def test_finding_and_solver_of_few_puzzles_give_no_verdict() -> None:
    assert finding("j", [["cut"]] * 3, gated=True).holds is None
    assert finding("j", [["cut"]] * 4, gated=True).holds is False
    right = scorer("videossr/jigsaw")("123456", "123456")
    assert shortcuts.solver("j", [right] * 4, 6, 0.1).holds is None
    assert shortcuts.solver("j", [right] * 5, 6, 0.1).holds is False


def test_solver_bound_allows_for_chance() -> None:
    right, wrong = score_order("123456", "123456"), score_order("654321", "123456")
    assert shortcuts.solver("j", [right] * 2 + [wrong] * 18, 6, 0.1).holds
    assert shortcuts.solver("j", [right] * 14 + [wrong] * 86, 6, 0.1).holds
    assert shortcuts.solver("j", [right] * 60 + [wrong] * 240, 6, 0.1).holds is False
    assert shortcuts.solver("j", [right] * 60 + [wrong] * 240, 6, 0.2).holds
