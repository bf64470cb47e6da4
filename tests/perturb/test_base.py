"""The contract of a registered perturbation, and the errors for a class that breaks it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.perturbations import NAMES
from tests.helpers.plugins import write_entry_points
from videossr.builder.code_hash import code_versions
from videossr.clock import uniform_clock
from videossr.config import parse
from videossr.errors import ConfigError, TaskError
from videossr.perturb import PERTURBATIONS, Perturbation, open_perturbation
from videossr.perturb.base import Segment, perturbation_of
from videossr.sample import Sample, VideoKey
from videossr.tasks.base import Video, open_task
from videossr.tasks.grounding import GroundingConfig
from videossr.templates import load_templates

SOURCE = """
from videossr.perturb.pixel import PixelPerturbation

class Faulty(PixelPerturbation):
    name = "faulty"
    text = "The picture is faulty."

    def apply(self, frames, params):
        return frames / nothing
"""

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a package with one perturbation, `faulty`, of which the source is given."""

    def run(source: str) -> None:
        (tmp_path / "faulty_perturbation.py").write_text(source)
        write_entry_points(tmp_path, "faulty", "[videossr.perturbations]\nfaulty = faulty_perturbation:Faulty\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield run
    open_perturbation.cache_clear()
    sys.modules.pop("faulty_perturbation", None)
    PERTURBATIONS._items.pop("faulty", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('name = "faulty"', 'name = "other"'), "class Faulty must have the attribute name = 'faulty'"),
        (("The picture is faulty.", "The picture is {faulty}."), "class Faulty must have a text without braces"),
        (('text = "The picture is faulty."', ""), "class Faulty must have a text without braces"),
        (("def apply", "def aply"), "class Faulty has no method apply"),
        (("class Faulty(PixelPerturbation)", "class Faulty"), "must be a subclass of videossr.perturb.Perturbation"),
        (("class Faulty", "class Fault"), "cannot be loaded: AttributeError"),
    ],
)
def test_open_perturbation_names_what_a_class_lacks(change: tuple[str, str], message: str, install: Install) -> None:
    install(SOURCE.replace(*change))
    with pytest.raises(ConfigError, match=message) as raised:
        open_perturbation("faulty")
    assert "faulty_perturbation" in str(raised.value)
    assert load_templates()["grounding"]["changes"].keys() == set(NAMES), "the other perturbations can still be used"


def test_an_exception_in_a_perturbation_names_the_perturbation_and_the_line(install: Install) -> None:
    install(SOURCE)
    task, config = open_task("grounding"), parse(GroundingConfig, {"perturbation": "faulty"}, "test")
    video = Video(VideoKey("0" * 64, "1" * 64), uniform_clock(48, 9_600), np.zeros((48, 32, 32, 3), np.uint8))
    sample = task.draw(video, "x", config, np.random.default_rng(0), ())
    assert isinstance(sample, Sample)
    location = r"perturbation 'faulty' \(faulty_perturbation\.Faulty\) failed in "
    cause = r"NameError: name 'nothing' is not defined \(faulty_perturbation\.py, line 9\)"
    with pytest.raises(TaskError, match=rf"{location}gates, video 000000000000: {cause}"):
        task.gates(video, config)
    with pytest.raises(TaskError, match=rf"{location}render, sample {sample.id} \(category x\): {cause}"):
        task.render(video.frames, sample)


def test_registered_perturbations_have_distinct_texts_and_are_opened_once() -> None:
    assert len(NAMES) == 17
    texts = {open_perturbation(name).text for name in NAMES}
    assert len(texts) == 17
    assert load_templates()["grounding"]["changes"] == {name: open_perturbation(name).text for name in NAMES}
    for name in NAMES:
        assert isinstance(open_perturbation(name), Perturbation)
        assert open_perturbation(name) is open_perturbation(name)


def test_code_versions_of_perturbations_of_one_module_are_equal() -> None:
    versions = code_versions(["jigsaw"], ["mirror", "rotate_90", "noise", "mirror"])
    assert versions.keys() == {"task jigsaw", "perturbation mirror", "perturbation rotate_90", "perturbation noise"}
    assert versions["perturbation mirror"] == versions["perturbation rotate_90"] != versions["perturbation noise"]


def test_perturbation_of_finds_the_perturbation_of_a_sample() -> None:
    @dataclass
    class SampleStub:
        params: dict[str, object]

    assert perturbation_of(SampleStub({"perturbation": "mirror"})) is open_perturbation("mirror")  # type: ignore[arg-type]
    for params in ({}, {"perturbation": "of another task"}, {"perturbation": 3}):
        assert perturbation_of(SampleStub(params)) is None  # type: ignore[arg-type]


def test_segment_has_a_length_and_a_slice_of_slots() -> None:
    segment = Segment(3, 7)
    assert segment.length == 5
    assert [*range(10)][segment.slots] == [3, 4, 5, 6, 7]
