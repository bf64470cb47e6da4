"""The scramble task, found by its name once installed: an interval task with its answer type and without a reward.

pip install examples/custom_task && python -m pytest examples/custom_task/tests
"""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from videossr_tiles.scramble import Scramble, ScrambleConfig

from videossr.answers.interval import INTERVAL
from videossr.clock import uniform_clock
from videossr.rewards import compute_score
from videossr.sample import Sample, VideoKey
from videossr.tasks.base import Video, answer_type_of, open_task
from videossr.templates import load_templates


def draw_sample(seed: int) -> tuple[Sample, Video]:
    """Draw a sample from noise, in whose frames no two tiles are alike."""
    frames = np.random.default_rng(0).integers(0, 256, (24, 64, 128, 3), np.uint8)
    video = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(24, 12_000), frames)
    config = ScrambleConfig(frames=24, least=4, most=8)
    sample = Scramble().draw(video, "scramble/8", config, np.random.default_rng(seed), [])
    assert isinstance(sample, Sample)
    return sample, video


def test_scramble_answers_are_scored_as_intervals() -> None:
    sample, _ = draw_sample(1)
    question = open_task("scramble").question(sample, load_templates())
    assert answer_type_of(question.data_source) is INTERVAL
    assert compute_score(question.data_source, sample.answer, sample.answer)["strict"] == 1
    assert compute_score(question.data_source, "0-12", sample.answer)["smooth"] == pytest.approx(
        INTERVAL.score("0-12", sample.answer).smooth
    )


def test_scramble_render_moves_tiles_only_within_its_segment() -> None:
    for seed in range(10):
        sample, video = draw_sample(seed)
        (clip,) = open_task("scramble").render(video.frames, sample)
        changed = (clip.frames != video.frames).any(axis=(1, 2, 3))
        first, last = sample.integer("first"), sample.integer("last")
        assert np.flatnonzero(changed).tolist() == list(range(first, last + 1))
        assert np.sort(clip.frames, axis=None).tolist() == np.sort(video.frames, axis=None).tolist()


def test_scramble_draws_the_spans_of_its_answer_distribution() -> None:
    spans = {(s.integer("first"), s.integer("last")) for s, _ in map(draw_sample, range(300))}
    distribution = open_task("scramble").answer_distribution(ScrambleConfig(frames=24, least=4, most=8))
    assert distribution is not None
    assert spans <= set(distribution.spans)  # type: ignore[attr-defined]
    assert {last - first + 1 for first, last in spans} == {4, 5, 6, 7, 8}


def test_scramble_config_refuses_a_segment_that_fills_the_clip() -> None:
    with pytest.raises(ValidationError):
        ScrambleConfig(frames=12, most=12)
