"""The worst and the best questions of each category as a report shows them: frames, gold, and what every run said.

Made for `videossr report RUN --out report.html`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from videossr.answers.base import AnswerType
from videossr.answers.panel import Drawing
from videossr.bench.scoring import QuestionScore
from videossr.question import VIDEO, Truth
from videossr.question_set import QuestionSet
from videossr.report.benchmark.answers import Answers, ScoredAnswer
from videossr.report.benchmark.table import Benchmark
from videossr.report.gallery.filmstrip import Slot, Strip, make_strips
from videossr.untrusted import plain_text

MOST = 4000
"""Characters of a text that are shown."""

FOLDED = 160
"""A text that is longer, or has more than one line, is folded."""

SLOTS = 24
"""Slots that are shown of a question, at most, where its answer type does not say how many of each clip."""

_THREADS = 2


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The answers of one run to the question; `number` is the run's.

    Attributes:
        text: the answer, or why there is none.
        failed: whether there is none.
        cut: whether it was cut off at the longest answer that was allowed.
        mark: its score.
        parts: for each slot of the strip, the shares of it at which answered spans start and end, in percent; none
            where they do not reach. Empty for an answer that has no span.
        places: for each clip, the place from 1 at which it was put.
    """

    number: int
    text: str
    failed: bool
    cut: bool
    mark: QuestionScore
    parts: tuple[tuple[tuple[float, float], ...], ...] = ()
    places: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """A question as the page shows it.

    Attributes:
        category, task, id, index, answer: of the question.
        why: (number of the run, `worst` or `best`): whose choice it is.
        settings: what makes it hard, as text.
        said: what the runs said that were asked it.
        prompt, system: its texts, around the clips; empty where the questions are not at hand.
        strips: its frames; none where they are not at hand, which `missing` gives the reason for.
        size: height and width of its frames.
        rest: how many slots of each clip are not shown.
    """

    category: str
    task: str
    id: str
    index: int
    answer: str
    why: tuple[tuple[int, str], ...]
    settings: Mapping[str, str]
    said: tuple[ModelAnswer, ...]
    prompt: tuple[str, ...] = ()
    system: str = ""
    strips: tuple[Strip, ...] = ()
    size: tuple[int, int] = (9, 16)
    rest: int = 0
    missing: str = ""


def chosen(benchmark: Benchmark, most: int) -> dict[str, dict[int, list[tuple[int, str]]]]:
    """Choose the questions that are shown: by category and index, for which run each is among its worst or best.

    The worst are answers of the asked form that are furthest from the gold one; answers of no such form come behind
    them, and what failed is not among them.
    """
    found: dict[str, dict[int, list[tuple[int, str]]]] = {}
    for category in benchmark.categories:
        picks: dict[int, list[tuple[int, str]]] = {}
        for kind in ("worst", "best"):
            for number, run in enumerate(benchmark.runs):
                for answer in _extremes(run.answers[category], kind, most):
                    picks.setdefault(answer.prediction.index, []).append((number, kind))
        found[category] = picks
    return found


def _extremes(answers: Answers, kind: str, most: int) -> list[ScoredAnswer]:
    ranked = sorted((answer for answer in answers.every if answer.prediction.texts), key=_rank)
    half = len(ranked) // 2
    if kind == "best":
        return [answer for answer in ranked[::-1][: min(most, half)] if answer.mark.smooth > 0]
    legible = [answer for answer in ranked if answer.mark.parsed] + [a for a in ranked if not a.mark.parsed]
    return [answer for answer in legible[: min(most, len(ranked) - half)] if answer.mark.strict < 1]


def _rank(answer: ScoredAnswer) -> tuple[float, float, int]:
    return answer.mark.score, answer.mark.smooth, -answer.prediction.index


def examples_of(
    benchmark: Benchmark,
    questions: QuestionSet | None,
    most: int,
    thumb_height: int,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Example]:
    """Yield the `most` worst and best questions of each run in every category. Frames are rendered on demand."""
    picks = [
        (category, index, why) for category, found in chosen(benchmark, most).items() for index, why in found.items()
    ]
    by_index = [
        {p.index: a for c in run.answers.values() for a in c.every for p in [a.prediction]} for run in benchmark.runs
    ]

    def make(pick: tuple[str, int, list[tuple[int, str]]]) -> Example:
        category, index, why = pick
        answers = [(number, found[index]) for number, found in enumerate(by_index) if index in found]
        return _item(
            benchmark.task_of[category], benchmark.answer_types.get(category), why, answers, questions, thumb_height
        )

    with ThreadPoolExecutor(_THREADS) as pool:
        for done, item in enumerate(pool.map(make, picks), 1):
            if progress is not None:
                progress(done, len(picks))
            yield item


def _item(
    task: str,
    kind: AnswerType | None,
    why: Sequence[tuple[int, str]],
    answers: Sequence[tuple[int, ScoredAnswer]],
    questions: QuestionSet | None,
    thumb_height: int,
) -> Example:
    prediction = answers[0][1].prediction
    question = None
    truth = Truth()
    strips: tuple[Strip, ...] = ()
    size = (9, 16)
    rest = 0
    missing = ""
    if questions is not None:
        try:
            question, truth = questions.question(prediction.index), questions.truth(prediction.index)
            strips, size, rest = _strips(questions, prediction.index, kind, truth, thumb_height)
        except (ValueError, OSError, KeyError) as error:  # one broken pack must not cost the page
            missing = plain_text(f"Its frames cannot be rendered: {error}", 300)
    slots = strips[0].slots if len(strips) == 1 else ()
    return Example(
        category=plain_text(prediction.category),
        task=plain_text(task),
        id=plain_text(prediction.id, 80),
        index=prediction.index,
        answer=plain_text(prediction.answer, 80),
        why=tuple(why),
        settings={
            plain_text(name, 40): plain_text(f"{value:g}" if isinstance(value, float) else str(value), 40)
            for name, value in prediction.difficulty.items()
        },
        said=tuple(_said(number, answer, slots, kind) for number, answer in answers),
        prompt=tuple(plain_text(part) for part in question.prompt.split(VIDEO)) if question else (),
        system=plain_text(question.system) if question else "",
        strips=strips,
        size=size,
        rest=rest,
        missing=missing,
    )


def _strips(
    questions: QuestionSet, index: int, kind: AnswerType | None, truth: Truth, height: int
) -> tuple[tuple[Strip, ...], tuple[int, int], int]:
    clips = questions.clips(index)
    length = len(clips[0].clock)
    shapes = sorted({outline.slot for outline in truth.outlines})
    most = (kind.slots if kind else None) or SLOTS // len(clips) or 1
    kept = shapes[:most] or sorted({round(slot) for slot in np.linspace(0, length - 1, min(most, length))})
    tall = 2 * height if shapes else height
    frame = clips[0].frames.shape
    return tuple(make_strips(clips, truth, tall, 70, kept)), (frame[1], frame[2]), length - len(kept)


def _said(number: int, answer: ScoredAnswer, slots: Sequence[Slot], kind: AnswerType | None) -> ModelAnswer:
    prediction = answer.prediction
    text = prediction.texts[0] if prediction.texts else prediction.error
    drawing = kind.draw(text, answer.given) if kind and prediction.texts else Drawing()
    return ModelAnswer(
        number,
        plain_text(text, MOST),
        failed=not prediction.texts,
        cut=prediction.finish[:1] == ("length",),
        mark=answer.mark,
        parts=tuple(_covered(slot, drawing) for slot in slots) if drawing.spans else (),
        places=drawing.places,
    )


def _covered(slot: Slot, drawing: Drawing) -> tuple[tuple[float, float], ...]:
    """Find where the spans of an answer start and end in a slot, in percent of it."""
    inside = ((max(0.0, first - slot.index), min(1.0, last - slot.index)) for first, last in drawing.spans)
    return tuple((100 * start, 100 * end) for start, end in inside if end > start)


@dataclass(frozen=True, slots=True)
class Failure:
    """One reason why questions of a run have no answer that counts: how often, and for which answers or questions."""

    reason: str
    count: int
    examples: tuple[tuple[str, int], ...]


def failures(answers: Mapping[str, Answers], most: int = 5) -> list[Failure]:
    """Group failed questions by their reason, and answers that cannot be parsed by their text."""
    errors: dict[str, list[str]] = {}
    texts: dict[str, Counter[str]] = {}
    for answer in (answer for found in answers.values() for answer in found.every):
        prediction = answer.prediction
        if not prediction.texts:
            errors.setdefault(plain_text(prediction.error, 300) or "no text", []).append(prediction.id)
        elif answer.mark.parsed == 0:
            cut = prediction.finish[:1] == ("length",)
            kind = "cut off before it could be parsed" if cut else "cannot be parsed"
            said = plain_text(prediction.texts[0], FOLDED)
            texts.setdefault(kind, Counter())[said or "(an empty text)"] += 1
    found = [
        Failure(reason, len(ids), tuple((plain_text(question, 80), 1) for question in ids[:most]))
        for reason, ids in errors.items()
    ]
    found += [Failure(kind, said.total(), tuple(said.most_common(most))) for kind, said in texts.items()]
    return sorted(found, key=lambda failure: -failure.count)
