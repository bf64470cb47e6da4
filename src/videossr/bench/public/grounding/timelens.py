"""TimeLens-Bench (Zhang et al., CVPR 2026): three grounding benchmarks whose annotations were made anew."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from videossr.answers.windows import read_windows
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_category, macro_figure, reaches, span_figures
from videossr.bench.public.grounding.gold import gold_windows, queries, sentence
from videossr.rewards import interval_overlap

_CLOCK = re.compile(r"\b\d\d?:\d\d(?::\d\d)?(?:\.\d+)?\b")
_JOINED = (
    re.compile(r"(\d+\.?\d*)\s*-\s*(\d+\.?\d*)"),
    re.compile(r"(\d+\.?\d*)\s+to\s+(\d+\.?\d*)"),
)
_BARE = re.compile(r"\b\d+\.?\d*\b")


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class TimeLensSettings:
    """What is asked.

    Attributes:
        sets: which of the three sets.
    """

    sets: Annotated[tuple[Literal["charades", "activitynet", "qvhighlights"], ...], Field(min_length=1)] = (
        "charades",
        "activitynet",
        "qvhighlights",
    )


def first_times(text: str) -> tuple[float, float] | None:
    """Read the first two times as the official script does; the second may be the smaller one.

    Clock times come first, then two numbers with a hyphen, then with `to` between them, then any two numbers that stand
    by themselves. Of `24.3s` only `24` stands by itself.
    """
    said = text.lower()
    clock = _CLOCK.findall(said)
    if len(clock) > 1:
        return _seconds(clock[0]), _seconds(clock[1])
    for pattern in _JOINED:
        if match := pattern.search(said):
            return float(match[1]), float(match[2])
    bare = _BARE.findall(said)
    return (float(bare[0]), float(bare[1])) if len(bare) > 1 else None


def _seconds(clock: str) -> float:
    """Return the seconds of a clock time."""
    return sum(float(part) * 60.0**place for place, part in enumerate(reversed(clock.split(":"))))


def first_times_overlap(text: str, gold: str) -> float | None:
    """Compute the overlap of the first two times with the gold window."""
    times = first_times(text)
    return None if times is None else interval_overlap(times, read_windows(gold)[0])


class TimeLens(Benchmark[TimeLensSettings]):
    """TimeLens-Bench: one query for each sentence of a video."""

    facts = Facts(
        title="TimeLens-Bench",
        domain="grounding",
        questions=None,
        videos=None,
        metric="mean mIoU of the three sets",
        licence="not stated",
        source="https://huggingface.co/datasets/TencentARC/TimeLens-Bench",
        layout="charades-timelens.json\nactivitynet-timelens.json\nqvhighlights-timelens.json\nvideos/<set>/<video>.mp4",
    )
    Settings = TimeLensSettings
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule(
            "The first two times of the answer count, in the order in which they stand.", first_times_overlap
        )
    }
    fields: ClassVar[frozenset[str]] = frozenset(["duration", "spans", "queries"])

    def records(self, data: Data, settings: TimeLensSettings) -> Iterator[Record]:
        """Yield the queries, set by set."""
        for name in dict.fromkeys(settings.sets):
            yield from queries(data, data.find(f"{name}-timelens.json"), "spans", "queries", set=name)

    def row(self, record: Record, settings: TimeLensSettings) -> Row:
        """Read a query."""
        name, video = record.context["set"], record.context["video"]
        return Row(
            id=f"{name}/{video}/{record.context['query']}",
            template="span",
            question=sentence(record, "queries"),
            answer=gold_windows(record, record.spans("spans")),
            answer_type="windows",
            footage=(Footage((f"videos/{name}/{video}.mp4",)),),
            category=name,
            seconds=record.number("duration"),
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average each set, and the sets, which count alike; the mean of their mIoU is the headline."""
        sets = by_category(marked)
        yield macro_figure("mIoU", list(sets.values()))
        for threshold in (0.3, 0.5, 0.7):
            yield macro_figure(f"R@{threshold:g}", list(sets.values()), value=reaches(threshold))
        if len(sets) > 1:
            for name, kept in sets.items():
                yield from span_figures(kept, scope=name)
