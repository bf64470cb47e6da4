"""The clock of a clip: spans, slots, subsampling, and the time markers of prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossr.clock import Clock, uniform_clock
from videossr.prompt.qwen3_vl import MERGE, markers, pair_times, video_text

steps = st.lists(st.integers(1, 5000), min_size=1, max_size=96)


def from_steps(gaps: list[int]) -> Clock:
    times = [0]
    for gap in gaps:
        times.append(times[-1] + gap)
    return Clock(tuple(times[:-1]), times[-1])


@given(steps, st.data())
def test_span_is_the_time_during_which_the_slots_are_shown(gaps, data):
    clock = from_steps(gaps)
    first = data.draw(st.integers(0, len(gaps) - 1))
    last = data.draw(st.integers(first, len(gaps) - 1))
    start, end = clock.span(first, last)
    assert round((end - start) * 1000) == sum(gaps[first : last + 1])
    assert clock.slot_at(start) == first
    assert clock.slot_at(end - 0.001) == last


@given(steps)
def test_slot_at_gives_the_slot_on_screen_at_every_millisecond(gaps):
    clock = from_steps(gaps)
    for slot, time in enumerate(clock.times_ms):
        assert clock.slot_at(time / 1000) == slot
        assert clock.slot_at((time + gaps[slot] - 1) / 1000) == slot
    assert clock.slot_at(-1) == 0
    assert clock.slot_at(clock.end_ms / 1000 + 10) == len(clock) - 1


@given(st.integers(1, 60), st.integers(1, 6), st.floats(500, 10**7))
def test_subsample_keeps_the_times_of_the_remaining_slots(slots, density, duration):
    dense = uniform_clock(slots * density, max(duration, 2 * slots * density))
    sparse = dense.subsample(slots)
    assert sparse.times_ms == dense.times_ms[::density]
    assert sparse.end_ms == dense.end_ms


@given(st.integers(1, 200), st.floats(1, 10**4))
def test_uniform_clock_has_steps_that_differ_by_rounding_only(slots, step):
    clock = uniform_clock(slots, slots * max(step, 2))
    assert clock.jitter_ms <= 1
    assert len(clock) == slots


@given(steps, st.data())
def test_slice_starts_at_zero_and_lasts_as_long_as_its_span(gaps, data):
    clock = from_steps(gaps)
    first = data.draw(st.integers(0, len(gaps) - 1))
    stop = data.draw(st.integers(first + 1, len(gaps)))
    part = clock.slice(first, stop)
    start, end = clock.span(first, stop - 1)
    assert part.times_ms[0] == 0
    assert part.end_ms == round((end - start) * 1000)


@pytest.mark.parametrize(
    ("times", "end"), [((), 5), ((1, 2), 5), ((0, 2, 2), 5), ((0, 3, 2), 5), ((0, 5), 5), ((0, 5), 4)]
)
def test_clock_refuses_times_that_do_not_start_at_0_or_increase(times, end):
    with pytest.raises(ValueError, match=r"starts with a slot at 0|increase strictly"):
        Clock(times, end)


def test_clock_that_starts_late_names_its_first_times():
    with pytest.raises(ValueError, match=r"^a clock starts with a slot at 0 ms, got \(1, 2, 3\)$"):
        Clock((1, 2, 3, 4), 5)


def test_span_and_subsample_refuse_slots_outside_the_clock():
    clock = Clock((0, 10, 20), 30)
    for first, last in ((-1, 1), (0, 3), (2, 1)):
        with pytest.raises(ValueError, match="no slots"):
            clock.span(first, last)
    with pytest.raises(ValueError, match="multiple"):
        clock.subsample(2)


@given(steps)
def test_markers_are_the_mean_of_their_slots_within_0_05_seconds(gaps):
    clock = from_steps(gaps)
    times = [*clock.times_ms, *clock.times_ms[-1:] * (len(gaps) % MERGE)]
    texts = markers(clock)
    assert len(texts) == len(times) // MERGE
    for pair, text in enumerate(texts):
        mean = sum(times[MERGE * pair : MERGE * (pair + 1)]) / MERGE / 1000
        assert pair_times(clock)[pair] == pytest.approx(mean)
        assert abs(float(text.removeprefix("<").removesuffix(" seconds>")) - mean) <= 0.05 + 1e-9


def test_video_text_in_both_layouts():
    clock = Clock((0, 500, 1000), 2000)
    bare = video_text(clock, 2, "bare")
    pads = "<|vision_start|><|video_pad|><|video_pad|><|vision_end|>"
    assert bare == f"<0.2 seconds>{pads}<1.0 seconds>{pads}"
    assert video_text(clock, 2, "wrapped") == f"<|vision_start|>{bare}<|vision_end|>"
