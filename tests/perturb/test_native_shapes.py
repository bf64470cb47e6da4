"""The gate `native_shapes`: videos that show discs, balloons, signs or tiles of their own are rejected for counting."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg

from tests.helpers.clips import pan
from tests.helpers.lookalike_shapes import KINDS, draw_lookalikes
from videossr.clock import uniform_clock
from videossr.config import parse
from videossr.measure import rejected
from videossr.perturb.native_shapes import native_shapes
from videossr.perturb.shapes import SHAPES, outline, paint
from videossr.question import Frames
from videossr.sample import Rejection, VideoKey
from videossr.tasks.base import Video
from videossr.tasks.counting import Counting, CountingConfig
from videossr.templates import load_templates

COUNTED = ("circle", "square", "triangle")


def scene(frames: int = 48) -> Frames:
    return np.stack([*pan(4, frames, 192, 256, patches=8, step=0.1)])


def rejection_of(frames: Frames, **values: object) -> Rejection | None:
    video = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(len(frames), 24_000), frames)
    return rejected(Counting().gates(video, parse(CountingConfig, values, "test")))


@pytest.mark.parametrize("kind", KINDS)
def test_counting_gates_reject_a_video_that_shows_shapes_of_its_own(kind: str) -> None:
    assert rejection_of(scene()) is None
    rejection = rejection_of(draw_lookalikes(scene(), kind))
    assert rejection is not None
    assert (rejection.reason, rejection.threshold) == ("native_shapes", 0.2)
    assert rejection_of(draw_lookalikes(scene(), kind), native=1) is None
    assert rejection_of(draw_lookalikes(scene(), kind), gates=False) is None


def test_counting_gates_admit_a_video_with_a_shape_in_few_frames() -> None:
    frames = scene()
    frames[:6] = draw_lookalikes(frames[:6], "disc")
    assert rejection_of(frames) is None


@pytest.mark.parametrize("name", SHAPES)
def test_native_shapes_counts_only_the_given_shapes(name: str) -> None:
    """The shape is found at every angle, blurred and compressed as in a video."""
    for angle in range(0, 90, 18):
        frame = scene(1)[0]
        paint(frame, outline(name, 128, 96, 60, angle), (250, 250, 40))
        jpeg = simplejpeg.encode_jpeg(np.asarray(cv2.GaussianBlur(frame, (3, 3), 0), np.uint8), 90, "RGB")
        frame = simplejpeg.decode_jpeg(jpeg, "RGB")
        assert native_shapes(frame, SHAPES) == 1
        assert native_shapes(frame, COUNTED) == (name in COUNTED)


def test_counting_prompt_does_not_say_that_all_shapes_have_one_color() -> None:
    prompt = load_templates()["counting"]["prompt"]
    assert "shapes of one color" not in prompt
    assert "different shapes may have different colors" in prompt
