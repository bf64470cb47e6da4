"""Figures of a public benchmark: means over scored answers, which the bootstrap draws anew video by video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import mul
from typing import TypeAlias

FigureKey: TypeAlias = tuple[str, str]
"""Name and scope of a figure."""


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
        weights: by which units count, by index; all alike where there are none.
    """

    name: str
    scope: str
    parts: tuple[Mapping[int, float], ...]
    answered: tuple[Mapping[int, float], ...] = field(default=())
    weights: Mapping[int, float] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """Return the number of units."""
        return sum(map(len, self.parts))

    def means(self, parts: Sequence[Mapping[int, float]]) -> list[float]:
        """Average each part by the weights of its units."""
        found = []
        for part in parts:
            weights = [self.weights.get(index, 1.0) for index in part]
            found.append(sum(map(mul, part.values(), weights)) / sum(weights))
        return found


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


def mean_figures(name: str, groups: Mapping[str, Sequence[Marked]], prefix: str = "") -> Iterator[Figure]:
    """Average the answers of each group; the scope is `prefix` and what the group is called."""
    for scope, marks in groups.items():
        yield mean_figure(name, marks, prefix + scope)


def weighted_figure(
    name: str,
    marked: Sequence[Marked],
    value: Callable[[Marked], float],
    weight: Callable[[Marked], float],
    scope: str = "",
) -> Figure:
    """Average a value over all answers, each of which counts by its weight."""
    return replace(
        mean_figure(name, marked, scope, value), weights={mark.index: float(weight(mark)) for mark in marked}
    )


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


def sort_by(marked: Iterable[Marked], key: Callable[[Marked], str]) -> dict[str, list[Marked]]:
    """Sort scored answers by what a function tells of each, in the order in which its values come up."""
    found: dict[str, list[Marked]] = {}
    for mark in marked:
        found.setdefault(key(mark), []).append(mark)
    return found


def by_category(marked: Iterable[Marked]) -> dict[str, list[Marked]]:
    """Sort scored answers by the kind of question."""
    return sort_by(marked, lambda mark: mark.category)


def text_group(mark: Marked, name: str) -> str:
    """Return a group that every answer must have, a text.

    Raises:
        ValueError: it is missing or something else, as in the predictions of another version.
    """
    value = mark.groups.get(name)
    if not isinstance(value, str):
        raise ValueError(f"question {mark.id}: group {name} must be a text, got {value!r:.40}")
    return value


def number_group(mark: Marked, name: str) -> float:
    """Return a group that every answer must have, a number. Raises ValueError as `text_group`."""
    value = mark.groups.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"question {mark.id}: group {name} must be a number, got {value!r:.40}")
    return float(value)


def by_group(marked: Iterable[Marked], name: str) -> dict[str, list[Marked]]:
    """Sort scored answers by one of their groups, see `Row.groups`; those without it are left out."""
    having = (mark for mark in marked if mark.groups.get(name) is not None)
    return sort_by(having, lambda mark: str(mark.groups[name]))
