"""Plain data that an answer type fills in and `videossr report` draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class Mean(Protocol):
    """A mean over questions with the ends of its 95 % interval."""

    @property
    def value(self) -> float:
        """Return the estimate."""

    @property
    def low(self) -> float:
        """Return the lower end of its interval."""

    @property
    def high(self) -> float:
        """Return the upper end of its interval."""


PerQuestion: TypeAlias = Mapping[int, float]
"""A value for some questions, by their index."""


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """The answers of one run to one question.

    Attributes:
        index: of the question.
        gold: the gold answer; empty for a question that could not be read.
        texts: what was said; one empty text where the question failed.
        failed: whether no text came back.
        times_ms, end_ms: when each slot of a clip starts, and when the last one ends.
    """

    index: int
    gold: str
    texts: tuple[str, ...]
    failed: bool
    times_ms: tuple[int, ...]
    end_ms: int


@dataclass(frozen=True)
class GivenAnswers:
    """The answers of one run to the questions of one category.

    Attributes:
        asked: all questions that were asked.
        means: averages several tables over their questions; None for an empty table.
    """

    asked: Sequence[GivenAnswer]
    means: Callable[[Sequence[PerQuestion]], Sequence[Mean | None]]

    @property
    def counted(self) -> Sequence[GivenAnswer]:
        """Return all of `asked`, or nothing where not one question was answered."""
        return [] if all(answer.failed for answer in self.asked) else self.asked

    @property
    def known(self) -> Sequence[GivenAnswer]:
        """Return the answers of `counted` whose gold answer is known."""
        return [answer for answer in self.counted if answer.gold]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Numbers of answers by groups.

    Attributes:
        title: what is counted; the name of the category is put behind it.
        names, counts: of the groups, in their order.
        xlabel, ylabel: of the axes; heights are shares in percent.
        apart: how many of the first groups stand by themselves.
        caption: of a table with the same counts; empty for no table.
    """

    title: str
    names: tuple[str, ...]
    counts: tuple[int, ...]
    xlabel: str
    ylabel: str = "answers, %"
    apart: int = 0
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A cell in the table of a panel: a mean with its interval, or a number.

    Attributes:
        group, name: headings of its column, the first one shared with its neighbors.
        value: None where there is none.
        digits: of a mean, behind the decimal point.
        signed: whether a mean has a sign in any case.
    """

    group: str
    name: str
    value: Mean | int | None
    digits: int = 2
    signed: bool = False


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A table of counts whose cells are shaded by their share of the row.

    Attributes:
        counts: the rows, (R, C).
        rows, columns: their names.
        right: for each row, the column that is right.
        across, down: what the columns and the rows are.
        title: of the table; the name of the run where it is empty.
        note: a sentence below it.
    """

    counts: tuple[tuple[int, ...], ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    right: tuple[int, ...]
    across: str
    down: str
    title: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """The part of a report about the answers of one run in one category.

    Attributes:
        lead: what the reader sees, in a sentence or two; the same for all categories of a type.
        data: the numbers behind it, a dataclass or a list of some; they are written to JSON as they are.
        noun: stands behind the short name of a category, such as `pieces` in `6 pieces`.
        histogram: None for none.
        figures: a row of a table, which `caption` explains.
        heatmaps: several of them are folded, run by run.
    """

    lead: str
    data: DataclassInstance | Sequence[DataclassInstance]
    noun: str = ""
    histogram: Histogram | None = None
    figures: tuple[Figure, ...] = ()
    caption: str = ""
    heatmaps: tuple[Heatmap, ...] = ()


@dataclass(frozen=True, slots=True)
class Drawing:
    """One answer as it is drawn on the frames of its question.

    Attributes:
        spans: (start, end) in slots of the clip: 2.5 is the middle of slot 2. Each is a bar below the frames.
        places: for each clip, the place from 1 at which it was put.
    """

    spans: tuple[tuple[float, float], ...] = ()
    places: tuple[int, ...] = ()
