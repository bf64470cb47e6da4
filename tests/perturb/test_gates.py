"""The gates on whole videos: a perturbation that could not be seen is rejected."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tests.helpers.perturbations import ORDERS, PIXELS
from videossr.clock import uniform_clock
from videossr.config import parse
from videossr.measure import Measure, rejected
from videossr.perturb.contrast import exact_lab
from videossr.perturb.gates import (
    ClipFeatures,
    Limits,
    clip_features,
    hard_cut,
    hard_cuts,
    hidden_change,
    hidden_motion,
    motion_jump,
    no_course,
    picture_jump,
    steps,
)
from videossr.question import Frames
from videossr.sample import Rejection, Sample, VideoKey
from videossr.tasks.base import Video
from videossr.tasks.counting import Counting, CountingConfig
from videossr.tasks.grounding import Grounding, GroundingConfig


def rejection_of(video: Video, name: str) -> Rejection | None:
    return rejected(Grounding().gates(video, parse(GroundingConfig, {"perturbation": name}, "test")))


def still(frame: Frames) -> Video:
    frames = np.repeat(frame[None], 48, axis=0)
    return Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, 10_000), frames)


HIDDEN = {"stutter": "hidden_motion", "shuffle": "hidden_ends"}
"""Why a rearrangement of a still scene is refused."""

NEED_COLOR = {"channel_swap", "grayscale", "saturation"}


def rejected_names(video: Video) -> set[str]:
    return {name for name in [*PIXELS, *ORDERS] if rejection_of(video, name) is not None}


def test_gates_reject_only_color_perturbations_and_zoom_in_of_a_gray_video(clip: Callable[..., Video]) -> None:
    # Its zoom moves little: only the softness of magnified frames would tell it, which all frames of such a clip have.
    assert rejected_names(clip("gray.mp4")) == NEED_COLOR | {"zoom_in"}


def test_gates_reject_only_color_perturbations_and_stutter_of_a_black_and_white_film(
    shared_clip: Callable[..., Video],
) -> None:
    assert rejected_names(shared_clip("chaplin_bw.mp4")) == NEED_COLOR | {"stutter"}  # at times little moves


def test_gates_reject_temporal_perturbations_of_a_still_video(clip: Callable[..., Video]) -> None:
    video = still(clip("bikes.mp4").frames[0])
    for name, reason in HIDDEN.items():
        rejection = rejection_of(video, name)
        assert rejection is not None
        assert (rejection.reason, rejection.value) == (reason, 0)
    dense = Video(video.key, uniform_clock(96, 20_000), moving(96))
    frozen = Video(dense.key, dense.clock, np.repeat(dense.frames[:1], 96, axis=0))
    for name in ("slow", "fast"):
        assert rejection_of(dense, name) is None
        assert rejection_of(frozen, name) is not None


def test_gates_reject_a_mirror_of_a_symmetric_picture(clip: Callable[..., Video]) -> None:
    half = clip("bikes.mp4").frames[0, :, :192]
    video = still(np.concatenate([half, half[:, ::-1]], axis=1))
    assert rejection_of(video, "mirror") is not None
    assert rejection_of(video, "rotate_180") is None
    assert rejection_of(still(clip("bikes.mp4").frames[0]), "mirror") is None


def test_gates_reject_a_blur_of_a_flat_picture() -> None:
    rng = np.random.default_rng(0)
    detailed = rng.integers(0, 256, (96, 96, 3), np.uint8)
    flat = np.full((96, 96, 3), 120, np.uint8)
    assert rejection_of(still(detailed), "blur") is None
    assert rejection_of(still(flat), "blur") is not None
    assert rejection_of(still(flat), "noise") is None


def test_gates_judge_a_channel_swap_by_its_weakest_frames(clip: Callable[..., Video]) -> None:
    """In the one gray scene of a colorful video, a channel swap could not be seen."""
    video = clip("pan.mp4")
    assert rejection_of(video, "channel_swap") is None
    frames = video.frames.copy()
    frames[20:23] = frames[20:23].mean(axis=3, keepdims=True).astype(np.uint8)
    rejection = rejection_of(Video(video.key, video.clock, frames), "channel_swap")
    assert rejection is not None
    assert rejection.value < rejection.threshold


def test_gates_reject_pixel_perturbations_of_a_video_with_a_black_frame(clip: Callable[..., Video]) -> None:
    """A black frame differs from its neighbors, but these perturbations of it are black again."""
    video = clip("pan.mp4")
    frames = video.frames.copy()
    frames[25] = 0
    for name in ("mirror", "channel_swap", "rotate_180", "grayscale", "zoom_out"):
        assert rejection_of(video, name) is None
        rejection = rejection_of(Video(video.key, video.clock, frames), name)
        assert rejection is not None, name
        assert rejection.value == pytest.approx(0, abs=0.01)


def test_gates_with_limits_of_zero_admit_a_still_video(clip: Callable[..., Video]) -> None:
    zeros = {"picture": 0, "palette": 0, "texture": 0, "motion": 0, "contrast": 0, "course": 0, "ends": 0}
    for name in ("mirror", "shuffle"):
        config = parse(GroundingConfig, {"perturbation": name, "limits": zeros}, "test")
        assert rejected(Grounding().gates(still(clip("bikes.mp4").frames[0]), config)) is None


def test_hidden_motion_fails_for_a_scene_that_returns(clip: Callable[..., Video]) -> None:
    """Every sixth frame is alike, so a frame shown six slots early would look right."""
    frames = np.tile(clip("bikes.mp4").frames[:6], (8, 1, 1, 1))
    pictures = clip_features(frames).pictures
    assert hidden_motion(pictures, range(4, 6), Limits()).passed
    assert rejected([hidden_motion(pictures, range(4, 17), Limits())]) == Rejection("hidden_motion", 0, Limits().motion)


def check_that_only_a_slide_show_has_no_course(videos: list[Video]) -> None:
    """Check that each video has a course, and that frames of all of them in turn have none."""
    features = [video.features.pictures for video in videos]
    for number, pictures in enumerate(features):
        assert no_course(pictures, 1, Limits()).passed, number
    rng = np.random.default_rng(0)
    slide_show = np.stack([features[k % len(features)][rng.integers(48)] for k in range(48)])
    course = no_course(slide_show, 1, Limits())
    assert not course.passed
    assert 0.8 < course.value < 1.15


def test_no_course_fails_for_a_slide_show(clip: Callable[..., Video]) -> None:
    names = ("bikes.mp4", "pan.mp4", "wide.mkv", "large.mp4", "bigbuckbunny_5s.mp4", "carphone.mp4")
    check_that_only_a_slide_show_has_no_course([clip(name) for name in names])


def test_no_course_fails_for_a_slide_show_of_the_shared_clips(shared_clip: Callable[..., Video]) -> None:
    names = ("bikes.mp4", "pancake.mkv", "people.mp4", "mmaction_test.mp4", "vj_clip1.mp4", "carphone.mp4")
    check_that_only_a_slide_show_has_no_course([shared_clip(name) for name in names])


def test_gates_reject_a_mirror_of_a_video_that_jumps_at_every_slot(clip: Callable[..., Video]) -> None:
    calm = clip("bikes.mp4").frames[:1].repeat(48, axis=0)
    other = clip("pan.mp4").frames[0]
    wild = calm.copy()
    wild[::2] = np.resize(other, wild.shape[1:])
    video = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, 10_000), wild)
    assert rejection_of(Video(video.key, video.clock, calm), "mirror") is None
    assert rejection_of(video, "mirror") is not None


def test_gates_reject_a_mirror_of_a_jumping_video_with_held_pictures() -> None:
    """Two pictures alternate, each held for two slots: over half of the steps change nothing, the others all."""
    rng = np.random.default_rng(0)
    half, other = (np.repeat(rng.integers(0, 256, (8, 8, 3), np.uint8), 16, 0).repeat(16, 1) for _ in range(2))
    soft = (0.7 * half + 0.3 * half[:, ::-1]).astype(np.uint8)
    calm = np.repeat(soft[None], 48, axis=0)
    wild = calm.copy()
    wild[2::4] = wild[3::4] = other
    key = VideoKey("0" * 64, "1" * 64)
    assert rejection_of(Video(key, uniform_clock(48, 10_000), calm), "mirror") is None
    assert rejection_of(Video(key, uniform_clock(48, 10_000), wild[::2].repeat(2, axis=0)), "mirror") is not None


def moving(slots: int) -> Frames:
    """Slide a window of 96x96 by 288 pixels in all over a soft picture of random colors."""
    whole = np.random.default_rng(1).integers(0, 256, (6, 24, 3), np.uint8)
    wide = cv2.resize(whole, (384, 96), interpolation=cv2.INTER_LINEAR)
    step = 288 // slots
    return np.stack([wide[:, step * k : step * k + 96] for k in range(slots)])


@pytest.mark.parametrize(("first", "last"), [(10, 20), (40, 47), (0, 12)])
def test_gates_of_a_held_picture_reject_orders_and_admit_colors_and_counting(first: int, last: int) -> None:
    """Within the hold, a change of order could not be seen; a change of color or a painted shape could."""
    frames = moving(48)
    held = frames.copy()
    held[first : last + 1] = frames[first]
    key = VideoKey("0" * 64, "1" * 64)
    plain, video = (Video(key, uniform_clock(48, 20_000), shown) for shown in (frames, held))
    for name in ("invert", "grayscale", "channel_swap", "noise"):
        assert rejection_of(plain, name) is None
        assert rejection_of(video, name) is None
    assert rejected(Counting().gates(video, CountingConfig(size_min=0.2))) is None
    for name, reason in HIDDEN.items():
        assert rejection_of(plain, name) is None
        rejection = rejection_of(video, name)
        assert rejection is not None
        assert rejection.reason == reason


def test_gates_reject_speeds_of_a_video_with_a_picture_held_in_the_middle() -> None:
    """A hold in the middle cannot be avoided by choosing another start of the clip."""
    key, dense = VideoKey("0" * 64, "1" * 64), moving(96)
    held = dense.copy()
    held[30:60] = dense[30]
    for name in ("slow", "fast"):
        assert rejection_of(Video(key, uniform_clock(96, 20_000), dense), name) is None
        rejection = rejection_of(Video(key, uniform_clock(96, 20_000), held), name)
        assert rejection is not None
        assert rejection.reason == "hidden_speed"


def test_gates_admit_a_shuffle_of_a_video_with_a_short_hold() -> None:
    """The ends of a shuffle move by three slots or more, so a picture held for three slots still changes."""
    frames = moving(48)
    frames[10:13] = frames[10]
    video = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, 20_000), frames)
    assert rejection_of(video, "shuffle") is None
    assert rejection_of(video, "stutter") is not None


def test_motion_jump_sees_a_small_moving_object() -> None:
    frames = np.full((2, 160, 160, 3), 90, np.uint8)
    frames[1, 20:60, 20:60] = 250
    pictures = clip_features(frames).pictures
    assert float(motion_jump(pictures[0], pictures[1])) > 5 * Limits().motion


@pytest.mark.parametrize("name", sorted(PIXELS))
def test_admitted_pixel_perturbations_change_every_frame(name: str, clip: Callable[..., Video]) -> None:
    """The gates judge the weakest strength; a drawn one changes every frame, wherever the segment lies."""
    video = clip("carphone.mp4")
    assert rejection_of(video, name) is None
    params = PIXELS[name].parameters(parse(GroundingConfig, {"perturbation": name}, "t"), np.random.default_rng(1))
    altered = PIXELS[name].apply(video.frames, params)
    assert (np.abs(altered.astype(np.int16) - video.frames).mean(axis=(1, 2, 3)) > 1).all()


@pytest.mark.parametrize("name", ["mirror", "zoom_in", "saturation"])
def test_gates_reject_pixel_perturbations_of_a_video_with_a_hard_cut(name: str, clip: Callable[..., Video]) -> None:
    one, other = clip("carphone.mp4"), clip("wide.mkv")
    frames = one.frames.copy()
    assert rejection_of(one, name) is None
    frames[30:] = np.stack([cv2.resize(frame, frames.shape[2:0:-1]) for frame in other.frames[30:]])
    rejection = rejection_of(Video(one.key, one.clock, frames), name)
    assert rejection is not None
    assert (rejection.reason, rejection.threshold) == ("hard_cut", Limits().cut)
    assert rejection.value > 2 * Limits().cut
    assert rejection_of(Video(one.key, one.clock, frames), "rotate_180") is None, "a single frame tells it"


def test_gates_reject_a_change_hidden_by_a_fast_dissolve() -> None:
    """The change exceeds the median jump, but not the jumps of a fast dissolve, which is no hard cut."""
    rng = np.random.default_rng(3)
    scenes = [cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (96, 96)).astype(np.uint8) for _ in range(2)]
    weight = np.clip((np.arange(48) - 20) / 3, 0, 1)[:, None, None, None]
    frames = ((1 - weight) * scenes[0] + weight * scenes[1]).astype(np.uint8)
    faded = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, 10_000), frames)
    rejection = rejection_of(faded, "saturation")
    assert rejection is not None
    assert rejection.reason.startswith("hidden_")
    assert rejection_of(still(scenes[0]), "saturation") is None
    assert rejection_of(still(scenes[1]), "saturation") is None


def test_drawn_shuffles_have_visible_ends(clip: Callable[..., Video]) -> None:
    video = clip("bigbuckbunny_5s.mp4")
    config = parse(GroundingConfig, {"perturbation": "shuffle"}, "test")
    assert rejected(Grounding().gates(video, config)) is None
    pictures = clip_features(video.frames).pictures
    own_jumps = {jump: jump(pictures[:-1], pictures[1:]) for jump in (motion_jump, picture_jump)}
    rng = np.random.default_rng(0)
    for _ in range(100):
        sample = Grounding().draw(video, "x", config, rng, [])
        assert isinstance(sample, Sample)
        first, last = sample.integer("first"), sample.integer("last")
        shown = [frame for _, frame in sample.slots]
        assert motion_jump(pictures[first], pictures[shown[first]]) >= Limits().motion
        assert motion_jump(pictures[last], pictures[shown[last]]) >= Limits().motion
        for before, after, beside in ((first - 1, first, first - 2), (last, last + 1, last + 1)):
            if 0 <= beside < 47 and after < 48:
                pictures_before, pictures_after = pictures[shown[before]], pictures[shown[after]]
                larger = [jump(pictures_before, pictures_after) >= usual[beside] for jump, usual in own_jumps.items()]
                assert any(larger)


LAB = {
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (255, 255, 255): (100.0, 0.0, 0.0),
    (128, 128, 128): (53.59, 0.0, 0.0),
    (3, 3, 3): (0.82, 0.0, 0.0),
}
"""CIE L*a*b* (D65) of some sRGB colors, as color tables print them; the last lies on the linear part."""


@pytest.mark.parametrize("rgb", LAB)
def test_exact_lab_gives_published_coordinates(rgb: tuple[int, int, int]) -> None:
    assert exact_lab(np.array(rgb, np.float64)) == pytest.approx(LAB[rgb], abs=0.03)
    flat = np.full((2, 40, 60, 3), rgb, np.uint8)
    features = clip_features(flat)
    assert features.pictures.shape == (2, 16, 16, 3)
    assert features.pictures.dtype == features.palettes.dtype == features.textures.dtype == np.float32
    assert features.pictures[1, 7, 3] == pytest.approx(LAB[rgb], abs=0.06)
    a, b = LAB[rgb][1:]
    assert features.palettes[0] == pytest.approx((a, b, np.hypot(a, b)), abs=0.1)
    assert not features.textures.any()


def test_clip_features_are_cell_means_and_log_laplacians() -> None:
    """Each cell of the grid is the mean of its pixels, and texture is in octaves of the mean absolute Laplacian."""
    frame = np.zeros((32, 48, 3), np.uint8)
    frame[:, ::2] = 200  # columns of 200 and 0: a cell of 2 x 3 pixels holds 2 of 200 or 4 of 200 in 6
    features = clip_features(frame[None])
    light = {round(float(value), 1) for value in features.pictures[0, :, :, 0].ravel()}
    expected = [float(exact_lab(np.full(3, round(200 * share)))[0]) for share in (1 / 3, 2 / 3)]
    assert sorted(light) == pytest.approx(expected, abs=0.15)
    # A pixel of 200 has two neighbors of 0, one of 0 two of 200; OpenCV mirrors the columns at both edges alike.
    assert features.textures[0] == pytest.approx(np.log2(1 + 400), abs=1e-4)
    assert clip_features(frame[None, :16]).textures[0] == pytest.approx(np.log2(1 + 400), abs=1e-4), "a mean, not a sum"


def pictures_at(*lightness: float) -> ClipFeatures:
    """Flat gray frames, as the gates see them, of these L* values."""
    pictures = np.zeros((len(lightness), 16, 16, 3), np.float32)
    pictures[..., 0] = np.array(lightness)[:, None, None]
    return ClipFeatures(pictures, np.zeros((len(lightness), 3), np.float32), np.zeros(len(lightness), np.float32))


def test_hard_cut_is_a_jump_far_above_its_neighbors() -> None:
    limits = Limits()
    calm = pictures_at(0, 1, 2, 22, 23).pictures
    assert hard_cut(calm, limits) == Measure("hard_cut", 20, 8, least=False, setting="limits.cut")
    assert hard_cuts(calm, limits).tolist() == [False, False, True, False]
    assert not hard_cuts(pictures_at(0, 1, 2, 10, 11).pictures, limits).any(), "a jump of the limit is no cut"
    near_ratio = pictures_at(0, 8, 28, 29).pictures  # 20 is 2.5 times 8
    assert hard_cut(near_ratio, limits).value == 20
    assert hard_cut(pictures_at(0, 8.1, 28.1, 29).pictures, limits).value == 0
    assert hard_cut(pictures_at(0, 20).pictures, limits).value == 20, "nothing lies beside the only jump"
    assert hard_cut(pictures_at(0).pictures, limits).value == 0


def test_hidden_change_measures_name_their_thresholds() -> None:
    original, altered = pictures_at(0, 2, 4, 6), pictures_at(50, 52, 54, 56)
    measures = [*hidden_change(original, altered, Limits())]
    assert [(measure.gate, measure.setting, measure.threshold) for measure in measures] == [
        ("hidden_picture", "limits.picture", 5.0),
        ("hidden_picture", "limits.contrast", 1.5),
        ("hidden_palette", "limits.palette", 3.0),
        ("hidden_palette", "limits.contrast", 1.5),
        ("hidden_texture", "limits.texture", 0.5),
        ("hidden_texture", "limits.contrast", 1.5),
    ]
    assert {measure.either for measure in measures} == {"hidden_change"}
    # From frame k altered (50 + 2 k) to frame k + 1 (2 k + 2) the step is 48, and the video's own is 2.
    assert [measure.value for measure in measures[:2]] == [48, 24]
    measures_between = [*hidden_change(original, altered, Limits(), between=True)]
    assert [measure.gate for measure in measures_between] == ["hard_cut", *(measure.gate for measure in measures)]
    still_measures = [*hidden_change(pictures_at(9, 9, 9), pictures_at(19, 19, 19), Limits())]
    assert [measure.value for measure in still_measures[:2]] == [10, np.inf], "a still video has no jumps of its own"


def test_hidden_motion_and_no_course_name_their_thresholds() -> None:
    pictures = pictures_at(0, 10, 20, 30, 40, 50, 60).pictures
    assert hidden_motion(pictures, range(1, 9), Limits()) == Measure("hidden_motion", 10, 5, setting="limits.motion")
    assert no_course(pictures, 1, Limits()) == Measure("no_course", 3, 1.25, setting="limits.course")
    assert no_course(pictures_at(*[7] * 7).pictures, 1, Limits()) == Measure(
        "no_course", 0, 1.25, setting="limits.course"
    )


def test_steps_divides_by_the_larger_neighboring_step() -> None:
    result = steps(pictures_at(0, 10, 15, 35))
    # Frame 0 is left by a step of 10, frame 1 entered by 10 and left by 5, frame 2 left by 20, frame 3 entered by 20.
    assert result.factors == pytest.approx(
        np.abs(np.subtract.outer([0, 10, 15, 35], [0, 10, 15, 35])) / np.array([10, 10, 20, 20])[:, None]
    )
    assert result.motion[0] == pytest.approx([0, 10, 15, 35])
    assert result.factors.dtype == result.motion.dtype == np.float32


def test_motion_jump_is_that_of_the_tenth_of_cells_that_changes_most() -> None:
    one, two = pictures_at(0, 0).pictures
    cells = two.reshape(-1, 3)
    cells[:25, 0] = np.arange(1, 26)
    cells[25:50, 0] = 0.5
    assert motion_jump(one, two) == pytest.approx(13), "25 of 256 cells"
