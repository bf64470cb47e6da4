"""The tiles task, found by its name once the package is installed.

pip install examples/custom_task && python -m pytest examples/custom_task/tests
"""

from __future__ import annotations

import pickle
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from videossr_tiles.task import Tiles, TilesConfig

from videossr.clock import uniform_clock
from videossr.measure import rejected
from videossr.question import Frames
from videossr.rewards import compute_score
from videossr.sample import Rejection, Sample, VideoKey
from videossr.tasks.base import TASKS, Task, Video
from videossr.templates import load_templates

RECIPE = Path(__file__).parents[1] / "tiles.toml"


@pytest.fixture
def tiles() -> Task[TilesConfig]:
    task_class: type[Task[TilesConfig]] = TASKS.get("tiles")
    return task_class()


def make_video(picture: Frames, slots: int = 8) -> Video:
    return Video(VideoKey("0" * 64, "1" * 64), uniform_clock(slots, 4000), np.stack([picture] * slots))


@pytest.fixture
def patchwork() -> Video:
    """Frames of 64 x 128 whose tiles of 32 x 32 are gray 0, 20, ... 140 with a brighter corner that moves."""
    grays = np.arange(8, dtype=np.uint8).reshape(2, 4) * 20
    video = make_video(np.repeat(np.kron(grays, np.ones((32, 32), np.uint8))[..., None], 3, axis=-1))
    for slot, frame in enumerate(video.frames):
        frame[slot::32, slot::32] += 100
    return video


def draw(task: Task[TilesConfig], video: Video, seed: int, **config: Any) -> Sample:
    sample = task.draw(video, "tiles/test", task.Config(frames=8, **config), np.random.default_rng(seed), [])
    assert isinstance(sample, Sample)
    return sample


def test_tiles_is_the_installed_task(tiles: Task[TilesConfig]) -> None:
    assert isinstance(tiles, Tiles)
    assert tiles.required_frames(TilesConfig(frames=12)) == (12, 1)


def test_tiles_recipe_fits_the_config() -> None:
    categories = tomllib.loads(RECIPE.read_text("utf-8"))["categories"]
    assert {category["task"] for category in categories.values()} == {"tiles"}
    assert [TilesConfig(**category["config"]).columns for category in categories.values()] == [2, 4]


def test_tiles_gold_answer_scores_1_and_others_less(tiles: Task[TilesConfig], patchwork: Video) -> None:
    sample = draw(tiles, patchwork, seed=1)
    question = tiles.question(sample, load_templates())
    gold = compute_score(question.data_source, question.answer, question.answer)
    assert gold == {"score": 1, "smooth": 1, "strict": 1, "parsed": 1}
    assert compute_score(question.data_source, "no idea", question.answer)["parsed"] == 0
    first, second, rest = sample.answer[0], sample.answer[1], sample.answer[2:]
    swapped = tiles.answer_type.score(second + first + rest, sample.answer)
    assert (swapped.smooth, swapped.strict, swapped.parts) == (0.75, 0, (0, 0, 1, 1, 1, 1, 1, 1))


@pytest.mark.parametrize(("rows", "columns"), [(2, 4), (4, 2), (2, 2), (1, 4)])
def test_tiles_answer_restores_the_picture(tiles: Task[TilesConfig], patchwork: Video, rows: int, columns: int) -> None:
    for seed in range(5):
        sample = draw(tiles, patchwork, seed, rows=rows, columns=columns)
        before = patchwork.frames.copy()
        (clip,) = tiles.render(patchwork.frames, sample)
        assert clip.clock == patchwork.clock
        assert (patchwork.frames == before).all()
        assert (clip.frames != before).any()

        height, width = 64 // rows, 128 // columns
        for place, shown_place in enumerate(int(digit) - 1 for digit in sample.answer):
            y, x = place // columns * height, place % columns * width
            v, u = shown_place // columns * height, shown_place % columns * width
            assert (clip.frames[:, v : v + height, u : u + width] == before[:, y : y + height, x : x + width]).all()


def test_tiles_outlines_name_the_tile_inside(tiles: Task[TilesConfig], patchwork: Video) -> None:
    sample = draw(tiles, patchwork, seed=3)
    (clip,) = tiles.render(patchwork.frames, sample)
    for outline in tiles.truth(sample).outlines:
        (left, top), (right, bottom) = outline.points[0], outline.points[2]
        inside = clip.frames[outline.slot, int(top) : int(bottom), int(left) : int(right)]
        assert np.median(inside) == 20 * (int(outline.name.removeprefix("tile ")) - 1)


def test_tiles_samples_survive_json_and_are_never_in_order(tiles: Task[TilesConfig], patchwork: Video) -> None:
    answers = set()
    for seed in range(200):
        sample = draw(tiles, patchwork, seed, rows=2, columns=2)
        assert Sample.from_json(sample.to_json()) == sample
        answers.add(sample.answer)
    assert len(answers) == 23
    assert "1234" not in answers


def test_tiles_gates_reject_tiles_that_look_alike(tiles: Task[TilesConfig], patchwork: Video) -> None:
    assert rejected(tiles.gates(patchwork, tiles.Config(frames=8))) is None
    patchwork.frames[:, :32, 32:64] = patchwork.frames[:, 32:, 96:]
    assert rejected(tiles.gates(patchwork, tiles.Config(frames=8))) == Rejection("tiles_alike", 0, 10)
    odd_video = make_video(np.zeros((63, 128, 3), np.uint8))
    assert rejected(tiles.gates(odd_video, tiles.Config(frames=8))) == Rejection("size_not_divisible", 1, 0)


def test_tiles_question_uses_the_given_templates(tiles: Task[TilesConfig], patchwork: Video, tmp_path: Path) -> None:
    sample = draw(tiles, patchwork, seed=1)
    assert "2 rows of 4 tiles" in tiles.question(sample, load_templates()).prompt
    overlay = tmp_path / "templates.toml"
    overlay.write_text('[tiles]\nprompt = "<video> {n} tiles, as in {example}"')
    assert tiles.question(sample, load_templates(overlay)).prompt == "<video> 8 tiles, as in 23456781"


def test_tiles_task_and_config_can_be_pickled(tiles: Task[TilesConfig], patchwork: Video) -> None:
    task, config = pickle.loads(pickle.dumps((tiles, TilesConfig(rows=4, columns=2, frames=8))))
    assert draw(task, patchwork, seed=1, rows=4, columns=2) == draw(tiles, patchwork, seed=1, rows=4, columns=2)
    assert config == TilesConfig(rows=4, columns=2, frames=8)


@pytest.mark.parametrize("config", [{"rows": 3}, {"rows": 4, "columns": 4}, {"rows": 1, "columns": 2}, {"row": 2}])
def test_tiles_config_refuses_unusable_values(tiles: Task[TilesConfig], config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        tiles.Config(**config)
