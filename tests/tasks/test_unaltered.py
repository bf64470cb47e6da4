"""A plug-in task with `unaltered`: the gallery and `validate` compare its span with the original video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from tests.helpers.building import indexed, picture
from tests.helpers.clips import write
from tests.helpers.pages import ParsedPage
from tests.helpers.plugins import write_entry_points
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe, ResolvedRecipe
from videossr.cli import gallery
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import TaskError
from videossr.rewards import scorer
from videossr.tasks.base import TASKS, answer_type_of
from videossr.templates import load_templates
from videossr.validation.validator import validate

PLUGIN = """
    from pathlib import Path

    from pydantic.dataclasses import dataclass

    from videossr.answers.base import AnswerType
    from videossr.question import Clip, Question, Truth
    from videossr.rewards import Scores
    from videossr.sample import Sample


    @dataclass(frozen=True)
    class Config:
        proven: bool = True


    def score(answer, gold):
        right = float(answer == gold)
        return Scores(right, right, True)


    class Dimmed:
        name = "dimmed"
        Config = Config
        answer_type = AnswerType("dimmed", score)

        def required_frames(self, config):
            return 16, 1

        def gates(self, video, config):
            return ()

        def draw(self, video, category, config, rng, donors):
            slots = tuple((0, slot * video.density(16)) for slot in range(16))
            first = int(rng.integers(1, 8))
            params = {"first": first, "order": [2, 0, 1]}
            clock = video.clock.subsample(16)
            answer = "{:.1f}-{:.1f}".format(*clock.span(first, first + 3))
            return Sample("dimmed", category, (video.key,), slots, clock, video.size, params, answer)

        def render(self, frames, sample):
            frames = frames.copy()
            first = sample.integer("first")
            frames[first : first + FAULT] = 255 - frames[first : first + FAULT]
            return [Clip(frames, sample.clock)]

        def question(self, sample, wording):
            return Question(sample.id, "videossr/dimmed", "", "<video> When?", sample.answer, (sample.clock,))

        def truth(self, sample):
            return Truth(spans=((sample.integer("first"), sample.integer("first") + 3),))

        def difficulty(self, sample):
            return {}

        def unaltered(self, sample, kept):
            assert len(kept) == 1 and kept[0] % 16 == 0
            first = sample.integer("first")
            return sample.slots[first : first + TOLD]


    FAULT = 4
    TOLD = 4
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Install the task `dimmed` and return the name of its module."""
    name = f"dimmed_{tmp_path.name}"
    site = tmp_path / "site"
    write_entry_points(
        site,
        "dimmed",
        f"[videossr.tasks]\ndimmed = {name}:Dimmed\n[videossr.rewards]\ndimmed = {name}:score\n",
    )
    (site / f"{name}.py").write_text(dedent(PLUGIN))
    monkeypatch.syspath_prepend(str(site))
    yield name
    TASKS._items.pop("dimmed", None)
    scorer.cache_clear()
    answer_type_of.cache_clear()


@pytest.fixture
def built_dataset(plugin: str, tmp_path: Path) -> VideoSSRDataset:
    write(tmp_path / "clips" / "clip.mp4", picture(0))
    corpus = indexed(tmp_path / "clips")
    categories = {"dim": {"task": "dimmed", "count": 2}}
    build_dataset(
        ResolvedRecipe(Recipe(name="made", categories=categories), "made"),
        corpus,
        tmp_path / "out",
        templates=load_templates(),
    )
    return VideoSSRDataset(tmp_path / "out")


def test_unaltered_and_gallery_show_the_span_before_the_change(built_dataset: VideoSSRDataset, tmp_path: Path) -> None:
    for item in built_dataset:
        before = built_dataset.unaltered(item.sample)
        ((first, last),) = item.truth.spans
        assert before is not None
        assert np.array_equal(255 - before, item.clips[0].frames[first : last + 1])
    gallery.command(str(built_dataset.path), out=tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert len(ParsedPage(text).of_class("before")) == 2
    assert "[2, 0, 1]" in text, "a parameter of the task is shown unchanged, whatever its name"


def test_validate_checks_that_the_borders_of_a_span_change(
    built_dataset: VideoSSRDataset, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def borders() -> list[bool | None]:
        return [finding.holds for finding in validate(built_dataset) if finding.name == "borders change"]

    assert borders() == [True]
    monkeypatch.setattr(f"{plugin}.FAULT", 3)
    assert borders() == [False]


def test_unaltered_with_too_few_slots_is_an_error_that_names_the_task(
    built_dataset: VideoSSRDataset, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{plugin}.TOLD", 3)
    with pytest.raises(TaskError, match=r"'dimmed' .* failed in unaltered, sample .*each of the 4 slots.*returned 3"):
        built_dataset.unaltered(built_dataset.sample(0))
