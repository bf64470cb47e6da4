"""The interface of public benchmarks: facts, rows that become questions, rules by which answers become figures.

`videossr.bench.public.general.mvbench` is one. Each is declared in the entry-point group ``videossr.benchmarks``, where
packages add their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from videossr.bench.public.annotations import Data, Record, RowError
from videossr.bench.public.figures import Figure, FigureKey, Marked, by_category, mean_figure, mean_figures
from videossr.registry import Registry

S = TypeVar("S")

Domain: TypeAlias = Literal["general", "long", "grounding", "reasoning"]


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about a benchmark, for `videossr bench list` and `videossr bench check`.

    Attributes:
        title: its name as people write it.
        domain: the part of the paper's tables that it is in, or would be in.
        questions: number of questions by default settings, as published; None where no public source tells it.
        videos: number of different videos of these, likewise.
        metric: the headline figure.
        licence: of the annotations.
        source: where the files come from.
        layout: how the folder must look, one path a line.
        column: heading in the paper's tables; empty for a benchmark that is not in them.
        tokens: of an answer, at most.
    """

    title: str
    domain: Domain
    questions: int | None
    videos: int | None
    metric: str
    licence: str
    source: str
    layout: str
    column: str = ""
    tokens: int = 64


@dataclass(frozen=True, slots=True)
class Footage:
    """The part of a video that a question shows.

    Attributes:
        paths: where the video may lie below the benchmark's folder, the first that exists is taken; a file, or a folder
            of numbered images.
        start, end: seconds; the whole video by default. An end beyond that of the video is that of the video.
        fps: images a second of a folder of images.
        last: whether the last frame must be shown, however short the video is.
    """

    paths: tuple[str, ...]
    start: float = 0.0
    end: float | None = None
    fps: float | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One question of a benchmark, before its video is looked at.

    Attributes:
        id: unique within the benchmark.
        template: name of the text in `prompts.toml` that asks it.
        question: as it is published.
        answer: the gold answer, in the form that its answer type reads.
        answer_type: registered name of the answer type, such as ``option``.
        footage: what is shown, in order.
        category: the kind of question, by which tables group it.
        options: as they are shown, with their labels.
        groups: further facts by which scores are broken down, or that a rule needs; stored beside each answer.
        seconds: length of the video as the annotations state it; None where they do not.
    """

    id: str
    template: str
    question: str
    answer: str
    answer_type: str
    footage: tuple[Footage, ...]
    category: str
    options: tuple[str, ...] = ()
    groups: Mapping[str, float | str] = field(default_factory=dict)
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used, and why."""

    where: str
    error: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to turn stored answers into figures.

    Attributes:
        purpose: what it does, in one sentence, for `videossr bench list NAME`.
        score: (text, gold answer) -> value in [0, 1]; None for a text that cannot be read. Without it, the answer type
            scores.
        counts_unread: whether an answer that cannot be read is wrong; if not, it leaves the denominator.
    """

    purpose: str
    score: Callable[[str, str], float | None] | None = None
    counts_unread: bool = True


OURS = Rule("An answer that cannot be read is wrong, and so is one that never came.")


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class NoSettings:
    """There is nothing to set."""


class Benchmark(ABC, Generic[S]):
    """A public benchmark. A subclass reads records into rows; the rest has defaults.

    `Settings` is a frozen pydantic dataclass, S, of what decides which questions are asked; its defaults are those that
    we believe to be the paper's, and `--NAME.SETTING=VALUE` overrides them.

    Attributes:
        facts: about the benchmark.
        rules: ways to score, by name; `ours` is the default. The others are for `videossr bench score --rule`.
        odd: id of a row whose annotation is known to be odd -> what is odd about it.
        gone: category -> why its videos cannot be had any more.
        fields: of its records that are known, to tell when a file has another schema; empty where any may be there.
    """

    facts: ClassVar[Facts]
    Settings: type[Any] = NoSettings
    rules: ClassVar[Mapping[str, Rule]] = {}
    odd: ClassVar[Mapping[str, str]] = {}
    gone: ClassVar[Mapping[str, str]] = {}
    fields: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def records(self, data: Data, settings: S) -> Iterator[Record]:
        """Yield the records of the annotation files, in their order.

        Raises:
            NotFoundError: a file is missing.
            DataError: a file is damaged.
        """

    @abstractmethod
    def row(self, record: Record, settings: S) -> Row | None:
        """Read one record; None where the settings leave it out.

        Raises:
            RowError: it cannot be used.
        """

    def categories(self, settings: S) -> Sequence[str]:
        """Return the categories that must all be there; none where they are not known."""
        return ()

    def size(self, settings: S) -> tuple[int | None, int | None]:
        """Return the published numbers of questions and videos; None where they are not known for these settings."""
        return (self.facts.questions, self.facts.videos) if settings == self.Settings() else (None, None)

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Sum scored answers up, the headline first: by default the mean over all questions."""
        yield mean_figure("accuracy", marked)
        yield from self.breakdown(marked)

    def breakdown(self, marked: Sequence[Marked], name: str = "accuracy") -> Iterator[Figure]:
        """Sum the answers up by category, where there are several."""
        categories = by_category(marked)
        if len(categories) > 1:
            yield from mean_figures(name, categories)

    def remarks(self, runs: Sequence[tuple[Mapping[str, Any], Mapping[FigureKey, float]]]) -> Iterator[str]:
        """Yield what several runs tell together, a sentence each; nothing by default.

        Args:
            runs: the settings of each, and its figures by name and scope.
        """
        return iter(())

    def load(self, data: Data, settings: S) -> Iterator[Row | BadRow]:
        """Yield a row for each record that is asked, or what is wrong with it."""
        for record in self.records(data, settings):
            try:
                row = self.row(record, settings)
            except RowError as error:
                yield BadRow(record.where, str(error))
                continue
            except (ValueError, ArithmeticError, LookupError, TypeError, RecursionError) as error:
                yield BadRow(record.where, f"{record.where}: {type(error).__name__}: {error}")
                continue
            if row is not None:
                yield row


BENCHMARKS: Registry[type[Benchmark[Any]]] = Registry("videossr.benchmarks")
