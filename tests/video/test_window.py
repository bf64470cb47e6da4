"""The frames that a part of a video shows at a rate, for several numbers of frames at once."""

from __future__ import annotations

from fractions import Fraction

import pytest

from videossr.video.plan import RejectedError, Timeline
from videossr.video.window import Window


def timeline(seconds: int, fps: int = 10, start: int = 7) -> Timeline:
    """Return the times of a video of equal steps, which start at some tick."""
    frames = seconds * fps
    return Timeline(tuple(range(start, start + frames)), start + frames, Fraction(1, fps))


def test_a_short_video_shows_a_frame_every_half_second() -> None:
    choice = Window((64,)).choice(timeline(4), 64)
    assert choice.clock.times_ms == (0, 500, 1000, 1500, 2000, 2500, 3000, 3500)
    assert choice.frames == (0, 5, 10, 15, 20, 25, 30, 35)
    assert choice.clock.end_ms == 4000


def test_a_long_video_is_spread_from_its_first_to_its_last_frame() -> None:
    choice = Window((4,)).choice(timeline(100), 4)
    assert choice.frames == (0, 333, 666, 999)
    assert len(choice.clock) == 4


def test_a_part_counts_its_times_from_its_start() -> None:
    choice = Window((8,), start=1.25, end=3.25).choice(timeline(10), 8)
    assert choice.clock.times_ms == (0, 500, 1000, 1500)
    # The frame on screen at 1.25 s is number 12; the part has ticks of 0.1 s, so it starts at 1.2 s.
    assert choice.frames == (12, 17, 22, 27)
    assert choice.offset == Fraction(12, 10)


def test_a_part_that_ends_behind_the_video_ends_with_it() -> None:
    whole = Window((8,), start=2.0).choice(timeline(4), 8)
    assert Window((8,), start=2.0, end=99.0).choice(timeline(4), 8) == whole
    assert whole.frames[-1] == 35


def test_an_empty_part_shows_the_frame_at_its_start() -> None:
    choice = Window((8,), start=2.0, end=2.0).choice(timeline(4), 8)
    assert choice.frames == (20,)


def test_a_part_behind_the_end_of_the_video_is_rejected() -> None:
    with pytest.raises(RejectedError, match=r"about 9 s and later; the video ends at 4\.0 s"):
        Window((8,), start=9.0).choice(timeline(4), 8)


@pytest.mark.parametrize(("budget", "frames"), [(64, (0, 5, 10, 15, 19)), (4, (0, 5, 10, 19)), (3, (0, 9, 19))])
def test_the_last_frame_is_shown_where_it_must_be(budget: int, frames: tuple[int, ...]) -> None:
    choice = Window((budget,), last=True).choice(timeline(2), budget)
    assert choice.frames == frames
    assert choice.clock.end_ms == 2000


def test_the_union_has_the_frames_of_every_budget() -> None:
    window = Window((3, 5, 64), start=1.0, end=30.0)
    union = window.choose(timeline(40))
    for budget in window.budgets:
        assert set(window.choice(timeline(40), budget).frames) <= set(union.frames)
    assert list(union.frames) == sorted(union.frames)
    assert len(union.frames) == len(union.clock)
    for time, frame in zip(union.clock.times_ms, union.frames, strict=True):
        assert timeline(40).at(union.offset + Fraction(time, 1000)) == frame


def test_a_variable_frame_rate_shows_what_is_on_screen() -> None:
    uneven = Timeline((0, 100, 2600, 2700), 4000, Fraction(1, 1000))
    choice = Window((64,)).choice(uneven, 64)
    assert choice.frames == (0, 1, 1, 1, 1, 1, 3, 3)
