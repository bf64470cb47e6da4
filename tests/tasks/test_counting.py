import dataclasses
import hashlib
import math
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from tests.helpers.shape_recount import read_clip, recount
from videossr.answers.checks import chi_square
from videossr.answers.counts import count_distribution
from videossr.builder import recipe
from videossr.clock import uniform_clock
from videossr.measure import rejected
from videossr.perturb import contrast
from videossr.perturb.shapes import FULL, SHAPES, coverage, outline, paint
from videossr.sample import Rejection, Sample, VideoKey
from videossr.tasks.base import TASKS, Video
from videossr.tasks.counting import Counting, CountingConfig, draw_slots, lay_out, shapes_of
from videossr.templates import load_templates

EASY = CountingConfig()
HARD = CountingConfig(slots_max=4, instances_max=4)
ALL = CountingConfig(shapes=SHAPES, slots_max=4, instances_max=4)
SIZES = ((160, 288), (256, 256), (288, 160), (160, 192))
TASK = Counting()


@pytest.fixture(scope="session")
def clips(each_videos: Path) -> list[Path]:
    """Eight ordinary clips of a folder."""
    return sorted([*each_videos.glob("real/*"), *each_videos.glob("made/*")])[:8]


def gradient(frames: int = 48, size: tuple[int, int] = (160, 192)) -> Video:
    """A video made of whole numbers only: two slow color ramps that drift with time."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(size[0]), np.arange(size[1]), indexing="ij")
    pixels = np.stack([(x + t) // 2 % 128, (y + 2 * t) // 3 % 128, (x + y) // 4 % 128], axis=-1)
    return Video(VideoKey("a" * 64, "b" * 64), uniform_clock(frames, 500 * frames), pixels.astype(np.uint8))


def draw(video: Video, config: CountingConfig, seed: int) -> Sample:
    sample = TASK.draw(video, "counting/test", config, np.random.Generator(np.random.PCG64DXSM(seed)), ())
    assert isinstance(sample, Sample)
    return sample


def frames_of(video: Video, sample: Sample) -> np.ndarray:
    return video.frames[[frame for _, frame in sample.slots]]


def count_by_slot(sample: Sample) -> list[Counter[str]]:
    counts: list[Counter[str]] = [Counter() for _ in sample.slots]
    for drawn in TASK.truth(sample).outlines:
        counts[drawn.slot][drawn.name] += 1
    return counts


def test_counting_is_registered():
    assert TASKS.get("counting") is Counting


def test_render_shows_the_counts_of_the_answer_in_its_pixels(clips):
    painted = 0
    for number, path in enumerate(clips):
        video = read_clip(path, SIZES[number % len(SIZES)])
        if video is None:
            continue
        for seed, config in enumerate((EASY, HARD, ALL, ALL, ALL)):
            assert rejected(TASK.gates(video, dataclasses.replace(config, native=1))) is None
            sample = draw(video, config, 100 * number + seed)
            frames = TASK.render(video.frames, sample)[0].frames
            counts = recount(video.frames, frames)
            assert counts == count_by_slot(sample), f"{path.name}, seed {seed}"
            total = sum(counts, Counter())
            assert sample.answer == ",".join(str(total[name]) for name in config.shapes)
            blank = [slot for slot, count in enumerate(counts) if not count]
            assert np.array_equal(frames[blank], video.frames[blank])
            painted += len(counts) - len(blank)
    assert painted > 30 * len(clips)


def test_recount_notices_a_missing_or_another_shape():
    video, sample = gradient(), draw(gradient(), EASY, 1)
    first, *rest = cast(list[Any], sample.params["shapes"])
    fewer = dataclasses.replace(sample, params={**sample.params, "shapes": rest})
    other = dataclasses.replace(sample, params={**sample.params, "shapes": [{**first, "name": "star"}, *rest]})
    for wrong in (fewer, other):
        assert recount(video.frames, TASK.render(video.frames, wrong)[0].frames) != count_by_slot(sample)


@pytest.mark.parametrize("name", SHAPES)
def test_recount_tells_shapes_apart_at_any_angle_and_the_smallest_size(name):
    for angle, (x, y) in product(range(0, 360, 3), ((16.0, 16.0), (16.375, 15.625))):
        before = np.full((1, 32, 32, 3), 90, np.uint8)
        after = before.copy()
        paint(after[0], outline(name, x, y, 14.0, angle), (210, 60, 60))
        assert recount(before, after) == [Counter({name: 1})], f"angle {angle} at {x}, {y}"


def test_drawn_shapes_lie_inside_apart_and_in_contrast(clips):
    for number, path in enumerate(clips[:6]):
        size = SIZES[number % len(SIZES)]
        video = read_clip(path, size)
        if video is None:
            continue
        sample = draw(video, ALL, number)
        covered: dict[int, np.ndarray] = defaultdict(lambda: np.zeros(size, int))  # noqa: B023
        for shape in shapes_of(sample):
            points = np.array(shape.points)
            assert points.min() >= 1
            assert (points.max(axis=0) <= np.array(size[::-1]) - 1).all()
            mask = np.zeros(size, np.uint8)
            cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
            surroundings = cv2.dilate(mask, np.ones((3, 3), np.uint8)).astype(bool)
            lab = cv2.cvtColor((video.frames[shape.slot] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)
            color = cv2.cvtColor((np.array([[shape.color]]) / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0, 0]
            near = np.linalg.norm(lab[mask.astype(bool)] - color, axis=1) < ALL.contrast - 6
            assert near.mean() < 0.08  # 1% of the circle is at most that much of the thinnest shape
            covered[shape.slot // ALL.merge] += surroundings
        assert all(count.max() == 1 for count in covered.values())


def test_draw_avoids_the_color_of_the_background():
    flat = Video(VideoKey("a", "b"), uniform_clock(48, 24000), np.full((48, 160, 160, 3), (200, 80, 80), np.uint8))
    behind = contrast.exact_lab(np.array([200.0, 80.0, 80.0]))
    for seed in range(20):
        for shape in shapes_of(draw(flat, EASY, seed)):
            assert np.linalg.norm(contrast.exact_lab(np.array(shape.color, float)) - behind) > EASY.contrast - 6


CONFIG = st.fixed_dictionaries(
    {
        "shapes": st.permutations(SHAPES).flatmap(lambda names: st.integers(1, 5).map(lambda n: tuple(names[:n]))),
        "slots_max": st.integers(1, 5),
        "instances_max": st.integers(1, 4),
        "min_gap": st.integers(0, 11),
        "frames": st.sampled_from((24, 48)),
        "merge": st.integers(1, 3),
        "size_min": st.floats(0.125, 0.2),
        "size_max": st.floats(0.2, 0.3),
        "spacing": st.floats(0, 0.05),
        "contrast": st.floats(20, 40),
        "margin": st.sampled_from((0.0, 0.05, 0.1)),
    }
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(fields=CONFIG, seed=st.integers(0, 2**32))
def test_samples_of_any_valid_config_keep_its_limits(fields, seed):
    try:
        config = CountingConfig(**fields)
    except ValidationError:
        assume(False)
    video = gradient(size=(128, 160))
    assert rejected(TASK.gates(video, config)) is None
    sample = draw(video, config, seed)
    assert Sample.from_json(sample.to_json()) == sample
    assert sample.slots == tuple((0, k * (48 // config.frames)) for k in range(config.frames))
    counts = count_by_slot(sample)
    total = sum(counts, Counter())
    assert sample.answer == ",".join(str(total[name]) for name in config.shapes)
    assert all(len(count) <= 1 for count in counts)
    for name in config.shapes:
        slots = [slot for slot, count in enumerate(counts) if count[name]]
        assert 1 <= len(slots) <= config.slots_max
        assert all(1 <= counts[slot][name] <= config.instances_max for slot in slots)
        assert all(b - a > config.min_gap for a, b in pairwise(slots))
    for a, b in combinations(shapes_of(sample), 2):
        if a.slot // config.merge == b.slot // config.merge:
            assert math.dist((a.x, a.y), (b.x, b.y)) >= (a.size + b.size) / 2 + max(4, config.spacing * 128 - 0.07)
    for shape in shapes_of(sample):
        assert config.size_min * 128 <= shape.size <= config.size_max * 128 + 0.125
        for place, side in ((shape.x, 160), (shape.y, 128)):
            assert abs(place - side / 2) <= side * (0.5 - config.margin) - shape.size / 2
    before = frames_of(video, sample)
    assert recount(before, TASK.render(before, sample)[0].frames) == counts


def test_draw_slots_succeeds_with_the_fewest_frames_allowed():
    config = CountingConfig(shapes=SHAPES, slots_max=4, frames=44)
    with pytest.raises(ValidationError, match="need 44 frames, got 43"):
        CountingConfig(shapes=SHAPES, slots_max=4, frames=43)
    rng = np.random.default_rng(0)
    for _ in range(300):
        slot_sets = draw_slots(rng, [4] * 5, config)
        assert len({slot for slots in slot_sets for slot in slots}) == 20
        assert all(b - a > 8 for slots in slot_sets for a, b in pairwise(slots))


def test_draw_slots_is_uniform_over_all_valid_sets():
    config = CountingConfig(shapes=("star",), slots_max=3, min_gap=2, frames=12)
    valid = [c for c in combinations(range(12), 3) if c[1] - c[0] > 2 and c[2] - c[1] > 2]
    rng = np.random.default_rng(7)
    drawn = Counter(draw_slots(rng, [3], config)[0] for _ in range(100 * len(valid)))
    assert set(drawn) == set(valid)
    assert stats.chisquare([drawn[c] for c in valid]).pvalue > 0.001


def exact_distribution(slots_max: int, instances_max: int) -> dict[int, Fraction]:
    """Compute the distribution by listing every outcome."""
    probabilities: dict[int, Fraction] = defaultdict(Fraction)
    for slots in range(1, slots_max + 1):
        for outcome in product(range(1, instances_max + 1), repeat=slots):
            probabilities[sum(outcome)] += Fraction(1, slots_max * instances_max**slots)
    return probabilities


@pytest.mark.parametrize(("config", "best"), [(EASY, 19.8), (HARD, 12.2)])
def test_count_distribution_is_exact_and_has_the_papers_peak(config, best):
    probabilities = count_distribution(config.slots_max, config.instances_max)
    exact = exact_distribution(config.slots_max, config.instances_max)
    assert probabilities == pytest.approx({count: float(share) for count, share in exact.items()})
    assert round(100 * max(probabilities.values()), 1) == best


def test_drawn_counts_follow_count_distribution():
    video = Video(VideoKey("a", "b"), uniform_clock(48, 24000), np.zeros((48, 128, 128, 3), np.uint8))
    frequencies = Counter(int(n) for seed in range(250) for n in draw(video, HARD, seed).answer.split(","))
    probabilities = count_distribution(4, 4)
    assert (
        stats.chisquare(
            [frequencies[n] for n in probabilities], [750 * share for share in probabilities.values()]
        ).pvalue
        > 0.001
    )


def test_draw_is_rejected_where_lay_out_finds_no_room(monkeypatch):
    full = [("circle", 0, 60 * 8)] * 4
    lab = contrast.to_lab(np.zeros((100, 100, 3), np.uint8))
    assert lay_out(np.random.default_rng(0), full, {0: lab}, CountingConfig(tries=50)) is None
    monkeypatch.setattr("videossr.tasks.counting.lay_out", lambda *_: None)
    rejection = TASK.draw(gradient(), "c", EASY, np.random.default_rng(0), ())
    assert isinstance(rejection, Rejection)
    assert rejection.reason == "no_room"


def test_gates_reject_small_videos_and_low_contrast():
    assert TASK.required_frames(EASY) == (48, 1)
    assert rejected(TASK.gates(gradient(144), EASY)) is None
    with pytest.raises(ValueError, match="cannot be subsampled to 48"):
        rejected(TASK.gates(gradient(50), EASY))
    assert rejected(TASK.gates(gradient(size=(96, 160)), EASY)) == Rejection("too_small", 12.0, 16)
    noise = np.random.default_rng(0).integers(0, 256, (48, 160, 160, 3)).astype(np.uint8)
    rejection = rejected(TASK.gates(dataclasses.replace(gradient(), frames=noise), EASY))
    assert rejection is not None
    assert (rejection.reason, rejection.threshold) == ("no_contrast", 0.1)
    one_bad_slot = gradient().frames.copy()
    one_bad_slot[31] = np.random.default_rng(1).integers(0, 256, (160, 192, 3))
    assert rejected(TASK.gates(dataclasses.replace(gradient(), frames=one_bad_slot), EASY)) is not None


def test_draw_subsamples_a_denser_pack():
    video = gradient(144)
    sample = draw(video, EASY, 3)
    assert sample.slots[:3] == ((0, 0), (0, 3), (0, 6))
    assert sample.clock == video.clock.subsample(48)
    before = frames_of(video, sample)
    assert recount(before, TASK.render(before, sample)[0].frames) == count_by_slot(sample)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shapes": ("circle", "squar")}, "did you mean 'square'"),
        ({"shapes": ("circle", "circle")}, "twice"),
        ({"shapes": ()}, "at least 1"),
        ({"size_min": 0.3}, "must not be above"),
        ({"slots_max": 6}, "need 58 frames"),
        ({"slots_max": 4, "frames": 27, "shapes": ("star",)}, "need 28 frames"),
        ({"size_max": 0.35}, "of a square frame"),
        ({"margin": 0.15}, "more than 0.23: lower size_max, spacing, margin"),
        ({"size_max": 0.8, "overlap": True, "gates": False}, "1 shapes of size_max 0.8"),
        ({"color_min": 300}, "less than or equal to 255"),
        ({"colour": 1}, "nexpected keyword argument"),
    ],
)
def test_config_refuses_settings_that_cannot_be_satisfied(fields, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(CountingConfig).validate_python(fields)


def test_config_describes_every_setting():
    properties = TypeAdapter(CountingConfig).json_schema()["properties"]
    assert len(properties) == 20
    assert all(field["description"] and "default" in field for field in properties.values())


@pytest.mark.slow
@pytest.mark.parametrize(("category", "most"), [("counting/easy", 3), ("counting/hard", 4)])
def test_released_recipe_draws_the_released_distributions(category, most):
    """Sizes are 20 to 40 % of the short side, in the central 70 %, colors 50 to 255; shapes overlap, no gates."""
    config = recipe.load_recipe("viubench", profile="released").config[category]
    height, width = 160, 192
    noise = np.random.default_rng(0).integers(0, 256, (48, height, width, 3)).astype(np.uint8)
    video = dataclasses.replace(gradient(size=(height, width)), frames=noise)
    assert rejected(TASK.gates(video, config)) is None
    assert rejected(TASK.gates(video, EASY)) is not None
    samples = [draw(video, config, seed) for seed in range(300)]
    drawn = [shape for sample in samples for shape in shapes_of(sample)]
    sizes = np.array([shape.size / height for shape in drawn])
    assert stats.kstest(sizes, stats.uniform(0.2, 0.2).cdf).pvalue > 1e-3
    levels = [level for shape in drawn for level in shape.color]
    assert (min(levels), max(levels)) == (50, 255)
    assert stats.chisquare(np.bincount(levels)[50:]).pvalue > 1e-3
    for shape in drawn:
        for place, side in ((shape.x, width), (shape.y, height)):
            assert 0.15 * side <= place - shape.size / 2
            assert place + shape.size / 2 <= 0.85 * side
    overlapping = [
        any(
            a.slot == b.slot and math.dist((a.x, a.y), (b.x, b.y)) < min(a.size, b.size) / 2
            for a, b in combinations(shapes_of(sample), 2)
        )
        for sample in samples
    ]
    assert np.mean(overlapping) > 0.5
    totals = Counter(int(count) for sample in samples for count in sample.answer.split(","))
    probabilities = count_distribution(most, most)
    assert chi_square("", totals, probabilities).holds
    for sample in samples[:20]:
        counts = count_by_slot(sample)
        assert all(len(count) <= 1 for count in counts)
        for name in config.shapes:
            slots = [slot for slot, count in enumerate(counts) if count[name]]
            assert all(b - a > 8 for a, b in pairwise(slots))
        TASK.render(video.frames, sample)


def test_draw_and_render_give_the_same_bytes_on_every_machine():
    video, sample = gradient(), draw(gradient(), HARD, 11)
    assert sample == draw(gradient(), HARD, 11)
    before = video.frames.copy()
    video.frames.flags.writeable = False
    frames = TASK.render(video.frames, sample)[0].frames
    assert np.array_equal(video.frames, before)
    assert sample.id == "b454d118f5ff04f17fbe"
    assert hashlib.sha256(frames.tobytes()).hexdigest()[:20] == "6c5093c015976a76c953"


def test_rounded_tables_of_lab_and_sines_are_far_from_ties():
    """A different last bit of another library must not change an entry."""
    level = np.arange(64) * 4 + 1.5
    cells = np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1)
    exact = contrast.exact_lab(cells) * contrast.SCALE
    assert np.abs(exact - np.floor(exact) - 0.5).min() > 1e-8
    sines = np.sin(np.radians(np.arange(360))) * 2**20
    assert np.abs(sines - np.floor(sines) - 0.5).min() > 1e-6


def test_to_lab_agrees_with_opencv():
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    expected = cv2.cvtColor((rgb / 255).astype(np.float32), cv2.COLOR_RGB2LAB)
    assert np.linalg.norm(contrast.to_lab(rgb) / contrast.SCALE - expected, axis=-1).max() < 3


def test_coverage_is_the_covered_part_of_each_pixel():
    top, left, covered = coverage(((1.5, 2.25), (4.0, 2.25), (4.0, 4.5), (1.5, 4.5)))
    assert (top, left) == (2, 1)
    assert (covered / FULL).tolist() == [[0.375, 0.75, 0.75], [0.5, 1, 1], [0.25, 0.5, 0.5]]
    for name, angle in product(SHAPES, range(0, 360, 7)):
        points = np.array(outline(name, 40.125, 39.5, 30.25, angle))
        x, y = points.T
        area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
        assert coverage(outline(name, 40.125, 39.5, 30.25, angle))[2].sum() / FULL == pytest.approx(area, rel=1e-2)
        assert np.linalg.norm(points - (40.125, 39.5), axis=1).max() == pytest.approx(30.25 / 2, abs=0.02)


def test_paint_mixes_edges_and_refuses_what_leaves_the_frame():
    frame = np.full((4, 4, 3), 100, np.uint8)
    paint(frame, ((1.0, 1.0), (2.5, 1.0), (2.5, 2.0), (1.0, 2.0)), (200, 0, 101))
    assert frame[1].tolist() == [[100] * 3, [200, 0, 101], [150, 50, 101], [100] * 3]
    assert (frame[[0, 2, 3]] == 100).all()
    with pytest.raises(ValueError, match="leaves"):
        paint(frame, outline("circle", 2, 2, 5, 0), (0, 0, 0))


def test_question_names_the_shapes_in_the_order_of_the_answer():
    sample = draw(gradient(), CountingConfig(shapes=("cross", "star"), size_max=0.2), 5)
    templates = load_templates()
    question = TASK.question(sample, templates)
    assert question.prompt.startswith("<video>\n")
    assert "how many crosses, stars were drawn" in question.prompt
    assert question.prompt.endswith("for example 3,1.")
    assert (question.system, question.data_source) == (templates["system"]["text"], "videossr/counting")
    assert (question.id, question.answer, question.clocks) == (sample.id, sample.answer, (sample.clock,))


def test_gold_scores_one_and_a_wrong_count_less():
    sample = draw(gradient(), EASY, 2)
    gold = TASK.answer_type.score(sample.answer, sample.answer)
    assert (gold.smooth, gold.strict, gold.parsed, gold.parts) == (1.0, 1.0, True, (1.0, 1.0, 1.0))
    first, *rest = sample.answer.split(",")
    wrong = TASK.answer_type.score(",".join([str(int(first) + 1), *rest]), sample.answer)
    assert wrong.parsed
    assert wrong.strict == 0
    assert wrong.smooth < 1
    assert wrong.parts == (0.0, 1.0, 1.0)
    assert not TASK.answer_type.score("many", sample.answer).parsed
