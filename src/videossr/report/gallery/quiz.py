"""The quiz: one self-contained HTML page on which a person answers questions without seeing the truth.

    videossr gallery DATASET --quiz --out quiz.html

The page is made of what is asked alone: `Asked` has neither the gold answer nor the category, so that neither can get
into the page. It saves the file that `videossr.models.human` reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videossr.answers.base import EntryForm
from videossr.models.human import AnswerSheet
from videossr.question import VIDEO, Clip, Question, Truth
from videossr.report.gallery.filmstrip import make_strips
from videossr.report.page import write_page
from videossr.tasks.base import answer_type_of

QUALITY = 85
"""JPEG quality of the frames."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as a person sees it: what a model is asked, and the clips (T, H, W, 3) in order."""

    id: str
    system: str
    prompt: str
    form: EntryForm
    clips: Sequence[Clip]


def form_of(question: Question) -> EntryForm:
    """Return how the answer to a question is entered; how many parts it has is all that is taken from the gold."""
    return answer_type_of(question.data_source).form(question.answer)


def quiz_order(dataset: str, ids: Iterable[str]) -> list[str]:
    """Order sample ids by a hash, so that neighbors have nothing in common; the same dataset gives the same order.

    Args:
        dataset: content hash of the dataset.
        ids: of the samples that are shown, in any order.
    """
    return sorted(ids, key=lambda name: hashlib.sha256(f"{dataset} {name}".encode()).digest())


def write_quiz(
    asked: Iterable[Asked],
    count: int,
    out: Path,
    title: str,
    dataset: str,
    command: str,
    height: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the page of `asked`; the file appears under its name only when it is complete.

    Args:
        asked: consumed once, in the order in which the questions are to be shown.
        count: how many there are.
        out: the HTML file to write.
        title: heading of the page.
        dataset: content hash of the dataset.
        command: shell line that makes a run of the saved file, which it names `answers.json`.
        height: height in pixels of the frames; by default, and at most, as a model sees them.
        progress: called with the number of questions written after each.
    """
    shown = f"stills and player, {'as large as a model sees them' if height is None else f'at most {height} px high'}"
    sheet = AnswerSheet(kind="answers", hash=dataset, shown=f"{shown}, JPEG quality {QUALITY}", answers={})
    write_page(
        "quiz.html.jinja",
        out,
        ["gallery.css", "quiz.css"],
        ["player.js", "gallery_strips.js", "quiz.js"],
        title=title,
        facts={"questions": str(count), "dataset": dataset[:12]},
        sheet={"kind": sheet.kind, "hash": sheet.hash, "shown": sheet.shown},
        count=count,
        command=command,
        questions=_views(asked, height, progress),
    )


def _views(
    asked: Iterable[Asked], height: int | None, progress: Callable[[int], None] | None
) -> Iterator[Mapping[str, object]]:
    for done, question in enumerate(asked, start=1):
        size = question.clips[0].frames.shape[1:3]
        yield {
            "id": question.id,
            "system": question.system,
            "prompt": question.prompt.split(VIDEO),
            "form": question.form,
            "size": size,
            "strips": make_strips(question.clips, Truth(), height or size[0], QUALITY),
        }
        if progress is not None:
            progress(done)
