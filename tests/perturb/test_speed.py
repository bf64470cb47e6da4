"""Slow and fast motion: what is drawn can be seen, at every place alike; an unsteady scene serves none."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from videossr.clock import uniform_clock
from videossr.config import parse
from videossr.measure import rejected
from videossr.question import Frames
from videossr.sample import Rejection, Sample, VideoKey
from videossr.tasks.base import Video
from videossr.tasks.grounding import Grounding, GroundingConfig, span_distribution

TASK = Grounding()


def config(name: str, **more: Any) -> GroundingConfig:
    return parse(GroundingConfig, {"perturbation": name, **more}, "test")


def sliding(places: NDArray[np.floating[Any]], seed: int = 1) -> Frames:
    """Windows of 96 x 96 pixels on a wide, softly colored picture, one at each place in pixels."""
    whole = np.random.default_rng(seed).integers(0, 256, (6, 100, 3), np.uint8)
    wide = cv2.resize(whole, (1600, 96), interpolation=cv2.INTER_LINEAR)
    shown = [cv2.warpAffine(wide, np.array([[1, 0, -place], [0, 1, 0]], np.float32), (96, 96)) for place in places]
    return np.stack(shown).astype(np.uint8)


def video(frames: Frames) -> Video:
    return Video(VideoKey("0" * 64, "1" * 64), uniform_clock(len(frames), 40_000), frames)


def measured(sample: Sample, frames: Frames) -> float:
    """Pixels a slot inside the stretch, over those around it; `frames` tell their place by their number."""
    places = np.array([frame for _, frame in sample.slots])
    steps = np.diff(frames[places])
    first, last = sample.integer("first"), sample.integer("last")
    around = np.concatenate([steps[max(0, first - 6) : first], steps[last + 1 : last + 7]])
    return float(np.median(steps[first : last + 1]) / np.median(around))


@pytest.mark.parametrize("name", ["slow", "fast"])
def test_a_steady_camera_serves_every_place(name: str) -> None:
    steady = np.arange(96) * 4.0
    assert rejected(TASK.gates(video(sliding(steady)), config(name))) is None


@pytest.mark.parametrize("name", ["slow", "fast"])
def test_a_camera_that_stands_still_for_a_while_serves_none(name: str) -> None:
    stops = np.concatenate([np.arange(30), np.full(36, 30), np.arange(31, 61)]) * 4.0
    reject = rejected(TASK.gates(video(sliding(stops)), config(name)))
    assert reject is not None
    assert reject.reason == "hidden_speed"
    assert reject.value < reject.threshold


@pytest.mark.slow
@pytest.mark.parametrize(("name", "right"), [("slow", (0.0, 0.8)), ("fast", (1.25, 9.0))])
def test_the_start_is_one_at_which_the_change_is_seen(name: str, right: tuple[float, float]) -> None:
    """The camera moves at three times its speed at first: a stretch that fell on the change would look wrong."""
    places = np.cumsum(np.where(np.arange(192) < 60, 6.0, 2.0))
    shown = video(sliding(places))
    asked = config(name)
    assert rejected(TASK.gates(shown, asked)) is None
    rng = np.random.default_rng(0)
    factors, starts = [], set()
    for _ in range(60):
        sample = TASK.draw(shown, "x", asked, rng, [])
        assert isinstance(sample, Sample)
        factors.append(measured(sample, places))
        starts.add(sample.slots[0])
    assert right[0] < min(factors)
    assert max(factors) < right[1]
    assert len(starts) > 5
    loose = [TASK.draw(shown, "x", config(name, gates=False), rng, []) for _ in range(60)]
    wrong = [measured(sample, places) for sample in loose if isinstance(sample, Sample)]
    assert not all(right[0] < factor < right[1] for factor in wrong), "without the gate some cannot be seen"


@pytest.mark.slow
def test_where_the_scene_is_cut_no_stretch_is_shown() -> None:
    cut = np.arange(192) * 4.0
    frames = sliding(cut)
    frames[110:] = sliding(cut, seed=5)[110:]
    shown, asked = video(frames), config("fast")
    assert rejected(TASK.gates(shown, asked)) is None
    rng = np.random.default_rng(0)
    for _ in range(60):
        sample = TASK.draw(shown, "x", asked, rng, [])
        assert isinstance(sample, Sample)
        first, last = sample.integer("first"), sample.integer("last")
        compared = [frame for _, frame in sample.slots[max(0, first - 6) : last + 8]]
        assert max(compared) < 110 or min(compared) >= 110
    assert isinstance(rejected(TASK.gates(video(frames[70:166]), asked)), Rejection), (
        "too short a pack to keep away from the cut"
    )


@pytest.mark.slow
def test_what_is_shown_says_nothing_about_the_place() -> None:
    """Early and late stretches start their clips at the same frames, and all clips are of one length."""
    places = np.cumsum(np.where(np.arange(192) < 60, 6.0, 2.0))
    shown, rng = video(sliding(places)), np.random.default_rng(0)
    starts: dict[bool, set[int]] = {True: set(), False: set()}
    for _ in range(300):
        sample = TASK.draw(shown, "x", config("fast"), rng, [])
        assert isinstance(sample, Sample)
        starts[sample.integer("first") < 16].add(sample.slots[0][1])
    assert len(starts[True] & starts[False]) > 0.8 * len(starts[True] | starts[False])


@pytest.mark.slow
def test_the_answer_does_not_depend_on_what_is_seen() -> None:
    """The place and the length are those that a draw without gates has: they are drawn before the start is chosen."""
    places = np.cumsum(np.where(np.arange(192) < 60, 5.0, 2.5))
    shown = video(sliding(places))
    for seed in range(20):
        drawn = [
            TASK.draw(shown, "x", config("fast", gates=on), np.random.default_rng(seed), []) for on in (True, False)
        ]
        ends = {(each.integer("first"), each.integer("last")) for each in drawn if isinstance(each, Sample)}
        assert len(ends) == 1
        assert ends <= span_distribution(config("fast")).keys()
