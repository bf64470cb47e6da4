"""`sample_video`: a question from one video, the same as a build with that seed draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from videossr import sample_video
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe, ResolvedRecipe
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import ConfigError, DataError
from videossr.templates import load_templates


@pytest.mark.parametrize(
    ("task", "config"), [("grounding", {"perturbation": "rotate_180"}), ("counting", {}), ("jigsaw", {"pieces": 4})]
)
def test_sample_video_draws_the_question_of_a_build(
    task: str, config: dict[str, object], videos: Path, tmp_path: Path
) -> None:
    path = videos / "real/bikes.mp4"
    item = sample_video(path, task, seed=7, config=config)
    index_videos(path, tmp_path / "corpus")
    recipe = Recipe(name="one", categories={task: {"task": task, "count": 1, "config": config}})
    corpus = Corpus(tmp_path / "corpus")
    build_dataset(ResolvedRecipe(recipe, "one"), corpus, tmp_path / "dataset", templates=load_templates(), seed=7)
    (built,) = VideoSSRDataset(tmp_path / "dataset")
    assert (item.question, item.sample, item.truth) == (built.question, built.sample, built.truth)
    for shown, expected in zip(item.clips, built.clips, strict=True):
        assert shown.clock == expected.clock
        np.testing.assert_array_equal(shown.frames, expected.frames)


def test_sample_video_draws_by_its_seed(videos: Path) -> None:
    path = str(videos / "real/bikes.mp4")
    answers = {sample_video(path, "counting", seed=seed).question.answer for seed in range(6)}
    assert len(answers) > 1
    assert sample_video(path, "counting").question == sample_video(path, "counting", seed=0).question


def test_sample_video_names_the_reason_of_a_refusal(videos: Path, tmp_path: Path) -> None:
    clip = videos / "real/bikes.mp4"
    with pytest.raises(FileNotFoundError, match=r"none\.mp4"):
        sample_video(tmp_path / "none.mp4", "jigsaw")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"text\.mp4 cannot be used: "):
        sample_video(tmp_path / "text.mp4", "jigsaw")
    with pytest.raises(ValueError, match=r"bikes\.mp4 cannot serve the task grounding: no_donor, measured 0"):
        sample_video(clip, "grounding", config={"perturbation": "swap", "gates": False})
    with pytest.raises(ValueError, match="no task 'jigsow'; did you mean 'jigsaw'"):
        sample_video(clip, "jigsow")
    with pytest.raises(ValueError, match=r"sample_video\('jigsaw'\).*'piece'; did you mean 'pieces'.* config={"):
        sample_video(clip, "jigsaw", config={"piece": 4})
    with pytest.raises(ConfigError, match=r"there is no task 'x y'\. Known: counting, grounding, jigsaw$"):
        sample_video(clip, "x y")
    with pytest.raises(ConfigError, match=r"seed must be from 0 .* got -1"):
        sample_video(clip, "counting", seed=-1)
    (tmp_path / "two").mkdir()
    for name in ("real/bikes.mp4", "real/carphone.mp4"):
        (tmp_path / "two" / Path(name).name).symlink_to(videos / name)
    with pytest.raises(DataError, match="two holds 2 videos: name one of them"):
        sample_video(tmp_path / "two", "counting")
