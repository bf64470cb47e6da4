"""QVHighlights (Lei et al., NeurIPS 2021): find a moment of a clip of 150 seconds; a query may have several moments.

The model names one window. By default it scores its overlap with the gold window that it overlaps most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from videossr.answers.windows import Window, read_windows, score_windows, window_answer
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, Row, Rule
from videossr.bench.public.figures import Figure, Marked, mean_figure, span_figures
from videossr.bench.public.grounding.gold import CATEGORY, RELEASED, gold_windows

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""Of the overlap, by which the official script counts a window as found."""

LENGTHS: Mapping[str, tuple[float, float]] = {"short": (0, 10), "middle": (10, 30), "long": (30, 150)}
"""Seconds of the windows of each group; a window is longer than the first number, and at most as long as the second."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class QVHighlightsSettings:
    """What is asked.

    Attributes:
        split: `val` is the paper's; `test` is the file with answers, which was published later.
    """

    split: Literal["val", "test"] = "val"


_FILES: Mapping[str, tuple[str, ...]] = {
    "val": ("highlight_val_release.jsonl", "data/highlight_val_release.jsonl"),
    "test": ("highlight_test_with_gt.jsonl", "data/highlight_test_with_gt.jsonl"),
}


def first_window(text: str, gold: str) -> float | None:
    """Compute the overlap with the gold window that is published first, even if the text means another one."""
    scores = score_windows(text, window_answer(read_windows(gold)[:1]))
    return scores.smooth if scores.parsed else None


def average_precision(overlap: float, windows: int, thresholds: Sequence[float] = THRESHOLDS) -> float:
    """Compute the average precision of one predicted window against some gold windows, averaged over thresholds.

    A single prediction that is right has precision 1 up to the recall of one window out of all, and 0 beyond.
    """
    return sum(overlap >= threshold - 1e-9 for threshold in thresholds) / len(thresholds) / windows


class QVHighlights(Benchmark[QVHighlightsSettings]):
    """QVHighlights, moment retrieval: the validation split."""

    facts = Facts(
        title="QVHighlights",
        domain="grounding",
        questions=1550,
        videos=1519,
        metric="mIoU",
        licence="CC BY-NC-SA 4.0",
        source="https://github.com/jayleicn/moment_detr",
        layout="highlight_val_release.jsonl\nvideos/<vid>.mp4, the clips as they are published",
        column="QVH",
    )
    Settings = QVHighlightsSettings
    rules: ClassVar[Mapping[str, Rule]] = {
        "released": RELEASED,
        "first": Rule("The overlap with the first gold window alone.", first_window),
        "official": Rule("R@0.5 to R@0.95 and the mean average precision, also by the length of the gold windows."),
    }
    fields = frozenset(["qid", "query", "duration", "vid", "relevant_windows", "relevant_clip_ids", "saliency_scores"])

    def size(self, settings: QVHighlightsSettings) -> tuple[int | None, int | None]:
        """Return the published numbers of a split; that of the videos is not known for `test`."""
        return (self.facts.questions, self.facts.videos) if settings.split == "val" else (1542, None)

    def records(self, data: Data, settings: QVHighlightsSettings) -> Iterator[Record]:
        """Yield the rows of the split."""
        yield from data.json_lines(data.find(*_FILES[settings.split]))

    def row(self, record: Record, settings: QVHighlightsSettings) -> Row:
        """Read a query, with all its windows in the order in which they are published."""
        video = record.text("vid")
        return Row(
            id=str(record.integer("qid")),
            template="span",
            question=record.text("query").strip(),
            answer=gold_windows(record, record.spans("relevant_windows")),
            answer_type="windows",
            footage=(Footage((f"videos/{video}.mp4", f"{video}.mp4")),),
            category=CATEGORY,
            seconds=record.number("duration"),
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the overlaps; by the rule `official`, with its thresholds and the mean average precision."""
        if rule != "official":
            yield from span_figures(marked)
            return
        yield from span_figures(marked, THRESHOLDS)
        yield _mean_average_precision("mAP", marked)
        yield _mean_average_precision("mAP@0.5", marked, thresholds=(0.5,))
        yield _mean_average_precision("mAP@0.75", marked, thresholds=(0.75,))
        for scope, (least, most) in LENGTHS.items():
            kept = list(_of_length(marked, least, most))
            if kept:
                yield _mean_average_precision("mAP", kept, scope)
                yield from span_figures(kept, (0.5, 0.7), scope)


def _mean_average_precision(
    name: str, marked: Sequence[Marked], scope: str = "", thresholds: Sequence[float] = THRESHOLDS
) -> Figure:
    """Average the average precision of the queries."""
    return mean_figure(
        name, marked, scope, lambda mark: average_precision(mark.value, len(read_windows(mark.answer)), thresholds)
    )


def _of_length(marked: Sequence[Marked], least: float, most: float) -> Iterator[Marked]:
    """Score the queries that have gold windows of a length again, with only these windows as their gold answer."""
    for mark in marked:
        windows: list[Window] = [(a, b) for a, b in read_windows(mark.answer) if least < b - a <= most]
        if windows:
            answer = window_answer(windows)
            yield replace(mark, answer=answer, value=score_windows(mark.text, answer).smooth)
