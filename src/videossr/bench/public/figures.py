"""Figures of a public benchmark: means over scored answers, which the bootstrap draws anew video by video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Marked:
    """One scored answer.

    Attributes:
        index: of the question.
        id, category, answer: of the question; `answer` is the gold one.
        groups: see `videossr.bench.public.base.Row`.
        text: what the model said; empty where the question failed.
        value: by the rule, in [0, 1]; 0 where the text cannot be read.
        read: whether the text could be read.
        parts: exact match of each part of the answer, where it has parts.
    """

    index: int
    id: str
    category: str
    answer: str
    groups: Mapping[str, float | str]
    text: str
    value: float
    read: bool
    parts: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean, or a mean of means.

    Attributes:
        name: of the metric, such as `accuracy`, `mIoU` or `R@0.5`.
        scope: the part of the benchmark that it is about; empty for all of it.
        parts: for each part that counts alike, the value of each unit by the index of a question of it. A unit is a
            question, or a group of questions that is right or wrong as a whole.
        answered: the same over those units alone whose answers could be read.
    """

    name: str
    scope: str
    parts: tuple[Mapping[int, float], ...]
    answered: tuple[Mapping[int, float], ...] = field(default=())

    @property
    def units(self) -> int:
        """Return the number of units."""
        return sum(map(len, self.parts))


def mean_figure(
    name: str, marked: Sequence[Marked], scope: str = "", value: Callable[[Marked], float] = lambda mark: mark.value
) -> Figure:
    """Average a value of each answer over all of them (micro average)."""
    return macro_figure(name, [marked], scope, value)


def macro_figure(
    name: str,
    groups: Sequence[Sequence[Marked]],
    scope: str = "",
    value: Callable[[Marked], float] = lambda mark: mark.value,
) -> Figure:
    """Average a value over each group of answers, and then over the groups, which count alike."""
    return Figure(
        name,
        scope,
        tuple({mark.index: value(mark) if mark.read else 0.0 for mark in group} for group in groups if group),
        tuple({mark.index: value(mark) for mark in group if mark.read} for group in groups if group),
    )


def weighted_figure(
    name: str,
    marked: Sequence[Marked],
    value: Callable[[Marked], float],
    weight: Callable[[Marked], float],
    scope: str = "",
) -> Figure:
    """Average a value over all answers, each of which counts by its weight."""
    total = sum(map(weight, marked)) / len(marked)
    return mean_figure(name, marked, scope, lambda mark: value(mark) * weight(mark) / total)


def group_figure(
    name: str, groups: Sequence[Sequence[Marked]], value: Callable[[Sequence[Marked]], float], scope: str = ""
) -> Figure:
    """Average a value of groups of answers that count as a whole, such as a pair that must be right together."""
    return Figure(
        name,
        scope,
        ({group[0].index: value(group) for group in groups},) if groups else (),
        ({group[0].index: value(group) for group in groups if all(mark.read for mark in group)},),
    )


def span_figures(
    marked: Sequence[Marked], thresholds: Sequence[float] = (0.3, 0.5, 0.7), scope: str = ""
) -> Iterator[Figure]:
    """Sum overlaps of spans up: their mean, and for each threshold the share of answers that reach it."""
    yield mean_figure("mIoU", marked, scope)
    for threshold in thresholds:
        yield mean_figure(f"R@{threshold:g}", marked, scope, reaches(threshold))


def reaches(threshold: float) -> Callable[[Marked], float]:
    """Return what tells by 1 or 0 whether an overlap is at least `threshold`."""
    return lambda mark: float(mark.value >= threshold - 1e-9)
