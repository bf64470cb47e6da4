"""The checks of `validate` for visibility: changes of speed that look wrong, and spans whose ends cannot be seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.helpers.clips import write
from videossr.answers.checks import Check
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.dataset import VideoSSRDataset
from videossr.question import Frames
from videossr.templates import load_templates
from videossr.validation.validator import validate
from videossr.validation.visibility import changes_pace, end_factor, motion_factor
from videossr.video.plan import Plan

Checked = Callable[..., dict[str, Check]]


def sliding_window(places: NDArray[np.floating[Any]], seed: int) -> Frames:
    """Cut windows of 96 x 96 pixels out of a wide, softly colored picture, one at each place in pixels."""
    whole = np.random.default_rng(seed).integers(0, 256, (6, 100, 3), np.uint8)
    wide = cv2.resize(whole, (2400, 96), interpolation=cv2.INTER_LINEAR)
    return np.stack([wide[:, round(place) : round(place) + 96] for place in places])


@pytest.fixture
def build_and_validate(tmp_path: Path) -> Checked:
    """Build 30 samples of one perturbation from one video, validate them, and return the findings by check."""

    def run(frames: Frames, perturbation: str, **config: Any) -> dict[str, Check]:
        write(tmp_path / "videos/one.mp4", frames, fps=10)
        index_videos(tmp_path / "videos", tmp_path / "corpus", Plan(frames=192, min_step=0.01, max_pixels=96 * 96))
        category = {"task": "grounding", "count": 30, "config": {"perturbation": perturbation, **config}}
        mixture = recipe.ResolvedRecipe(Recipe(name="one", max_pixels=96 * 96, categories={"g": category}), "one")
        build_dataset(mixture, Corpus(tmp_path / "corpus"), tmp_path / "data", templates=load_templates())
        return {finding.name: finding for finding in validate(VideoSSRDataset(tmp_path / "data"))}

    return run


ZERO_LIMITS = {"picture": 0, "palette": 0, "texture": 0, "contrast": 0, "cut": 100, "pace": 0, "speed": 0}
"""Limits that admit everything."""

CHANGING = np.cumsum(np.where(np.arange(230) // 40 % 2, 1.0, 9.0))
"""Places of a camera that alternates between 9 and 1 pixels per frame."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slow", "fast"])
def test_validate_notices_speeds_that_cannot_be_seen(build_and_validate: Checked, name: str) -> None:
    check = build_and_validate(sliding_window(CHANGING, 1), name, limits=ZERO_LIMITS)["speed is seen"]
    assert check.holds is False
    assert "move the wrong way" in check.text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slow", "fast"])
def test_validate_passes_speeds_of_a_steady_camera(build_and_validate: Checked, name: str) -> None:
    checks = build_and_validate(sliding_window(np.arange(230) * 3.0, 1), name)
    assert checks["speed is seen"].holds
    assert checks["speed is seen"].text.startswith("0 of 30 stretches move the wrong way (allowed 1), 0 by less")
    assert checks["ends apart from cuts"].holds
    assert checks["span of the speed"].holds


def test_changes_pace_is_false_for_a_span_that_is_one_slot_off() -> None:
    frames = np.cumsum([0, *(8 if 20 <= slot <= 27 else 4 for slot in range(47))]).tolist()
    assert changes_pace(frames, 20, 27)
    assert not changes_pace(frames, 21, 28)
    assert not changes_pace(frames, 19, 26)
    assert not changes_pace(list(range(48)), 20, 27)


def test_motion_factor_is_1_without_visible_motion() -> None:
    still = np.full((48, 96, 96, 3), 128, np.uint8)
    assert motion_factor(still, 20, 27) == 1
    noisy = (still + np.random.default_rng(0).integers(-2, 3, still.shape)).astype(np.uint8)
    noisy[24:] = np.minimum(noisy[24:] + 60, 255)  # one cut
    assert motion_factor(noisy, 20, 27) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mirror", "saturation"])
def test_validate_notices_spans_that_begin_at_a_cut(build_and_validate: Checked, name: str) -> None:
    scenes = [sliding_window(np.arange(10) * 2.0, seed) for seed in range(23)]
    check = build_and_validate(np.concatenate(scenes), name, limits=ZERO_LIMITS)["ends apart from cuts"]
    assert check.holds is False


BACK_AND_FORTH = np.arange(192) / 2 + np.arange(192) // 4 % 2 * 1000
"""Places of a video that alternates between two cameras."""


@pytest.mark.slow
def test_validate_notices_a_shuffle_with_hidden_ends(build_and_validate: Checked) -> None:
    limits = ZERO_LIMITS | {"motion": 0, "course": 0, "ends": 0}
    check = build_and_validate(sliding_window(BACK_AND_FORTH, 1), "shuffle", limits=limits)["ends are seen"]
    assert check.holds is False


@pytest.mark.slow
def test_validate_passes_shuffles_of_a_steady_camera(build_and_validate: Checked) -> None:
    check = build_and_validate(sliding_window(np.arange(230) * 3.0, 1), "shuffle")["ends are seen"]
    assert check.holds
    assert check.text.startswith("at 0 of 30 an end")


def test_end_factor_is_that_of_the_weaker_end() -> None:
    frames = sliding_window(np.arange(20) * 5.0, 1)
    altered = frames.copy()
    altered[8], altered[10] = frames[12], frames[9]
    assert end_factor(altered, frames[[8, 12]], 8, 12) == pytest.approx(1, abs=0.05)
    altered[12] = frames[8]
    assert end_factor(altered, frames[[8, 12]], 8, 12) > 2
    assert end_factor(altered[8:13], frames[[8, 12]], 0, 4) == np.inf


@pytest.mark.slow
def test_validate_gives_no_visibility_verdict_without_gates(build_and_validate: Checked) -> None:
    checks = build_and_validate(sliding_window(CHANGING, 1), "slow", gates=False)
    assert checks["speed is seen"].holds is None
    assert checks["ends apart from cuts"].holds is None


@pytest.mark.slow
def test_validate_passes_spans_of_a_video_without_cuts(build_and_validate: Checked) -> None:
    check = build_and_validate(sliding_window(np.arange(230) * 2.0, 1), "mirror")["ends apart from cuts"]
    assert check.holds
    assert check.text == "0 of 30 begin or end at a hard cut, or show a donor's, allowed 1"


def test_motion_factor_is_largest_for_the_true_span() -> None:
    places = np.cumsum([0, *(8.0 if 20 <= slot <= 27 else 4.0 for slot in range(47))])
    frames = sliding_window(places, 1)
    assert motion_factor(frames, 20, 27) > 1.5
    assert motion_factor(frames, 20, 27) > max(motion_factor(frames, 19, 26), motion_factor(frames, 21, 28))
