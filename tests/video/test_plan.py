"""The frames that a plan takes: properties for any timeline, and cases worked out by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from videossr.video.plan import Plan, RejectedError, Timeline, choose_frames, fit, stored_size

bases = st.sampled_from(
    [Fraction(1, 12800), Fraction(1, 1000), Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 25)]
)


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    base = draw(bases)
    longest = draw(st.sampled_from([0.04, 0.3]))
    gaps = draw(st.lists(st.floats(0.01, longest), min_size=draw(st.sampled_from([1, 40, 90])), max_size=120))
    start = draw(st.integers(-5000, 5000))
    times = [start]
    for gap in gaps:
        times.append(times[-1] + max(1, round(gap / base)))
    return Timeline(tuple(times[:-1]), times[-1], base)


def on_screen(timeline: Timeline, offset: Fraction) -> int:
    """Find the frame on screen by walking through all frames."""
    current = 0
    for frame, time in enumerate(timeline.times):
        if (time - timeline.times[0]) * timeline.base <= offset:
            current = frame
    return current


@given(timelines(), st.integers(2, 60), st.sampled_from([0.0, 0.05, 0.2]))
def test_choose_frames_uniform_takes_frames_on_screen_at_equal_times(
    timeline: Timeline, frames: int, margin: float
) -> None:
    plan = Plan(frames=frames, margin=margin, min_step=0.02)
    exact = Fraction(str(margin))
    step = (1 - 2 * exact) * timeline.seconds / frames
    try:
        choice = choose_frames(timeline, plan)
    except RejectedError:
        times = [exact * timeline.seconds + Fraction(round(k * step * 1000), 1000) for k in range(frames)]
        assert step < Fraction("0.02") or 4 * len({on_screen(timeline, time) for time in times}) < frames
        return
    assert len(choice.frames) == frames <= 4 * len(set(choice.frames))
    assert choice.offset == exact * timeline.seconds
    for k, (time, frame) in enumerate(zip(choice.clock.times_ms, choice.frames, strict=True)):
        assert abs(time - k * step * 1000) <= Fraction(1, 2)
        assert frame == on_screen(timeline, choice.offset + Fraction(time, 1000))
    assert abs(choice.clock.end_ms - frames * step * 1000) <= Fraction(1, 2)


@settings(suppress_health_check=[HealthCheck.filter_too_much])  # many of these videos are too short
@given(timelines(), st.integers(2, 16), st.integers(2, 4))
def test_choose_frames_of_a_denser_plan_contains_the_slots_of_the_plain_plan(
    timeline: Timeline, frames: int, times: int
) -> None:
    try:
        dense = choose_frames(timeline, Plan(frames=frames * times, min_step=0.005))
    except RejectedError:
        reject()
    plain = choose_frames(timeline, Plan(frames=frames, min_step=0.005))
    assert dense.clock.subsample(frames) == plain.clock
    assert dense.frames[::times] == plain.frames


@given(timelines(), st.integers(2, 60), st.sampled_from([0.5, 2.0, 3.7, 25.0]))
def test_choose_frames_fps_covers_the_video_up_to_its_last_frame(timeline: Timeline, frames: int, fps: float) -> None:
    rate = Fraction(str(fps))
    plan = Plan(kind="fps", frames=frames, fps=fps)
    if timeline.seconds * rate > frames and timeline.start(len(timeline.times) - 1) * 1000 <= frames - 2:
        with pytest.raises(RejectedError, match="slots do not fit"):  # there are fewer whole milliseconds than slots
            choose_frames(timeline, plan)
        return
    choice = choose_frames(timeline, plan)
    assert choice.offset == 0
    assert choice.frames[0] == 0
    assert len(choice.frames) <= frames
    for time, frame in zip(choice.clock.times_ms, choice.frames, strict=True):
        assert frame == on_screen(timeline, Fraction(time, 1000))
    if timeline.seconds * rate > frames:
        assert len(choice.frames) == frames
        assert choice.frames[-1] == len(timeline.times) - 1
    else:
        assert len(choice.frames) == math.ceil(timeline.seconds * rate)
        for k, time in enumerate(choice.clock.times_ms):
            assert abs(time - k * 1000 / rate) <= Fraction(1, 2)


def test_choose_frames_uniform_by_hand() -> None:
    timeline = Timeline(tuple(range(0, 100, 10)), 100, Fraction(1, 10))  # ten frames, one second each
    choice = choose_frames(timeline, Plan(frames=3, margin=0.05))
    assert choice.clock.times_ms == (0, 3000, 6000)
    assert choice.clock.end_ms == 9000
    assert choice.frames == (0, 3, 6)  # on screen at 0.5, 3.5 and 6.5 s


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.filter_too_much])  # many of these videos are too short
@given(timelines(), st.integers(2, 40), st.floats(0, 0.5), st.sampled_from([0.0, 0.05, 0.2]), st.randoms())
def test_choose_frames_snap_moves_slots_to_cheaper_frames_and_keeps_true_times(
    timeline: Timeline, frames: int, tolerance: float, margin: float, random: Random
) -> None:
    plan = Plan(kind="snap", frames=frames, margin=margin, tolerance=tolerance, min_step=0.02)
    uniform = Plan(frames=frames, margin=margin, min_step=0.02)
    costs = [random.choice([0, 1, 1, 2, 2, 2]) for _ in timeline.times]
    try:
        plain = choose_frames(timeline, uniform)
    except RejectedError as error:
        with pytest.raises(RejectedError, match=error.reason):
            choose_frames(timeline, plan, costs)
        return
    choice = choose_frames(timeline, plan, costs)
    assert choose_frames(timeline, plan) == plain
    assert (
        choose_frames(timeline, Plan(kind="snap", frames=frames, margin=margin, tolerance=0, min_step=0.02), costs)
        == plain
    )
    assert list(choice.frames) == sorted(choice.frames)
    moved = [frame for frame, plain_frame in zip(choice.frames, plain.frames, strict=True) if frame != plain_frame]
    assert all(choice.frames.count(frame) == 1 for frame in moved)
    step = (1 - 2 * Fraction(str(margin))) * timeline.seconds / frames
    reach = min(Fraction(str(tolerance)) * step, (step - Fraction("0.02")) / 2)
    end = choice.offset + Fraction(choice.clock.end_ms, 1000)
    assert abs(end - (plain.offset + frames * step)) <= Fraction(1, 1000)
    moments, plain_moments = list(choice.offsets()), list(plain.offsets())
    assert all(after - now > Fraction("0.018") for now, after in pairwise(moments))
    for slot, (frame, moment) in enumerate(zip(choice.frames, moments, strict=True)):
        assert frame == on_screen(timeline, moment)
        plain_frame = plain.frames[slot]
        distances = {
            other: abs(timeline.start(other) - plain_moments[slot])
            for other in range(len(timeline.times))
            if other not in plain.frames
            and plain_moments[slot] - reach <= timeline.start(other) < plain_moments[slot] + reach
        }
        cheapest = min([costs[plain_frame], *(costs[other] for other in distances)])
        assert costs[frame] == cheapest
        if frame == plain_frame:
            assert abs(moment - plain_moments[slot]) <= Fraction(1, 1000)
        else:
            assert costs[frame] < costs[plain_frame]
            assert distances[frame] == min(
                distance for other, distance in distances.items() if costs[other] == cheapest
            )
            assert timeline.start(frame) <= moment < timeline.start(frame) + Fraction(1, 1000)


def test_choose_frames_snap_by_hand() -> None:
    timeline = Timeline(tuple(range(0, 120, 10)), 120, Fraction(1, 10))  # twelve frames, one second each
    costs = [0, 2, 1, 2, 2, 0, 1, 2, 2, 1, 2, 0]
    snap = choose_frames(timeline, Plan(kind="snap", frames=3, margin=0), costs)
    assert snap.frames == (0, 5, 9)  # 4 gives way to a key frame 1 s later, 8 to a reference 1 s later; 11 is too far
    assert snap.clock.times_ms == (0, 5000, 9000)
    assert snap.clock.end_ms == 12000
    assert choose_frames(timeline, Plan(kind="snap", frames=3, margin=0, tolerance=0.25), costs).frames == (0, 4, 8)


def test_choose_frames_snap_keeps_a_slot_if_no_millisecond_falls_on_the_cheaper_frame() -> None:
    times = (0, 2, 4, 20_003, 20_004, 30_000)  # in tenths of a millisecond
    timeline = Timeline(times, 40_000, Fraction(1, 10_000))
    plan = Plan(kind="snap", frames=2, margin=0)
    plain = choose_frames(timeline, Plan(frames=2, margin=0))
    assert choose_frames(timeline, plan, [2, 2, 2, 0, 2, 2]) == plain


def test_choose_frames_rejects_a_short_video_with_the_measured_value() -> None:
    second = Timeline(tuple(range(25)), 25, Fraction(1, 25))
    with pytest.raises(RejectedError) as raised:
        choose_frames(second, Plan(frames=48))
    assert (raised.value.reason, raised.value.value, raised.value.threshold) == ("too_short", 0.01875, 0.05)
    few = Timeline(tuple(range(0, 100, 20)), 100, Fraction(1, 25))  # 0.8 s each, which is no still picture
    with pytest.raises(RejectedError, match="5 different frames of 5: take fewer slots with --frames") as raised:
        choose_frames(few, Plan(frames=48))
    assert (raised.value.reason, raised.value.threshold) == ("too_short", 0.75)


def timeline_with_a_held_picture(before: int, pause: int, after: int) -> Timeline:
    """Make a timeline of 25 fps in which frame number `before` stays for `pause` frames longer than the others."""
    times = [*range(before), before, *range(before + pause + 1, before + pause + 1 + after)]
    return Timeline(tuple(times), before + pause + 1 + after, Fraction(1, 25))


def test_choose_frames_repeats_a_held_picture_for_the_slots_of_its_time() -> None:
    """The video is still from 2.5 s to 7.5 s of ten seconds; its slots are those of a constant rate."""
    timeline = timeline_with_a_held_picture(62, 125, 62)
    constant = Timeline(tuple(range(250)), 250, Fraction(1, 25))
    choice, plain = choose_frames(timeline, Plan()), choose_frames(constant, Plan())
    assert choice.clock == plain.clock
    assert choice.offset == plain.offset
    for frame, plain_frame in zip(choice.frames, plain.frames, strict=True):
        assert timeline.times[frame] == (62 if 62 <= plain_frame <= 187 else plain_frame)
    assert len(set(choice.frames)) == 48 - 27 + 1


def test_choose_frames_rejects_a_nearly_still_video_with_the_still_times() -> None:
    timeline = timeline_with_a_held_picture(50, 500, 25)
    with pytest.raises(RejectedError) as raised:
        choose_frames(timeline, Plan())
    assert raised.value.reason == "still"
    assert raised.value.detail == (
        "48 slots would show only 3 different frames of 76: it stands still for 20.0 of 23.0 s, longest from 2.0 s to "
        "22.0 s; cut that out, or raise --max-held, now 0.75"
    )
    assert raised.value.value == pytest.approx(45 / 48)
    assert raised.value.threshold == 0.75
    assert len(choose_frames(timeline, Plan(max_held=0.95)).frames) == 48
    slides = Timeline((0, 30, 60), 90, Fraction(1))
    with pytest.raises(RejectedError, match=r"still: .* 3 different frames of 3: it stands still for 90.0 of 90.0 s"):
        choose_frames(slides, Plan())
    poster = Timeline((0,), 90, Fraction(1))
    with pytest.raises(RejectedError, match=r"still: .* from 0.0 s to 90.0 s; cut that out, or take --plan uniform"):
        choose_frames(poster, Plan(kind="fps"))


def test_choose_frames_rejects_still_videos_by_max_held() -> None:
    timeline = timeline_with_a_held_picture(62, 125, 62)  # 26 of 48 slots repeat the one before
    assert choose_frames(timeline, Plan(max_held=0.55))
    for bound in (0, 0.5):
        with pytest.raises(RejectedError, match="still"):
            choose_frames(timeline, Plan(max_held=bound))
    assert len(set(choose_frames(Timeline(tuple(range(250)), 250, Fraction(1, 25)), Plan(max_held=0)).frames)) == 48


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1024, 400_000))
def test_fit_is_legal_and_has_the_nearest_aspect_ratio(width: int, height: int, max_pixels: int) -> None:
    high, wide = fit(width, height, max_pixels)
    assert high % 32 == wide % 32 == 0
    assert 32 <= high < height + 32
    assert 32 <= wide < width + 32
    assert high * wide <= max_pixels
    up = math.ceil(width / 32) * 32, math.ceil(height / 32) * 32
    half = min(max_pixels, up[0] * up[1]) / 2
    assert high * wide >= half
    error = abs(math.log(wide * height / (high * width)))
    for other_high in range(32, min(up[1], max_pixels // 32) + 1, 32):
        for other_wide in {32 * round(other_high * width / height / 32) + d for d in (-32, 0, 32)}:
            legal = 32 <= other_wide <= up[0] and half <= other_high * other_wide <= max_pixels
            assert not legal or abs(math.log(other_wide * height / (other_high * width))) >= error - 1e-12


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (640, 360, (160, 288)),
        (360, 640, (288, 160)),
        (320, 240, (192, 256)),
        (200, 200, (224, 224)),
        (100, 100, (128, 128)),
        (20, 10, (32, 32)),
        (10_000, 20, (32, 2048)),
    ],
)
def test_fit_by_hand(width: int, height: int, size: tuple[int, int]) -> None:
    assert fit(width, height, 65536) == size


@given(st.integers(1, 100), st.integers(1, 100))
def test_stored_size_is_larger_and_in_whole_blocks(high: int, wide: int) -> None:
    size = 32 * high, 32 * wide
    for side, stored in zip(size, stored_size(size), strict=True):
        assert stored % 16 == 0
        assert 17 * side <= 16 * stored < 17 * side + 256


@pytest.mark.parametrize("wrong", [{"frames": 1}, {"margin": 0.5}, {"kind": "gop"}, {"max_pixels": 1000}, {"fps": 0}])
def test_plan_refuses_values_outside_their_ranges(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Plan(**wrong)
