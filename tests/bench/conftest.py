"""Runs built from given answers, a scripted model, and 2700 questions drawn from videos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pyarrow as pa
import pytest

from videossr.bench.records import Prediction, Run, RunConfig
from videossr.bench.viubench import CATEGORIES
from videossr.builder import recipe
from videossr.builder.recipe import Recipe, ResolvedRecipe
from videossr.dataset import schema
from videossr.dataset.dataset import VideoSSRDataset
from videossr.measure import rejected
from videossr.models.base import Decoding, Model, ModelSpec, Request, Response
from videossr.models.baselines import Chance, Constant, NoSettings
from videossr.question_set import QuestionSet
from videossr.sample import Rejection
from videossr.tasks.base import Video
from videossr.templates import load_templates

T = TypeVar("T")

CLIPS = ("bikes.mp4", "carphone.mp4", "pan.mp4", "wide.mkv")
PER_CATEGORY = 300


def not_none(value: T | None) -> T:

    assert value is not None
    return value


def prediction(index: int, category: str, answer: str, *texts: str, **fields: Any) -> Prediction:
    """The record of a question of a category such as `counting/easy`, with these texts as its answers."""
    source = f"videossr/{category.partition('/')[0]}"
    defaults: dict[str, Any] = {
        "id": f"q{index}",
        "source": f"v{index}",
        "difficulty": {},
        "data_source": source,
    } | fields
    return Prediction(
        index=index,
        category=category,
        answer=answer,
        times_ms=(0, 1000),
        end_ms=2000,
        texts=texts,
        finish=("stop",) * len(texts),
        **defaults,
    )


def a_run(*predictions: Prediction, name: str = "run", hash: str = "ab" * 32, size: int | None = None) -> Run:
    config = RunConfig(
        verb="run",
        questions="bench",
        hash=hash,
        size=size or max(1, len(predictions)),
        model="made",
        settings={},
        decoding=Decoding(),
    )
    return Run(Path(name), config, predictions, None)


@dataclass
class Script:
    """A scripted model: `respond` gives the response to a request; `asked` holds the indices of its questions."""

    respond: Callable[[Request], Response] = field(
        default=lambda request: Response(request.index, (request.question.answer,), ("stop",))
    )
    asked: list[int] = field(default_factory=list)
    loaded: int = 0

    def spec(self, text: str = "scripted") -> ModelSpec:
        script = self

        class Scripted(Model[NoSettings]):
            Settings = NoSettings

            def __init__(self, target: str, settings: NoSettings, questions: QuestionSet) -> None:
                script.loaded += 1
                self.waited = 0.0

            def describe(self) -> Mapping[str, Any]:
                return {"library": "1.0"}

            def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
                for request in requests:
                    script.asked.append(request.index)
                    self.waited += 0.25
                    yield script.respond(request)

        return ModelSpec(text, Scripted, "", NoSettings())


CHANCE = ModelSpec("chance", Chance, "", NoSettings())
CONSTANT = ModelSpec("constant", Constant, "", NoSettings())


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture(scope="session")
def built(dataset: Path) -> VideoSSRDataset:
    """Two samples of four categories, from the default corpus."""
    return VideoSSRDataset(dataset)


def _config(category: str) -> dict[str, Any]:
    task, _, kind = category.partition("/")
    if task == "counting":
        return {"slots_max": 3, "instances_max": 3} if kind == "easy" else {"slots_max": 4, "instances_max": 4}
    return {"pieces": int(kind)} if task == "jigsaw" else {"perturbation": kind}


class Drawn(VideoSSRDataset):
    """A dataset of rows in memory, which are never rendered."""

    def __init__(self, mixture: ResolvedRecipe, rows: list[dict[str, Any]]) -> None:
        self.path = Path("drawn")
        self.rows = pa.Table.from_pylist(rows, schema.SCHEMA)
        categories = {name: {"samples": PER_CATEGORY, "admitted": 1} for name in mixture.categories}
        self.manifest = {"recipe": mixture.resolved, "categories": categories, "samples": len(rows)}  # type: ignore[typeddict-item]
        self.hash = "d0" * 32


@pytest.fixture(scope="session")
def viubench(clip: Callable[..., Video]) -> Drawn:
    """The paper's 9 categories of 300 questions, drawn as `videossr build` draws them, on small frames."""
    categories = {c: {"task": c.partition("/")[0], "count": PER_CATEGORY, "config": _config(c)} for c in CATEGORIES}
    mixture = recipe.ResolvedRecipe(Recipe(name="viubench", categories=categories), "viubench")
    videos = []
    for name in CLIPS:
        whole = clip(name)
        small = np.stack([cv2.resize(frame, (128, 128), interpolation=cv2.INTER_AREA) for frame in whole.frames])
        videos.append(Video(whole.key, whole.clock, small))
    rows = []
    for category_number, category in enumerate(CATEGORIES):
        task, config = mixture.tasks[category], mixture.config[category]
        admitted = [video for video in videos if rejected(task.gates(video, config)) is None]
        assert admitted, category
        for number in range(PER_CATEGORY):
            rng = np.random.default_rng([category_number, number])
            sample = task.draw(admitted[number % len(admitted)], category, config, rng, videos)
            assert not isinstance(sample, Rejection)
            rows.append(schema.to_row(sample, task.question(sample, load_templates()), "", 0, 0))
    return Drawn(mixture, rows)
