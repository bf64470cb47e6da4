"""Folders of runs of public benchmarks with invented questions and answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import tomli_w

from videossr.bench.public.base import BENCHMARKS
from videossr.bench.public.texts import Texts
from videossr.bench.records import CONFIG, PREDICTIONS, BenchmarkConfig, Prediction, RunConfig
from videossr.config import parse, plain
from videossr.models.base import Decoding
from videossr.storage.jsonl import json_line

OPTIONS = "A. red\nA. red\nB. blue"
"""The gold answer of a question with two options, of which A is right."""


def predictions(
    answers: Iterable[str | None],
    gold: str = OPTIONS,
    kind: str = "option",
    *,
    categories: Sequence[str] = ("colour",),
    groups: Sequence[Mapping[str, float | str]] = ({},),
) -> list[Prediction]:
    """Make a prediction for each answer, each about a video of its own; None is one that failed.

    `categories` and `groups` are those of the questions, in turn.
    """
    made = [
        Prediction(
            id=f"q{index}",
            index=index,
            category=categories[index % len(categories)],
            data_source=f"videossr/{kind}",
            answer=gold,
            difficulty=groups[index % len(groups)],
            times_ms=(0, 500),
            end_ms=1000,
            source=f"{index}.mp4",
            texts=(answer,) if answer is not None else (),
            finish=("stop",) if answer is not None else (),
        )
        for index, answer in enumerate(answers)
    ]
    return [p if p.texts else replace(p, error="question: NotFoundError: no such video") for p in made]


def write_run(
    tree: Path,
    name: str,
    made: Sequence[Prediction],
    frames: int = 32,
    *,
    size: int | None = None,
    benchmark: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write `tree/NAME/FRAMES`, the run of a benchmark with these predictions.

    Args:
        tree: the folder of the model.
        name: registered name of the benchmark.
        made: predictions, all that there are unless `size` is given.
        frames: of a video, at most.
        size: number of questions.
        benchmark: fields of `BenchmarkConfig` that are otherwise.
        changes: fields of `RunConfig` that are otherwise.
    """
    known = {
        "name": name,
        "frames": frames,
        "settings": plain(parse(BENCHMARKS.get(name).Settings, {}, name)),
        "templates": Texts(name).hash,
    }
    config = RunConfig(
        **{
            "verb": "run",
            "questions": "/data/invented",
            "hash": "0" * 64,
            "size": size or len(made),
            "model": "hf:invented",
            "settings": {},
            "decoding": Decoding(max_tokens=BENCHMARKS.get(name).facts.tokens),
            "benchmark": BenchmarkConfig(**{**known, **(benchmark or {})}),
            **changes,
        }
    )
    folder = tree / name / str(frames)
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(tomli_w.dumps(plain(config)))
    (folder / PREDICTIONS).write_text("".join(json_line(prediction) + "\n" for prediction in made))
    return folder
