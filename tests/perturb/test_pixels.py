"""Pixel perturbations: they are pure, have one strength throughout, and do what their names say."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.helpers.perturbations import PIXELS
from videossr.perturb.color import gray
from videossr.perturb.pixel import GRAIN, add_grain
from videossr.perturb.spatial import ZoomIn
from videossr.question import Frames
from videossr.sample import JSON
from videossr.tasks.base import Video
from videossr.tasks.grounding import GroundingConfig
from videossr.video.scaling import resize

FRAMES = arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.sampled_from([32, 64]), st.sampled_from([32, 96]), st.just(3))
)


CONFIG = GroundingConfig(perturbation="mirror")


def parameters(name: str, seed: int = 0) -> dict[str, JSON]:
    return PIXELS[name].parameters(CONFIG, np.random.default_rng(seed))


@pytest.mark.parametrize("name", sorted(PIXELS))
@settings(max_examples=10, deadline=None)
@given(frames=FRAMES)
def test_apply_is_deterministic_and_leaves_its_input_unchanged(name: str, frames: Frames) -> None:
    original = frames.copy()
    params = parameters(name)
    first = PIXELS[name].apply(frames, params)
    assert np.array_equal(first, PIXELS[name].apply(frames, params))
    assert first.shape == frames.shape
    assert first.dtype == np.uint8
    assert np.array_equal(frames, original)


@pytest.mark.parametrize("name", sorted(set(PIXELS) - {"noise"}))
def test_apply_alters_equal_frames_equally(name: str, clip: Callable[..., Video]) -> None:
    """One frame repeated stays still, because nothing is drawn anew within a segment."""
    frames = np.repeat(clip("bikes.mp4").frames[:1], 4, axis=0)
    altered = PIXELS[name].apply(frames, parameters(name))
    assert (altered == altered[0]).all()
    assert not np.array_equal(altered[0], frames[0])


def test_noise_is_new_in_every_frame_and_of_the_drawn_strength() -> None:
    frames = np.full((4, 128, 128, 3), 128, np.uint8)
    altered = PIXELS["noise"].apply(frames, {"sigma": 35.0, "seed": 7}).astype(np.float64)
    assert not np.array_equal(altered[0], altered[1])
    assert altered.std(axis=(1, 2, 3)) == pytest.approx(35, rel=0.02)
    assert altered.mean() == pytest.approx(128, abs=0.3)
    other = PIXELS["noise"].apply(frames, {"sigma": 35.0, "seed": 8})
    assert not np.array_equal(altered, other)


@given(frames=FRAMES)
@settings(max_examples=20, deadline=None)
def test_mirror_rotate_180_channel_swap_and_invert_undo_themselves(frames: Frames) -> None:
    for name in ("mirror", "rotate_180", "channel_swap", "invert"):
        assert np.array_equal(PIXELS[name].apply(PIXELS[name].apply(frames, {}), {}), frames)


def test_rotate_90_turns_clockwise_and_rotate_270_back() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    clockwise = PIXELS["rotate_90"].apply(frames, {})
    assert np.array_equal(clockwise[0], cv2.rotate(frames[0], cv2.ROTATE_90_CLOCKWISE))
    assert np.array_equal(PIXELS["rotate_270"].apply(clockwise, {}), frames)


def test_rotate_90_of_a_wide_frame_leaves_black_bars() -> None:
    frames = np.full((1, 64, 128, 3), 200, np.uint8)
    turned = PIXELS["rotate_90"].apply(frames, {})[0]
    assert (turned[:, 48:80] == 200).all()
    assert (turned[:, :48] == 0).all()
    assert (turned[:, 80:] == 0).all()


def test_zoom_out_puts_the_whole_picture_on_black() -> None:
    frames = np.full((1, 96, 192, 3), 255, np.uint8)
    shrunk = PIXELS["zoom_out"].apply(frames, {"factor": 1.5})[0]
    assert (shrunk[16:80, 32:160] == 255).all()
    assert int((shrunk == 255).all(axis=2).sum()) == 64 * 128


def test_zoom_in_shows_the_middle(clip: Callable[..., Video]) -> None:
    frames = clip("bikes.mp4").frames[:2]
    height, width = frames.shape[1:3]
    zoomed = PIXELS["zoom_in"].apply(frames, {"factor": 2.0})
    back = resize(zoomed, height // 2, width // 2).astype(np.int16)
    middle = frames[:, height // 4 : height // 4 * 3, width // 4 : width // 4 * 3]
    assert np.abs(back - middle).mean() < 3


def test_saturation_moves_colors_away_from_gray(clip: Callable[..., Video]) -> None:
    frames = clip("bikes.mp4").frames[:2]
    luma = gray(frames)
    assert (luma[..., 0] == luma[..., 1]).all()
    assert np.array_equal(PIXELS["saturation"].apply(frames, {"factor": 1.0}), frames)
    strong = PIXELS["saturation"].apply(frames, {"factor": 2.0}).astype(np.int16)
    expected = np.clip(2 * frames.astype(np.int16) - luma, 0, 255)
    assert np.abs(strong - expected).max() <= 1


@pytest.mark.parametrize("name", ["zoom_in", "zoom_out", "noise"])
def test_drawn_strengths_fill_their_range(name: str) -> None:
    key = "sigma" if name == "noise" else "factor"
    drawn = [float(str(parameters(name, seed)[key])) for seed in range(300)]
    low, high = getattr(CONFIG.strengths, name)
    assert low <= min(drawn) < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < max(drawn) <= high
    assert PIXELS[name].weakest(CONFIG)[key] == low


def test_drawn_parameters_have_few_decimals_and_seeds_of_32_bits() -> None:
    drawn = [parameters("noise", seed) for seed in range(60)]
    assert all(float(str(params["sigma"])) == round(float(str(params["sigma"])), 1) for params in drawn)
    assert any(float(str(params["sigma"])) % 1 for params in drawn)
    seeds = [int(str(params["seed"])) for params in drawn]
    assert 2**31 < max(seeds) < 2**32
    factors = [float(str(parameters("zoom_in", seed)["factor"])) for seed in range(60)]
    assert all(factor == round(factor, 3) for factor in factors)


def test_noise_is_clipped_at_black_and_white() -> None:
    for level in (0, 255):
        frames = np.full((2, 64, 64, 3), level, np.uint8)
        altered = PIXELS["noise"].apply(frames, {"sigma": 20.0, "seed": 7})
        assert 0.45 < (altered == level).mean() < 0.55
        assert np.abs(altered.astype(np.int16) - level).max() < 100


def test_noise_of_a_seed_never_changes() -> None:
    """Every machine must add the same noise, so the first values are fixed here."""
    altered = PIXELS["noise"].apply(np.full((1, 1, 8, 3), 128, np.uint8), {"sigma": 35.0, "seed": 7})
    assert altered.ravel().tolist() == [
        *(141, 142, 182, 83, 111, 93, 116, 161, 113, 152, 241, 103),
        *(108, 64, 141, 95, 156, 151, 158, 170, 172, 185, 127, 120),
    ]


def test_saturation_multiplies_the_distance_from_gray() -> None:
    frames = np.array([[[[200, 100, 50], [0, 0, 255], [90, 90, 90], [255, 255, 0]]]], np.uint8)
    luma = cv2.cvtColor(frames[0], cv2.COLOR_RGB2GRAY)[None, ..., None].astype(np.float64)
    for factor in (0.5, 1.5, 4.0):
        expected = np.clip(np.floor(luma + (frames - luma) * factor + 0.5), 0, 255)
        assert np.array_equal(PIXELS["saturation"].apply(frames, {"factor": factor}), expected)


def test_mirror_reverses_columns_and_channel_swap_reverses_channels(clip: Callable[..., Video]) -> None:
    frames = clip("bikes.mp4").frames[:3]
    assert np.array_equal(PIXELS["mirror"].apply(frames, {}), frames[:, :, ::-1])
    assert np.array_equal(PIXELS["channel_swap"].apply(frames, {}), frames[..., ::-1])


@pytest.mark.parametrize("name", ["bikes.mp4", "carphone.mp4", "bigbuckbunny_5s.mp4"])
def test_zoom_in_beside_softens_frames_like_magnified_ones(name: str, clip: Callable[..., Video]) -> None:
    def detail(frames: Frames) -> float:
        grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        return float(np.mean([np.log(1 + np.abs(cv2.Laplacian(gray, cv2.CV_16S))).mean() for gray in grays]))

    frames, zoom = clip(name).frames[::6], PIXELS["zoom_in"]
    assert zoom.beside(frames, {"factor": 1.4}) is not frames
    magnified = detail(zoom.apply(frames, {"factor": 1.4}))
    assert abs(detail(zoom.beside(frames, {"factor": 1.4})) - magnified) < 0.25 * abs(detail(frames) - magnified)


def test_show_applies_beside_to_frames_outside_the_segment(clip: Callable[..., Video]) -> None:
    class Grainless(ZoomIn):
        grain = False

    frames, zoom = clip("bikes.mp4").frames[:6], Grainless()
    params = {"factor": 1.4, "seed": 3}
    shown = zoom.show(frames, slice(2, 4), params)
    assert zoom.beside(frames, params) is not frames
    assert np.array_equal(shown[2:4], zoom.apply(frames[2:4], params))
    assert np.array_equal(shown[[0, 1, 4, 5]], zoom.beside(frames[[0, 1, 4, 5]], params))
    mirrored = PIXELS["mirror"].show(frames, slice(0, 2), {})
    assert np.array_equal(mirrored[2:], frames[2:])


@pytest.mark.parametrize("size", [(40, 60), (700, 900)])
def test_add_grain_is_faint_unbiased_and_new_in_every_frame(size: tuple[int, int]) -> None:
    frames = np.full((3, *size, 3), 128, np.uint8)
    add_grain(frames, 5)
    change = frames.astype(np.int16) - 128
    assert sorted(np.unique(change)) == [*range(-GRAIN, GRAIN + 1)]
    assert abs(change.mean()) < 0.1
    correlations = np.atleast_2d(np.corrcoef(change.reshape(3, -1)))
    assert np.abs(correlations[np.triu_indices(3, 1)]).max() < 0.05
    other = np.full_like(frames, 128)
    add_grain(other, 5)
    assert np.array_equal(other, frames)
    add_grain(other, 6)
    assert not np.array_equal(other, frames)


def test_show_of_a_channel_swap_adds_grain_to_all_frames(clip: Callable[..., Video]) -> None:
    frames = clip("bikes.mp4").frames[:6]
    shown = PIXELS["channel_swap"].show(frames, slice(2, 4), {"seed": 1}).astype(np.int16)
    expected = frames.copy()
    expected[2:4] = frames[2:4, ..., ::-1]
    change = np.abs(shown - expected)
    assert change.max() == GRAIN
    assert change.mean(axis=(1, 2, 3)) == pytest.approx(1.2, abs=0.1)
    assert np.array_equal(PIXELS["channel_swap"].show(frames, slice(2, 4), {"seed": 1}), shown), (
        "the seed decides the grain"
    )
    first = [PIXELS["channel_swap"].show(frames, slice(2, 4), {"seed": seed})[0, 0, 0, 0] for seed in range(20)]
    assert len(set(first)) > 1, "the first pixel also has grain"
