"""The temporal jigsaw: pieces are what they say, nothing but their pictures tells them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.helpers.clips import pan
from videossr.clock import Clock, uniform_clock
from videossr.config import parse
from videossr.measure import rejected
from videossr.question import VIDEO
from videossr.sample import Rejection, Sample, VideoKey
from videossr.tasks.base import Video
from videossr.tasks.jigsaw import Jigsaw, JigsawConfig
from videossr.templates import load_templates

TASK = Jigsaw()


def config(**values: Any) -> JigsawConfig:
    return parse(JigsawConfig, values, "test")


def numbered(clock: Clock) -> Video:
    """A video whose every frame holds its own number."""
    frames = np.zeros((len(clock), 32, 32, 3), np.uint8)
    frames += np.arange(len(clock), dtype=np.uint8)[:, None, None, None]
    return Video(VideoKey("0" * 64, "1" * 64), clock, frames)


def draw(video: Video, settings_: JigsawConfig, seed: int = 0) -> Sample:
    sample = TASK.draw(video, "jigsaw", settings_, np.random.default_rng(seed), ())
    assert isinstance(sample, Sample)
    return sample


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 9), st.integers(0, 3), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_the_answer_finds_every_piece_where_it_is_shown(pieces: int, gap: int, seed: int, density: int) -> None:
    video = numbered(uniform_clock(48 * density, 20_000))
    sample = draw(video, config(pieces=pieces, gap=gap), seed)
    clips = TASK.render(np.stack([video.frames[frame] for _, frame in sample.slots]), sample)
    order = TASK.truth(sample).order
    assert len(clips) == pieces
    assert sorted(order) == list(range(pieces)) != list(order)
    starts = [int(clips[int(position) - 1].frames[0, 0, 0, 0]) for position in sample.answer]
    assert starts == sorted(starts)
    for position, piece in enumerate(order):
        assert sample.answer[piece] == str(position + 1)
    whole = 48 // pieces
    for clip in clips:
        shown = clip.frames[:, 0, 0, 0].astype(int)
        assert len(clip.frames) % 2 == 0
        assert whole - gap - 1 <= len(clip.frames) <= whole - gap
        assert (np.diff(shown) == density).all()
        assert shown[0] // density // whole == shown[-1] // density // whole
        assert clip.clock == clips[0].clock


def test_pieces_cannot_be_told_by_their_clock_even_when_times_are_uneven() -> None:
    times = tuple(k * k + 50 * k for k in range(48))
    sample = draw(numbered(Clock(times, 5000)), config())
    clips = TASK.render(np.zeros((48, 32, 32, 3), np.uint8), sample)
    assert {clip.clock for clip in clips} == {Clock(times[:8], times[8])}
    assert clips[0].clock.times_ms[0] == 0


def test_all_orders_but_the_true_one_are_equally_likely() -> None:
    video = numbered(uniform_clock(48, 20_000))
    seen = Counter(tuple(TASK.truth(draw(video, config(pieces=4), seed)).order) for seed in range(4600))
    allowed = set(permutations(range(4))) - {(0, 1, 2, 3)}
    assert set(seen) == allowed
    assert stats.chisquare([seen[order] for order in allowed]).pvalue > 1e-4


def test_trims_follow_from_the_video_and_not_from_the_order() -> None:
    frames = np.stack([*pan(1, 48, 64, 64, step=0.4)])
    video, trimmed = (
        Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, 20_000), frames),
        config(pieces=4, gap=4, trim="unlike"),
    )
    samples = [draw(video, trimmed, seed) for seed in range(1150)]
    shown = {tuple(sorted(frame for _, frame in sample.slots)) for sample in samples}
    assert len(shown) == 1
    assert sorted(shown.pop()) != sorted(frame for _, frame in draw(video, config(pieces=4, gap=4)).slots)
    seen = Counter(tuple(TASK.truth(sample).order) for sample in samples)
    assert stats.chisquare([seen[order] for order in set(permutations(range(4))) - {(0, 1, 2, 3)}]).pvalue > 1e-4


def test_the_released_distribution_has_all_orders_and_no_gate() -> None:
    video, free = numbered(uniform_clock(48, 20_000)), config(pieces=4, gates=False, identity=True)
    seen = Counter(tuple(TASK.truth(draw(video, free, seed)).order) for seed in range(4800))
    assert set(seen) == set(permutations(range(4)))
    assert stats.chisquare(list(seen.values())).pvalue > 1e-4
    flat = Video(video.key, video.clock, np.zeros_like(video.frames))
    assert rejected(TASK.gates(flat, free)) is None
    assert rejected(TASK.gates(flat, config(pieces=4, identity=True))) == Rejection("pieces_alike", 0, 5)
    uneven = Video(video.key, Clock(tuple(k * k + 50 * k for k in range(48)), 5000), video.frames)
    reject = rejected(TASK.gates(uneven, free))  # all pieces carry one clock, whatever the gates
    assert reject is not None
    assert reject.reason == "uneven_clock"


def test_pieces_that_look_alike_reject_the_video(clip: Callable[..., Video]) -> None:
    repeated = np.tile(clip("bikes.mp4").frames[:8], (6, 1, 1, 1))
    video = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, 10_000), repeated)
    reject = rejected(TASK.gates(video, config()))
    assert isinstance(reject, Rejection)
    assert reject.reason == "pieces_alike"
    assert reject.value == pytest.approx(0, abs=1e-3)
    assert rejected(TASK.gates(clip("bikes.mp4"), config())) is None


@pytest.mark.parametrize("piece", [0, 2, 5])
def test_a_piece_that_stands_still_rejects_the_video(piece: int) -> None:
    """A picture held for a whole piece differs from all other pieces, and yet nothing says where it belongs."""
    marks = np.stack([*pan(0, 48, 64, 64)])
    video = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, 20_000), marks)
    assert rejected(TASK.gates(video, config())) is None
    held = marks.copy()
    held[8 * piece : 8 * piece + 8] = marks[8 * piece]
    still = Video(video.key, video.clock, held)
    assert rejected(TASK.gates(still, config())) == Rejection("still_piece", 0, 5)
    assert rejected(TASK.gates(still, config(motion=0))) == Rejection("still_picture", 0, 0.1)
    assert rejected(TASK.gates(still, config(motion=0, limits={"area": 0, "cut": 1}))) is None
    assert rejected(TASK.gates(still, config(gates=False))) is None
    part = marks.copy()
    part[8 * piece : 8 * piece + 5] = marks[8 * piece]
    assert rejected(TASK.gates(Video(video.key, video.clock, part), config())) is None


@pytest.mark.parametrize("values", [{"pieces": 2}, {"pieces": 10}, {"pieces": 8, "gap": 5}, {"pieces": 9, "frames": 9}])
def test_pieces_without_a_pair_of_frames_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="test"):
        config(**values)


def test_the_question_shows_the_pieces_in_order_and_its_example_is_no_hint() -> None:
    video = numbered(uniform_clock(48, 20_000))
    questions = [TASK.question(draw(video, config(), seed), load_templates()) for seed in range(20)]
    assert {question.prompt for question in questions} == {questions[0].prompt}
    assert questions[0].prompt.count(VIDEO) == 6
    assert "Clip 6: <video>" in questions[0].prompt
    for question in questions:
        score = TASK.answer_type.score(question.answer, draw(video, config()).answer)
        assert score.parsed
