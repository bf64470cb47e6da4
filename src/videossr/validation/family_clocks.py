"""Judge whether a model family can read the times that answers name, for `videossr validate --model-type TYPE`.

A time can be read where the family writes it, by its own form, within the tolerance of labels: 0.05 s. How many frames
share a marker is not judged: even Qwen3-VL, for which the method was made, has one for every two.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from videossr.answers.checks import Check
from videossr.answers.interval import Interval
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import DataError
from videossr.prompt.clocks import NoClock, StepClock, TextClock, family_clock
from videossr.prompt.qwen2_5_vl import pair_seconds
from videossr.question import Question
from videossr.rewards import parse_interval
from videossr.sample import Sample
from videossr.tasks.base import open_task
from videossr.validation.validator import TOLERANCE

REMEDY = "take a model type that reads tenths (such as qwen3_vl, glm46v) or questions without times"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a family cannot be asked a question.

    Attributes:
        reason: what it cannot read.
        remedy: what to take instead.
        score: the smooth score of the times as the family reads them; None where it reads none.
    """

    reason: str
    remedy: str
    score: float | None = None


def find_refusal(sample: Sample, question: Question, model_type: str) -> Refusal | None:
    """Say why a family cannot be asked a question; None where it can.

    Args:
        sample: the sample.
        question: its question.
        model_type: of the family.

    Raises:
        ConfigError: nothing is known of the family's clock.
    """
    family = family_clock(model_type)
    clips = len(question.clocks)
    if isinstance(family, StepClock):
        try:
            pair_seconds(sample.clock)
        except DataError as error:
            return Refusal(str(error), "take a model type that reads times as text, or a corpus of --plan uniform")
        return None
    if isinstance(family, TextClock) and family.clips is not None and clips > family.clips:
        return Refusal(
            f"it shows {clips} clips, and a prompt of {model_type} takes {family.clips}",
            "take another model type, or questions of one clip",
        )
    task = open_task(sample.task)
    label = parse_interval(sample.answer)
    if not isinstance(task.answer_type, Interval) or label is None:
        return None
    if isinstance(family, NoClock):
        return Refusal(
            f"its answer is {sample.answer} seconds, and {model_type} reads no times, but {family.instead}",
            REMEDY,
        )
    spans = task.truth(sample).spans
    times = sample.clock.span(*spans[0]) if spans else label
    read = [family.read(seconds) for seconds in times]
    if max(abs(mine - true) for mine, true in zip(read, times, strict=True)) <= TOLERANCE + 0.0005:
        return None
    start, end = map(family.form, times)
    return Refusal(
        f"its answer is {sample.answer}, and {model_type} writes these times as {start} and {end}",
        REMEDY,
        task.score(f"{read[0]:.3f}-{read[1]:.3f}", sample).smooth,
    )


def family_checks(dataset: VideoSSRDataset, model_type: str) -> Iterator[Check]:
    """Yield one finding a category: whether the family can be asked all of its questions.

    Raises:
        ConfigError: nothing is known of the family's clock.
    """
    family_clock(model_type)
    by_category: dict[str, dict[str, Refusal | None]] = defaultdict(dict)
    for index in range(len(dataset)):
        sample = dataset.sample(index)
        by_category[sample.category][sample.id] = find_refusal(sample, dataset.question(index), model_type)
    for category, found in sorted(by_category.items()):
        refused = {sample_id: refusal for sample_id, refusal in found.items() if refusal is not None}
        if not refused:
            yield Check(f"clock of {model_type}", True, f"{len(found)} samples can be asked", category)
            continue
        sample_id, first = next(iter(refused.items()))
        scores = [refusal.score for refusal in refused.values() if refusal.score is not None]
        text = f"{len(refused)} of {len(found)} samples cannot be asked: sample {sample_id}: {first.reason}; "
        if scores:
            text += f"an exact reader of its times scores {fmean(scores):.3f} on average, {min(scores):.3f} at least; "
        yield Check(f"clock of {model_type}", False, f"{text}{first.remedy}", category)
