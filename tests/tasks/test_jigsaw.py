"""The temporal jigsaw: its pieces, and that only their pictures reveal the order."""

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
def test_answer_gives_the_position_of_every_piece(pieces: int, gap: int, seed: int, density: int) -> None:
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


def test_render_gives_all_pieces_one_clock_for_an_uneven_video() -> None:
    times = tuple(k * k + 50 * k for k in range(48))
    sample = draw(numbered(Clock(times, 5000)), config())
    clips = TASK.render(np.zeros((48, 32, 32, 3), np.uint8), sample)
    assert {clip.clock for clip in clips} == {Clock(times[:8], times[8])}
    assert clips[0].clock.times_ms[0] == 0


def test_draw_is_uniform_over_all_orders_but_the_true_one() -> None:
    video = numbered(uniform_clock(48, 20_000))
    counts = Counter(tuple(TASK.truth(draw(video, config(pieces=4), seed)).order) for seed in range(4600))
    allowed = set(permutations(range(4))) - {(0, 1, 2, 3)}
    assert set(counts) == allowed
    assert stats.chisquare([counts[order] for order in allowed]).pvalue > 1e-4


def test_draw_takes_trims_that_do_not_depend_on_the_order() -> None:
    frames = np.stack([*pan(1, 48, 64, 64, step=0.4)])
    video, trimmed = (
        Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, 20_000), frames),
        config(pieces=4, gap=4, trim="unlike"),
    )
    samples = [draw(video, trimmed, seed) for seed in range(1150)]
    frame_sets = {tuple(sorted(frame for _, frame in sample.slots)) for sample in samples}
    assert len(frame_sets) == 1
    assert sorted(frame_sets.pop()) != sorted(frame for _, frame in draw(video, config(pieces=4, gap=4)).slots)
    counts = Counter(tuple(TASK.truth(sample).order) for sample in samples)
    assert stats.chisquare([counts[order] for order in set(permutations(range(4))) - {(0, 1, 2, 3)}]).pvalue > 1e-4


def test_config_with_identity_and_without_gates_draws_all_orders() -> None:
    video, free = numbered(uniform_clock(48, 20_000)), config(pieces=4, gates=False, identity=True)
    counts = Counter(tuple(TASK.truth(draw(video, free, seed)).order) for seed in range(4800))
    assert set(counts) == set(permutations(range(4)))
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4
    flat = Video(video.key, video.clock, np.zeros_like(video.frames))
    assert rejected(TASK.gates(flat, free)) is None
    assert rejected(TASK.gates(flat, config(pieces=4, identity=True))) == Rejection("pieces_alike", 0, 5)
    uneven = Video(video.key, Clock(tuple(k * k + 50 * k for k in range(48)), 5000), video.frames)
    rejection = rejected(TASK.gates(uneven, free))  # all pieces carry one clock, whatever the gates
    assert rejection is not None
    assert rejection.reason == "uneven_clock"


def test_gates_reject_pieces_that_look_alike(clip: Callable[..., Video]) -> None:
    repeated = np.tile(clip("bikes.mp4").frames[:8], (6, 1, 1, 1))
    video = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, 10_000), repeated)
    rejection = rejected(TASK.gates(video, config()))
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "pieces_alike"
    assert rejection.value == pytest.approx(0, abs=1e-3)
    assert rejected(TASK.gates(clip("bikes.mp4"), config())) is None


@pytest.mark.parametrize("piece", [0, 2, 5])
def test_gates_reject_a_video_with_a_still_piece(piece: int) -> None:
    """A picture held for a whole piece differs from all other pieces, but nothing shows where it belongs."""
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
def test_config_refuses_pieces_without_a_pair_of_frames(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="test"):
        config(**values)


def test_question_numbers_the_clips_and_is_the_same_for_every_order() -> None:
    video = numbered(uniform_clock(48, 20_000))
    questions = [TASK.question(draw(video, config(), seed), load_templates()) for seed in range(20)]
    assert {question.prompt for question in questions} == {questions[0].prompt}
    assert questions[0].prompt.count(VIDEO) == 6
    assert "Clip 6: <video>" in questions[0].prompt
    for question in questions:
        score = TASK.answer_type.score(question.answer, draw(video, config()).answer)
        assert score.parsed
