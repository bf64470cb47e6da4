"""Anomaly grounding on real clips: only the segment is altered, and the answer is its span."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.perturbations import NAMES, ORDERS, PIXELS, SPEEDS
from videossr.clock import Clock, uniform_clock
from videossr.config import parse
from videossr.measure import rejected
from videossr.question import VIDEO, Frames
from videossr.sample import Rejection, Sample, VideoKey
from videossr.tasks.base import Video
from videossr.tasks.grounding import Grounding, GroundingConfig
from videossr.templates import load_templates
from videossr.video.scaling import fill

TASK = Grounding()


def config(name: str, **more: Any) -> GroundingConfig:
    return parse(GroundingConfig, {"perturbation": name, **more}, "test")


def draw(video: Video, name: str, seed: int = 0, donors: tuple[Video, ...] = ()) -> Sample:
    """Draw from any video without its gates."""
    sample = TASK.draw(video, f"grounding/{name}", config(name, gates=False), np.random.default_rng(seed), donors)
    assert isinstance(sample, Sample)
    return sample


def slots_of(sample: Sample, *videos: Video) -> Frames:
    return np.stack([videos[source].frames[frame] for source, frame in sample.slots])


@pytest.mark.parametrize("name", NAMES)
def test_render_changes_only_the_segment_and_both_of_its_ends(name: str, clip: Callable[..., Video]) -> None:
    video = clip("bikes.mp4", 144 if name in SPEEDS else 48)
    other = clip("pan.mp4")
    for seed in range(5):
        sample = draw(video, name, seed, (other,))
        ((first, last),) = TASK.truth(sample).spans
        assert 8 <= last - first + 1 <= 16
        before = slots_of(sample, video, _fit(other, video))
        (shown,) = TASK.render(before, sample)
        assert shown.clock == sample.clock
        if name in SPEEDS:
            steps = np.diff([frame for _, frame in sample.slots])
            inside = steps[first : last + 1]  # out of the slots of the segment
            outside = np.delete(steps, np.arange(first, last + 1))
            assert (outside == 2).all()
            assert (inside == (1 if name == "slow" else 4)).all()
            assert np.array_equal(shown.frames, before)
            continue
        untouched = video.subsample(48).frames
        if name in PIXELS:  # with what all frames of the clip share
            untouched = PIXELS[name].unaltered(untouched, sample.params)
        changed = (shown.frames != untouched).any(axis=(1, 2, 3))
        assert not changed[:first].any()
        assert not changed[last + 1 :].any()
        assert changed[first]
        assert changed[last]
        if name in PIXELS:
            assert changed[first : last + 1].all()


def _fit(video: Video, like: Video) -> Video:
    return Video(video.key, video.clock, fill(video.frames, *like.size))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([name for name in NAMES if name != "swap"]),
    st.integers(0, 2**32 - 1),
    st.integers(2_400, 600_000),
)
def test_answer_is_the_span_of_the_slots_within_0_05_seconds(name: str, seed: int, duration: int) -> None:
    dense = name in SPEEDS
    video = still(uniform_clock(96 if dense else 48, duration))
    sample = draw(video, name, seed)
    start, end = sample.clock.span(sample.integer("first"), sample.integer("last"))
    answer = [float(part) for part in sample.answer.split("-")]
    assert abs(answer[0] - start) <= 0.05 + 1e-9
    assert abs(answer[1] - end) <= 0.05 + 1e-9
    assert sample.clock.jitter_ms <= (2 if dense else 1)
    score = TASK.answer_type.score(sample.answer, sample.answer)
    assert (score.smooth, score.strict, score.parsed) == (1, 1, True)


def still(clock: Clock) -> Video:
    return Video(VideoKey("0" * 64, "1" * 64), clock, np.zeros((len(clock), 32, 32, 3), np.uint8))


@pytest.mark.slow
def test_draw_covers_every_length_and_place() -> None:
    video = still(uniform_clock(48, 10_000))
    samples = [draw(video, "mirror", seed) for seed in range(4000)]
    lengths = [sample.integer("last") - sample.integer("first") + 1 for sample in samples]
    assert set(lengths) == set(range(8, 17))
    assert min(sample.integer("first") for sample in samples) == 0
    assert max(sample.integer("last") for sample in samples) == 47


def test_draw_of_a_speed_leaves_out_the_last_slot() -> None:
    video = still(uniform_clock(96, 10_000))
    samples = [draw(video, "slow", seed) for seed in range(500)]
    assert min(sample.integer("first") for sample in samples) == 0
    assert max(sample.integer("last") for sample in samples) == 46


def test_span_of_a_speed_is_when_the_scene_moves_at_it() -> None:
    """The number of frames of the pack from one slot to the next is one within the span, and another outside."""
    dense = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(96, 48_000), np.zeros((96, 32, 32, 3), np.uint8))
    for name, inside in (("slow", 1), ("fast", 2)):
        sample = draw(dense, name)
        shown = dict(zip(sample.clock.times_ms, (frame for _, frame in sample.slots), strict=True))
        start, end = (1000 * seconds for seconds in sample.clock.span(sample.integer("first"), sample.integer("last")))
        rates = {(at, after): shown[after] - shown[at] for at, after in pairwise(shown)}
        within = {rate for (at, after), rate in rates.items() if start <= at and after <= end}
        without = {rate for (at, after), rate in rates.items() if after <= start or at >= end}
        assert within == {inside}
        assert without == {2 if name == "slow" else 1}
        assert not [pair for pair in rates if pair[0] < start < pair[1] or pair[0] < end < pair[1]]


def test_draw_keeps_an_uneven_clock_and_gates_reject_its_speeds() -> None:
    times = tuple(100 * k + (k % 5) * 10 for k in range(96))
    video = still(Clock(times, 9610))
    assert draw(video, "mirror").clock.times_ms == times[::2]
    assert rejected(TASK.gates(video, config("slow"))) == Rejection("uneven_clock", 50, 1)


def test_gates_reject_segments_too_brief_for_answers_in_tenths() -> None:
    assert rejected(TASK.gates(still(uniform_clock(48, 1_200)), config("mirror"))) != Rejection("too_brief", 0.2, 0.2)
    rejection = rejected(TASK.gates(still(uniform_clock(48, 1_100)), config("mirror")))
    assert rejection == Rejection("too_brief", 0.183, 0.2)


@pytest.mark.parametrize("name", NAMES)
def test_gates_false_skips_the_checks_of_pictures(name: str, clip: Callable[..., Video]) -> None:
    flat = still(uniform_clock(96, 20_000))
    free = config(name, gates=False)
    assert rejected(TASK.gates(flat, free)) is None
    if name not in ("swap", "invert", "noise", "zoom_out"):  # which are seen on gray too, or judge the donor
        assert rejected(TASK.gates(flat, config(name))) is not None
    sample = TASK.draw(flat, "x", free, np.random.default_rng(0), [clip("bikes.mp4", 25), flat])
    assert isinstance(sample, Sample)
    assert not free.proven
    assert rejected(TASK.gates(still(uniform_clock(48, 1_100)), free)) == Rejection("too_brief", 0.183, 0.2)
    if name in SPEEDS:
        uneven = still(Clock(tuple(100 * k + (k % 5) * 10 for k in range(96)), 9610))
        assert rejected(TASK.gates(uneven, free)) == Rejection("uneven_clock", 50, 1)


def test_config_of_a_shuffle_without_shift_is_gated_and_not_proven(clip: Callable[..., Video]) -> None:
    loose = config("shuffle", strengths={"shift": 0})
    assert config("shuffle").proven
    assert not loose.proven
    assert rejected(TASK.gates(clip("bigbuckbunny_5s.mp4"), loose)) is None
    rejection = rejected(TASK.gates(still(uniform_clock(48, 10_000)), loose))
    assert rejection is not None
    assert rejection.reason == "hidden_ends"


def test_draw_from_a_denser_pack_gives_the_same_slots(clip: Callable[..., Video]) -> None:
    dense, plain = clip("bikes.mp4", 144), clip("bikes.mp4", 48)
    assert dense.clock.subsample(48) == plain.clock
    assert np.array_equal(dense.subsample(48).frames, plain.frames)
    a, b = draw(dense, "mirror", 3), draw(plain, "mirror", 3)
    assert a.answer == b.answer
    assert [frame for _, frame in a.slots] == [3 * frame for _, frame in b.slots]


def test_required_frames_of_speeds_are_twice_as_dense() -> None:
    for name in NAMES:
        assert TASK.required_frames(config(name)) == (48, 2 if name in SPEEDS else 1)


def test_draw_of_a_swap_takes_a_donor_that_differs(clip: Callable[..., Video]) -> None:
    video, other = clip("carphone.mp4"), clip("pan.mp4")
    rejection = TASK.draw(video, "x", config("swap"), np.random.default_rng(0), [video])
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "no_donor"
    assert TASK.draw(video, "x", config("swap"), np.random.default_rng(0), []) == Rejection("no_donor", 0, 1)
    short = Video(video.key, uniform_clock(36, 9_000), other.frames[:36])
    sample = TASK.draw(video, "x", config("swap"), np.random.default_rng(0), [video, short, other])
    assert isinstance(sample, Sample)
    assert [key.content for key in sample.sources] == [video.key.content, other.key.content]
    assert {source for source, _ in sample.slots} == {0, 1}


def test_draw_of_a_swap_takes_no_donor_with_a_hard_cut(clip: Callable[..., Video]) -> None:
    video, other = clip("carphone.mp4"), clip("pan.mp4")
    cut = Video(VideoKey("1" * 64, "2" * 64), other.clock, np.concatenate([other.frames[:24], 255 - other.frames[24:]]))
    for seed in range(6):
        sample = TASK.draw(video, "x", config("swap"), np.random.default_rng(seed), [cut, other])
        assert isinstance(sample, Sample)
        assert sample.sources[1] == other.key
    rejection = TASK.draw(video, "x", config("swap"), np.random.default_rng(0), [cut])
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "no_donor"
    assert rejection.value > rejection.threshold, "the jump at the cut"


def test_draw_of_a_swap_takes_the_donor_of_the_nearest_sharpness(clip: Callable[..., Video]) -> None:
    video, other = clip("carphone.mp4"), clip("pan.mp4")
    soft = Video(VideoKey("1" * 64, "2" * 64), other.clock, np.stack([cv2.blur(f, (9, 9)) for f in other.frames]))
    grain = np.random.default_rng(0).integers(-12, 13, other.frames.shape)
    harsh = Video(VideoKey("3" * 64, "4" * 64), other.clock, np.clip(other.frames + grain, 0, 255).astype(np.uint8))
    donors = [soft, other, harsh]
    detail = [np.median(donor.features.textures) for donor in donors]
    nearest = donors[int(np.abs(np.array(detail) - np.median(video.features.textures)).argmin())]
    for seed in range(6):
        sample = TASK.draw(video, "x", config("swap", alike=0), np.random.default_rng(seed), donors)
        assert isinstance(sample, Sample)
        assert sample.sources[1] == nearest.key
    unrestricted = [
        TASK.draw(video, "x", config("swap", alike=16), np.random.default_rng(seed), donors) for seed in range(20)
    ]
    assert len({sample.sources[1] for sample in unrestricted if isinstance(sample, Sample)}) == 3


def test_question_names_the_change_and_shows_one_clip() -> None:
    video = still(uniform_clock(96, 20_000))
    templates = load_templates()
    texts = set()
    for name in NAMES:
        if name == "swap":
            continue
        question = TASK.question(draw(video, name), templates)
        assert question.prompt.count(VIDEO) == 1
        assert templates["grounding"]["changes"][name] in question.prompt
        assert "{" not in question.prompt
        texts.add(question.prompt)
    assert len(texts) == len(NAMES) - 1
    assert set(templates["grounding"]["changes"]) == set(NAMES)


def test_perturbation_kinds_and_swap_are_all_names() -> None:
    assert set(NAMES) == {*PIXELS, *ORDERS, *SPEEDS, "swap"}
