"""Windows: gold answers of several intervals of seconds, such as `82-150, 0-10`, of which one or all are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from videossr.answers.base import AnswerDistribution, AnswerType
from videossr.answers.interval import INTERVAL
from videossr.question import Question
from videossr.rewards import Scorer, Scores, find_spans, interval_overlap, parse_interval, parse_span

Window = tuple[float, float]


def window_answer(windows: Sequence[Window]) -> str:
    """Write the gold answer of some windows, (start, end) in seconds each.

    >>> window_answer([(82, 150), (0, 10.5)])
    '82-150, 0-10.5'
    """
    return ", ".join(f"{_seconds(start)}-{_seconds(end)}" for start, end in windows)


def read_windows(gold: str) -> list[Window]:
    """Read a gold answer. Raises ValueError where it has another form."""
    windows = [parse_interval(window) for window in gold.split(",")]
    found = [window for window in windows if window is not None]
    if len(found) < len(windows):
        raise ValueError(f"gold answer {gold!r:.200} is not intervals of seconds such as '82-150, 0-10'")
    return found


def score_windows(answer: str, gold: str) -> Scores:
    """Score one interval by its overlap with that window with which it overlaps most; strict: it is that window."""
    windows = read_windows(gold)
    span = parse_span(answer)
    if span is None:
        return Scores(0.0, 0.0, parsed=False)
    best = max(interval_overlap(span, window) for window in windows)
    return Scores(best, float(best == 1.0), parsed=True)


def score_moments(answer: str, gold: str) -> Scores:
    """Score all intervals that a text names by the overlap of their union with the union of the windows."""
    windows = merge_windows(read_windows(gold))
    spans = merge_windows([span for span in find_spans(answer) if span[0] <= span[1]])
    if not spans:
        return Scores(0.0, 0.0, parsed=False)
    both = sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in spans for b in windows)
    either = sum(end - start for start, end in (*spans, *windows)) - both
    value = both / either if either > 0 else 0.0
    return Scores(value, float(spans == windows), parsed=True)


def merge_windows(windows: Sequence[Window]) -> list[Window]:
    """Join windows that touch or overlap."""
    merged: list[Window] = []
    for start, end in sorted(windows):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def _seconds(value: float) -> str:
    """Write seconds in decimals that are read back as the same number, without an exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Windows(AnswerType):
    """One of several windows; the metric is the mean overlap with the best one."""

    name: str = "windows"
    score: Scorer = score_windows
    metric: str = "miou"
    overlap: bool = True

    def parse(self, text: str, gold: str) -> Window | None:
        """Read the one interval that a text names."""
        return parse_span(text)

    def distribution(self, questions: Sequence[Question]) -> AnswerDistribution:
        """Read off which share of its video the first window of each question is; a guess is one interval."""
        return INTERVAL.distribution([replace(each, answer=each.answer.partition(",")[0]) for each in questions])

    def value(self, scores: Scores) -> float:
        """Return the overlap."""
        return scores.smooth


@dataclass(frozen=True)
class Moments(Windows):
    """All of several windows; the metric is the mean overlap of the unions."""

    name: str = "moments"
    score: Scorer = score_moments

    def parse(self, text: str, gold: str) -> Window | None:
        """Read the first interval that a text names."""
        return next(iter(find_spans(text)), None)


WINDOWS = Windows()
MOMENTS = Moments()
