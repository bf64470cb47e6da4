"""Slow and fast motion: a drawn change of speed is visible wherever it lies; videos of unsteady motion are rejected."""

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


def sliding_window(places: NDArray[np.floating[Any]], seed: int = 1) -> Frames:
    """Cut windows of 96 x 96 pixels out of a wide, softly colored picture, one at each place in pixels."""
    whole = np.random.default_rng(seed).integers(0, 256, (6, 100, 3), np.uint8)
    wide = cv2.resize(whole, (1600, 96), interpolation=cv2.INTER_LINEAR)
    shown = [cv2.warpAffine(wide, np.array([[1, 0, -place], [0, 1, 0]], np.float32), (96, 96)) for place in places]
    return np.stack(shown).astype(np.uint8)


def video(frames: Frames) -> Video:
    return Video(VideoKey("0" * 64, "1" * 64), uniform_clock(len(frames), 40_000), frames)


def speed_factor(sample: Sample, frames: Frames) -> float:
    """Return the pixels per slot inside the segment over those around it; `frames` holds the place of each frame."""
    places = np.array([frame for _, frame in sample.slots])
    steps = np.diff(frames[places])
    first, last = sample.integer("first"), sample.integer("last")
    around = np.concatenate([steps[max(0, first - 6) : first], steps[last + 1 : last + 7]])
    return float(np.median(steps[first : last + 1]) / np.median(around))


@pytest.mark.parametrize("name", ["slow", "fast"])
def test_speed_gates_admit_a_steady_camera(name: str) -> None:
    steady = np.arange(96) * 4.0
    assert rejected(TASK.gates(video(sliding_window(steady)), config(name))) is None


@pytest.mark.parametrize("name", ["slow", "fast"])
def test_speed_gates_reject_a_camera_that_stands_still_for_a_while(name: str) -> None:
    stops = np.concatenate([np.arange(30), np.full(36, 30), np.arange(31, 61)]) * 4.0
    rejection = rejected(TASK.gates(video(sliding_window(stops)), config(name)))
    assert rejection is not None
    assert rejection.reason == "hidden_speed"
    assert rejection.value < rejection.threshold


@pytest.mark.slow
@pytest.mark.parametrize(("name", "allowed"), [("slow", (0.0, 0.8)), ("fast", (1.25, 9.0))])
def test_draw_starts_a_speed_clip_where_the_change_is_seen(name: str, allowed: tuple[float, float]) -> None:
    """The camera moves three times as fast at first; the factor of a segment across that change would be wrong."""
    places = np.cumsum(np.where(np.arange(192) < 60, 6.0, 2.0))
    clip = video(sliding_window(places))
    settings = config(name)
    assert rejected(TASK.gates(clip, settings)) is None
    rng = np.random.default_rng(0)
    factors, starts = [], set()
    for _ in range(60):
        sample = TASK.draw(clip, "x", settings, rng, [])
        assert isinstance(sample, Sample)
        factors.append(speed_factor(sample, places))
        starts.add(sample.slots[0])
    assert allowed[0] < min(factors)
    assert max(factors) < allowed[1]
    assert len(starts) > 5
    ungated = [TASK.draw(clip, "x", config(name, gates=False), rng, []) for _ in range(60)]
    ungated_factors = [speed_factor(sample, places) for sample in ungated if isinstance(sample, Sample)]
    assert not all(allowed[0] < factor < allowed[1] for factor in ungated_factors), (
        "without the gates some factors are wrong"
    )


@pytest.mark.slow
def test_draw_keeps_a_changed_speed_away_from_a_cut() -> None:
    places = np.arange(192) * 4.0
    frames = sliding_window(places)
    frames[110:] = sliding_window(places, seed=5)[110:]
    clip, settings = video(frames), config("fast")
    assert rejected(TASK.gates(clip, settings)) is None
    rng = np.random.default_rng(0)
    for _ in range(60):
        sample = TASK.draw(clip, "x", settings, rng, [])
        assert isinstance(sample, Sample)
        first, last = sample.integer("first"), sample.integer("last")
        compared = [frame for _, frame in sample.slots[max(0, first - 6) : last + 8]]
        assert max(compared) < 110 or min(compared) >= 110
    assert isinstance(rejected(TASK.gates(video(frames[70:166]), settings)), Rejection), (
        "this pack is too short to keep away from the cut"
    )


@pytest.mark.slow
def test_draw_starts_speed_clips_alike_for_early_and_late_segments() -> None:
    """Clips with early and with late segments start at the same frames, so the start does not reveal the place."""
    places = np.cumsum(np.where(np.arange(192) < 60, 6.0, 2.0))
    clip, rng = video(sliding_window(places)), np.random.default_rng(0)
    starts: dict[bool, set[int]] = {True: set(), False: set()}
    for _ in range(300):
        sample = TASK.draw(clip, "x", config("fast"), rng, [])
        assert isinstance(sample, Sample)
        starts[sample.integer("first") < 16].add(sample.slots[0][1])
    assert len(starts[True] & starts[False]) > 0.8 * len(starts[True] | starts[False])


@pytest.mark.slow
def test_draw_of_a_speed_segment_does_not_depend_on_the_gates() -> None:
    """The segment is drawn before the start is chosen, so it is the same without gates."""
    places = np.cumsum(np.where(np.arange(192) < 60, 5.0, 2.5))
    clip = video(sliding_window(places))
    for seed in range(20):
        samples = [
            TASK.draw(clip, "x", config("fast", gates=gates), np.random.default_rng(seed), [])
            for gates in (True, False)
        ]
        segments = {
            (sample.integer("first"), sample.integer("last")) for sample in samples if isinstance(sample, Sample)
        }
        assert len(segments) == 1
        assert segments <= span_distribution(config("fast")).keys()
