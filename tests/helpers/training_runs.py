"""Write training runs with the trainer's own writer, with known curves and real frames."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import tomli_w

from videossr.question_set import QuestionSet
from videossr.training import config
from videossr.training.config import TrainConfig
from videossr.training.metrics import GroupMetrics, summarize
from videossr.training.runs.records import (
    CONFIG,
    MANIFEST,
    PHASES,
    Failure,
    ShownSample,
    Step,
    TrainManifest,
    TrainRun,
    read_train_run,
)
from videossr.training.runs.writer import RunWriter

ROLLOUTS = 4


def group_metrics(category: str, step: int) -> GroupMetrics:
    """Return the metrics of a group in which the number of right answers grows with the step."""
    right = min(ROLLOUTS, step // 5)
    smooth = tuple(1.0 if number < right else 0.1 * number for number in range(ROLLOUTS))
    return GroupMetrics(
        category=category,
        task=category.partition("/")[0],
        smooth=smooth,
        strict=tuple(float(value == 1) for value in smooth),
        parsed=tuple(value > 0 for value in smooth),
        texts=tuple(f"{value}" for value in smooth),
        tokens=(4, 5, 6, 7),
        truncated=(False, False, False, True),
        kl=0.001 * step,
        entropy=22.0 / step,
    )


def step_of(number: int, categories: tuple[str, ...], **changed: object) -> Step:
    """Return a GRPO step with one group of each category."""
    means = summarize([group_metrics(category, number) for category in categories])
    values = {
        "step": number,
        "batches": number,
        "epoch": number / 40,
        "loss": math.sin(number) / 100,
        "lr": 1e-6,
        "grad_norm": 1 + 1 / number,
        "changed": 0.5,
        "gap": 1e-6 * number,
        "seconds": {phase: 0.1 * (place + 1) for place, phase in enumerate(PHASES)},
        "wall": 4.0,
        "prompts_per_second": 2.5,
        "mfu": 0.3,
        "memory_gib": 1.5,
        "all": means.all,
        "tasks": means.tasks,
        "categories": means.categories,
    }
    return Step(**{**values, **changed})  # type: ignore[arg-type]


def shown_sample(questions: QuestionSet, step: int, index: int, texts: tuple[str, ...] | None = None) -> ShownSample:
    """Return a shown question with its gold answer and other answers."""
    question = questions.question(index)
    answers = texts or (question.answer, question.answer, "0.0-2.0", "no idea")
    return ShownSample(
        step=step,
        index=index,
        category=questions.category(index),
        prompt=question.prompt,
        gold=question.answer,
        texts=answers,
        rewards=tuple(1.0 if text == question.answer else 0.25 for text in answers),
        advantages=tuple(0.866 if text == question.answer else -0.866 for text in answers),
    )


def write_run(
    folder: Path,
    steps: list[Step],
    *,
    shown: list[tuple[ShownSample, QuestionSet]] | None = None,
    failures: tuple[Failure, ...] = (),
    set_to: Mapping[str, str] | None = None,
    complete: bool = True,
) -> TrainRun:
    """Write the files of a run and return the run that they hold."""
    folder.mkdir(parents=True)
    train_config = config.load_config("train-paper", set_to)
    assert isinstance(train_config, TrainConfig)
    (folder / CONFIG).write_text(tomli_w.dumps(config.as_table(train_config)))
    with RunWriter(folder) as log:
        for step in steps:
            log.step(step)
        for failure in failures:
            log.failure(failure)
        for sample, questions in shown or ():
            log.shown(sample, questions.clips(sample.index))
    if complete:
        versions = {"torch": "2.13"}
        describe = {"parameters": 8e9, "GiB used": 0.5, "GiB planned": 0.4}
        manifest = TrainManifest(len(steps), "a" * 64, "data", versions, describe, 99.0)
        (folder / MANIFEST).write_text(json.dumps(asdict(manifest)))
    return read_train_run(folder)
