"""The perturbations, found by their names once the package is installed.

pip install examples/custom_perturbation && python -m pytest examples/custom_perturbation/tests
"""

from __future__ import annotations

import pickle
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from videossr.clock import uniform_clock
from videossr.config import parse
from videossr.measure import rejected
from videossr.perturb import open_perturbation
from videossr.perturb.base import Segment
from videossr.perturb.pixel import PixelPerturbation
from videossr.question import Frames
from videossr.sample import Sample, VideoKey
from videossr.tasks.base import Video, open_task
from videossr.tasks.grounding import GroundingConfig
from videossr.templates import load_templates

RECIPE = Path(__file__).parents[1] / "recipe.toml"
TASK = open_task("grounding")


def config(name: str, **more: Any) -> GroundingConfig:
    return parse(GroundingConfig, {"perturbation": name, **more}, "test")


def video(frames: Frames) -> Video:
    return Video(VideoKey("0" * 64, "1" * 64), uniform_clock(len(frames), 20_000), frames)


def panning(slots: int = 48) -> Frames:
    """Move a window over a wide picture of colored stains."""
    stains = np.random.default_rng(1).integers(0, 256, (6, 60, 3), np.uint8)
    wide = np.asarray(cv2.resize(stains, (1440, 96), interpolation=cv2.INTER_CUBIC), np.uint8)
    return np.stack([wide[:, 4 * slot : 4 * slot + 128] for slot in range(slots)])


def draw(name: str, seed: int, source: Video) -> Sample:
    sample = TASK.draw(source, f"grounding/{name}", config(name), np.random.default_rng(seed), ())
    assert isinstance(sample, Sample)
    return sample


def test_recipe_uses_installed_perturbations() -> None:
    for category in tomllib.loads(RECIPE.read_text("utf-8"))["categories"].values():
        assert config(**{"name": category["config"].pop("perturbation"), **category["config"]}).proven


def test_reverse_shows_the_frames_of_its_segment_backwards() -> None:
    source = video(panning())
    for seed in range(20):
        sample = draw("reverse", seed, source)
        ((first, last),) = TASK.truth(sample).spans
        shown = [frame for _, frame in sample.slots]
        assert shown[first : last + 1] == [*range(last, first - 1, -1)]
        assert shown[:first] + shown[last + 1 :] == [*range(first), *range(last + 1, 48)]
        assert TASK.unaltered(sample, [48]) == [(0, frame) for frame in range(first, last + 1)]
        assert "backwards" in TASK.question(sample, load_templates()).prompt
        assert Sample.from_json(sample.to_json()) == sample


def test_reverse_gates_reject_scenes_that_stand_still_or_return() -> None:
    moving = panning()
    assert rejected(TASK.gates(video(moving), config("reverse"))) is None
    still = np.repeat(moving[:1], 48, axis=0)
    returning = np.tile(moving[:4], (12, 1, 1, 1))
    for frames in (still, returning):
        rejection = rejected(TASK.gates(video(frames), config("reverse")))
        assert rejection is not None
        assert rejection.reason in ("hidden_ends", "no_course")


def test_pixelate_gives_blocks_of_one_color_within_its_segment() -> None:
    source = video(panning())
    sample = draw("pixelate", 3, source)
    strength: Any = sample.params["strength"]
    assert 8 <= strength["side"] <= 16
    (clip,) = TASK.render(source.frames, sample)
    ((first, last),) = TASK.truth(sample).spans
    changed = (clip.frames != source.frames).any(axis=(1, 2, 3))
    assert changed.tolist() == [first <= slot <= last for slot in range(48)]
    pixelate = open_perturbation("pixelate")
    assert isinstance(pixelate, PixelPerturbation)
    blocks = pixelate.apply(source.frames, {"side": 16}).reshape(48, 6, 16, 8, 16, 3)
    assert (blocks == blocks[:, :, :1, :, :1]).all()
    assert pixelate.unaltered(source.frames, sample.params) is not source.frames


def test_pixelate_settings_are_used_by_the_gate_and_the_draw() -> None:
    pixelate = open_perturbation("pixelate")
    assert isinstance(pixelate, PixelPerturbation)
    coarse = config("pixelate", settings={"least": 24, "most": 24})
    assert pixelate.weakest(coarse) == {"side": 24}
    assert pixelate.parameters(coarse, np.random.default_rng(0)) == {"side": 24}
    assert config("pixelate").settings == {"least": 8, "most": 16}
    with pytest.raises(ValueError, match="unknown key 'leats'; did you mean 'least'"):
        config("pixelate", settings={"leats": 3})
    with pytest.raises(ValueError, match="unknown key 'least'"):
        config("reverse", settings={"least": 3})


@pytest.mark.parametrize("name", ["reverse", "pixelate"])
def test_perturbations_are_pure_and_can_be_pickled(name: str) -> None:
    source = video(panning())
    before = source.frames.copy()
    sample = draw(name, 1, source)
    perturbation = pickle.loads(pickle.dumps(open_perturbation(name)))
    segment = Segment(sample.integer("first"), sample.integer("last"))
    shown = [perturbation.render(source.frames, segment, sample.params) for _ in range(2)]
    assert np.array_equal(*shown)
    assert np.array_equal(source.frames, before)


def test_reverse_text_can_be_replaced_by_templates(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.toml"
    overlay.write_text('[grounding.changes]\nreverse = "Time runs backwards."\n')
    templates = load_templates(overlay)
    assert "Time runs backwards." in TASK.question(draw("reverse", 0, video(panning())), templates).prompt
    overlay.write_text('[grounding.changes]\nrevers = "x"\n')
    with pytest.raises(ValueError, match="no text 'revers'"):
        load_templates(overlay)
