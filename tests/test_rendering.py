"""Rendering: a pure function of packs and samples, at the size of the recipe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.clips import write
from videossr.builder.allocation import Job
from videossr.builder.generation import GeneratedSample, SampleGenerator, random_generator
from videossr.builder.recipe import Recipe, ResolvedRecipe
from videossr.clock import uniform_clock
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.question import Clip, Frames
from videossr.rendering import pixel_hash, render
from videossr.templates import load_templates
from videossr.video.plan import Plan, fit
from videossr.video.scaling import fill, fill_each

CATEGORIES = {
    "mirror": {"task": "grounding", "count": 1, "config": {"perturbation": "mirror"}},
    "swap": {"task": "grounding", "count": 1, "config": {"perturbation": "swap"}},
    "shuffle": {"task": "grounding", "count": 1, "config": {"perturbation": "shuffle"}},
    "counting": {"task": "counting", "count": 1},
    "jigsaw": {"task": "jigsaw", "count": 1},
}


def make_generator(corpus: Corpus, max_pixels: int = 65536) -> SampleGenerator:
    mixture = ResolvedRecipe(Recipe(name="test", max_pixels=max_pixels, categories=CATEGORIES), "test")
    return SampleGenerator(corpus, mixture, load_templates(), 5, tuple(range(len(corpus.videos))))


def draw(corpus: Corpus, category: str, path: str, max_pixels: int = 65536) -> GeneratedSample:
    index = next(i for i, entry in enumerate(corpus.videos) if entry.path == path)
    (generated,) = make_generator(corpus, max_pixels).draw([Job(index, category, 0)])
    assert isinstance(generated, GeneratedSample)
    return generated


@pytest.mark.parametrize("category", CATEGORIES)
def test_render_is_reproducible_in_any_order(category: str, corpus: Corpus) -> None:
    first, second = draw(corpus, category, "carphone.mp4"), draw(corpus, category, "wide.mkv")
    fresh = Corpus(corpus.path)
    assert pixel_hash(render(fresh, second.sample)) == second.pixels
    assert pixel_hash(render(fresh, first.sample)) == first.pixels
    assert first == draw(corpus, category, "carphone.mp4")
    assert first.sample != second.sample


def test_pixel_hash_depends_on_pixels_shapes_and_order() -> None:
    frames = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
    other = frames.copy()
    other[1, 3, 5, 2] ^= 1
    clock = uniform_clock(2, 1000)
    clips = {
        "same": [Clip(frames, clock)],
        "one bit": [Clip(other, clock)],
        "shape": [Clip(frames.reshape(2, 6, 4, 3), clock)],
        "two": [Clip(frames, clock), Clip(other, clock)],
        "order": [Clip(other, clock), Clip(frames, clock)],
        "none": [],
    }
    assert len({pixel_hash(clip_list) for clip_list in clips.values()}) == len(clips)
    mirrored = frames[:, :, ::-1]
    assert not mirrored.flags.c_contiguous
    assert pixel_hash([Clip(mirrored, clock)]) == pixel_hash([Clip(mirrored.copy(), clock)])


@pytest.mark.parametrize("category", CATEGORIES)
def test_render_at_a_smaller_size_has_sides_that_are_multiples_of_32(category: str, corpus: Corpus) -> None:
    sample = draw(corpus, category, "large.mp4", 20_000).sample
    clips = render(corpus, sample)
    height, width = sample.size
    assert height * width <= 20_000
    assert height % 32 == width % 32 == 0
    assert {clip.frames.shape[1:3] for clip in clips} == {(height, width)}


@pytest.mark.parametrize("max_pixels", [65536, 20_000, 11_000])
def test_gates_see_the_frames_that_render_gives(max_pixels: int, corpus: Corpus) -> None:
    """This holds also where the JPEGs of a pack are decoded at a fraction of their size."""
    generated = draw(corpus, "mirror", "large.mp4", max_pixels)
    index = next(i for i, entry in enumerate(corpus.videos) if entry.path == "large.mp4")
    gate_frames = make_generator(corpus, max_pixels).video(index).frames
    first, last = generated.sample.integer("first"), generated.sample.integer("last")
    expected = gate_frames.copy()
    expected[first : last + 1] = gate_frames[first : last + 1, :, ::-1]
    assert np.array_equal(render(corpus, generated.sample)[0].frames, expected)


def test_corpus_frames_of_half_the_size_show_the_same_picture(corpus: Corpus) -> None:
    """The frames are decoded at a fraction of the stored size, which is still larger than the result."""
    key = next(entry.key for entry in corpus.videos if entry.path == "large.mp4")
    whole = corpus.frames(key, [7, 3])
    height, width = whole.shape[1:3]
    half = corpus.frames(key, [7, 3], (height // 2, width // 2))
    assert half.shape == (2, height // 2, width // 2, 3)
    assert np.abs(half.astype(np.int16) - fill(whole, height // 2, width // 2)).mean() < 1.5


@pytest.mark.parametrize("part", [1, 2, 3])
def test_corpus_frames_are_scaled_down_from_their_jpegs(
    part: int, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def record_sizes(decoded: Iterable[Frames], frames: Frames, shape: tuple[int, int]) -> None:
        (picture,) = decoded
        scaled.append((picture.shape[:2], frames.shape[1:3]))
        fill_each([picture], frames, shape)

    monkeypatch.setattr("videossr.corpus.corpus.fill_each", record_sizes)
    for entry in corpus.videos:
        size = fit(entry.width, entry.height, max(1024, entry.width * entry.height // part**2))
        assert corpus.frames(entry.key, [3], size).shape == (1, *size, 3)
    for before, after in scaled:
        assert all(17 * target <= 16 * stored for stored, target in zip(before, after, strict=True))
    assert len(scaled) == len(corpus)


def test_index_stores_a_mirrored_video_as_the_mirror_image(tmp_path: Path) -> None:
    """Neither the JPEG grid nor the cropping distinguishes left from right."""
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    frame = np.asarray(cv2.resize(picture, (200, 152), interpolation=cv2.INTER_LINEAR), np.uint8)
    pictures = []
    for name, frames in {"one": frame, "other": frame[:, ::-1]}.items():
        write(tmp_path / name / "a.mkv", [frames] * 20, "ffv1", {}, pix_fmt="bgr0")
        index_videos(tmp_path / name, tmp_path / f"{name}-corpus", Plan(frames=4))
        corpus = Corpus(tmp_path / f"{name}-corpus")
        pictures.append(corpus.frames(corpus.videos[0].key, [0], (96, 96))[0].astype(np.int16))
    stored, mirrored_back = pictures[0], pictures[1][:, ::-1]
    assert np.abs(stored - mirrored_back).mean() < 1.2
    assert np.abs(stored[:, 1:] - mirrored_back[:, :-1]).mean() > 2 * np.abs(stored - mirrored_back).mean()


def test_render_crops_a_donor_of_another_shape(corpus: Corpus) -> None:
    sample = draw(corpus, "swap", "carphone.mp4").sample
    shown = render(corpus, sample)[0].frames
    donor = corpus.frames(sample.sources[1])
    first, last = sample.integer("first"), sample.integer("last")
    expected = fill(donor[sample.slots[first][1]][None], *sample.size)[0].astype(np.int16)
    assert np.abs(shown[first] - expected).mean() < 2, "the donor is scaled once, from its stored frames"
    assert np.array_equal(shown[[first]], corpus.frames(sample.sources[1], [sample.slots[first][1]], sample.size))
    own_slots = [slot for slot in range(48) if not first <= slot <= last]
    assert np.array_equal(shown[own_slots], corpus.frames(sample.sources[0], own_slots))


@given(st.integers(8, 200), st.integers(8, 200), st.integers(1, 6), st.integers(1, 6))
def test_fill_gives_the_requested_size(height: int, width: int, down: int, across: int) -> None:
    frames = np.zeros((1, height, width, 3), np.uint8)
    frames[:, height // 2, width // 2] = 255
    filled = fill(frames, 32 * down, 32 * across)
    assert filled.shape == (1, 32 * down, 32 * across, 3)


def test_fill_with_the_same_aspect_ratio_only_scales() -> None:
    frames = np.arange(64 * 96 * 3, dtype=np.uint32).reshape(1, 64, 96, 3).astype(np.uint8)
    halved: Frames = fill(frames, 32, 48)
    expected = frames.reshape(1, 32, 2, 48, 2, 3).astype(np.float64).mean(axis=(2, 4))
    assert np.abs(halved - expected).max() <= 1


def test_random_generator_depends_on_every_argument_and_nothing_else() -> None:
    base = (0, "category", "ab" * 32, 0)
    same = random_generator(*base).integers(0, 2**63, 4)
    assert np.array_equal(same, random_generator(*base).integers(0, 2**63, 4))
    for other in ((1, *base[1:]), (0, "other", *base[2:]), (0, "category", "ba" * 32, 0), (*base[:3], 1)):
        assert not np.array_equal(same, random_generator(*other).integers(0, 2**63, 4))


def test_draw_names_a_template_that_cannot_be_filled_in(corpus: Corpus) -> None:
    templates = load_templates()
    templates["jigsaw"]["prompt"] = "{clips} {stray}"
    sample_generator = replace(make_generator(corpus), templates=templates)
    index = next(i for i, entry in enumerate(corpus.videos) if entry.path == "bikes.mp4")
    with pytest.raises(
        ValueError,
        match=r"'jigsaw' .* failed in question, sample \w+ with these templates .*: KeyError: 'stray' .*bikes\.mp4",
    ):
        sample_generator.draw([Job(index, "jigsaw", 0)])
