"""Prepare sample answers of training runs for the page: frames, gold answer, and the answers of the group."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import simplejpeg

from videossr.errors import DataError
from videossr.question import VIDEO
from videossr.report.benchmark.examples import MOST
from videossr.report.gallery.filmstrip import place_of
from videossr.report.training.figures import NamedRun
from videossr.rewards import parse_interval
from videossr.storage.paths import is_local, lies_in
from videossr.training.runs.records import ACROSS, PICTURES, ShownSample
from videossr.untrusted import plain_text

STEPS = 8
"""Number of steps of a run whose samples are shown, spread from the first that has any to the last."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a sample.

    Attributes:
        x, y: CSS background position of its cell in the picture.
        start_ms, end_ms: when it is shown.
        gold: where the gold span starts and ends in it, in percent of its duration; None where it does not reach.
        said: share of its duration that the answered spans cover, averaged over all answers, from 0 to 1.
    """

    x: str
    y: str
    start_ms: int
    end_ms: int
    gold: tuple[float, float] | None
    said: float


@dataclass(frozen=True, slots=True)
class GroupAnswer:
    """A text that `count` answers of the group share, with their reward and advantage."""

    text: str
    count: int
    reward: float
    advantage: float


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """A question with the answers of its group, as the page shows it.

    Attributes:
        number: number of the run on the page.
        step, index, category, task, gold: step of the run, and facts of the question.
        prompt: its texts before, between and after the clips.
        said: the different answers, the best first.
        answers: number of answers in the group.
        data: the frames as a JPEG in base64, on a grid of `ACROSS` x `rows` cells.
        aspect: width of a frame divided by its height.
        clips: the frames of each clip.
        spans: whether the answer is a span of time.
        missing: why there are no frames.
    """

    number: int
    step: int
    index: int
    category: str
    task: str
    gold: str
    prompt: tuple[str, ...]
    said: tuple[GroupAnswer, ...]
    answers: int
    data: str = ""
    rows: int = 1
    aspect: float = 16 / 9
    clips: tuple[tuple[Frame, ...], ...] = ()
    spans: bool = False
    missing: str = ""


def training_samples(runs: Sequence[NamedRun], most: int) -> Iterator[TrainingSample]:
    """Yield samples from up to `STEPS` steps of every run.

    Args:
        runs: the runs of the page.
        most: largest number of samples of a step. Their pictures are read as they are taken.
    """
    for number, named_run in enumerate(runs):
        steps = sorted({shown.step for shown in named_run.run.shown})
        chosen = {steps[round(at)] for at in np.linspace(0, len(steps) - 1, min(STEPS, len(steps)))}
        taken: Counter[int] = Counter()
        for shown in named_run.run.shown:
            taken[shown.step] += 1
            if shown.step in chosen and taken[shown.step] <= most:
                yield _sample(number, named_run, shown)


def _sample(number: int, named_run: NamedRun, shown: ShownSample) -> TrainingSample:
    """Prepare one sample."""
    counts = Counter(zip(shown.texts, shown.rewards, shown.advantages, strict=True))
    said = [
        GroupAnswer(plain_text(text, MOST), count, reward, better) for (text, reward, better), count in counts.items()
    ]
    data = ""
    rows = 1
    aspect = 16 / 9
    missing = ""
    try:
        data, rows, aspect = _picture(named_run, shown)
    except (OSError, ValueError) as error:  # one lost picture must not cost the page
        missing = plain_text(f"Its frames are not at hand: {error}", 300)
    return TrainingSample(
        number=number,
        step=shown.step,
        index=shown.index,
        category=plain_text(shown.category, 80),
        task=plain_text(shown.category.partition("/")[0], 40),
        gold=plain_text(shown.gold, 80),
        prompt=tuple(plain_text(part, MOST) for part in shown.prompt.split(VIDEO)),
        said=tuple(sorted(said, key=lambda group_answer: (-group_answer.reward, -group_answer.count))),
        answers=len(shown.texts),
        data=data,
        rows=rows,
        aspect=aspect,
        clips=_frames(shown, rows) if data else (),
        spans=parse_interval(shown.gold) is not None,
        missing=missing,
    )


def _picture(named_run: NamedRun, shown: ShownSample) -> tuple[str, int, float]:
    """Read the picture of a sample.

    Returns:
        The JPEG in base64, its number of rows, and width divided by height of a frame; an empty text for no picture.

    Raises:
        OSError: the file cannot be read.
        DataError: the name or the size of the picture is not one that a run writes.
    """
    if not shown.frames:
        return "", 1, 16 / 9
    if PurePath(shown.frames).name != shown.frames:
        raise DataError(f"{shown.frames!r} is no name of a picture")
    path = named_run.run.path / PICTURES / shown.frames
    if is_local(path) and not lies_in(path, path.parents[1]):
        raise DataError(f"{shown.frames} is a link that leads out of the run")
    jpeg = path.read_bytes()
    height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
    rows = sum(-(-len(clip) // ACROSS) for clip in shown.slots)
    if not rows or width % ACROSS or height % rows:
        raise DataError(f"{shown.frames} is not {rows} rows of {ACROSS} frames")
    return base64.b64encode(jpeg).decode(), rows, (width / ACROSS) / (height / rows)


def _frames(shown: ShownSample, rows: int) -> tuple[tuple[Frame, ...], ...]:
    """Place the frames of a sample on its picture, with the spans that cover them."""
    gold = parse_interval(shown.gold)
    spans = [parse_interval(text) for text in shown.texts] if gold else []
    clips = []
    row = 0
    for slots in shown.slots:
        frames = []
        for at, slot in enumerate(slots):
            covered = [_covered(span, slot) for span in spans if span]
            frames.append(
                Frame(
                    x=place_of(at % ACROSS, ACROSS),
                    y=place_of(row + at // ACROSS, rows),
                    start_ms=slot[0],
                    end_ms=slot[1],
                    gold=_covered(gold, slot) if gold else None,
                    said=sum((part[1] - part[0]) / 100 for part in covered if part) / len(spans) if spans else 0.0,
                )
            )
        clips.append(tuple(frames))
        row += -(-len(slots) // ACROSS)
    return tuple(clips)


def _covered(span: tuple[float, float], slot: tuple[int, int]) -> tuple[float, float] | None:
    """Return where a span of seconds starts and ends in a slot of milliseconds, in percent of it; None outside."""
    first, last = (max(slot[0], min(slot[1], 1000 * edge)) for edge in span)
    if last <= first:
        return None
    whole = slot[1] - slot[0]
    return 100 * (first - slot[0]) / whole, 100 * (last - slot[0]) / whole
