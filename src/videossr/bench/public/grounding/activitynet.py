"""ActivityNet Captions (Krishna et al., ICCV 2017) for grounding: find the moment that a sentence describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, Row, Rule
from videossr.bench.public.figures import Figure, Marked, span_figures
from videossr.bench.public.grounding.gold import CATEGORY, RELEASED, gold_windows, queries, sentence

_FILES: Mapping[str, tuple[str, ...]] = {
    "val_1": ("val_1.json", "captions/val_1.json", "val.json"),
    "val_2": ("val_2.json", "captions/val_2.json", "test.json"),
}


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class ActivityNetSettings:
    """What is asked.

    Attributes:
        split: which of the two published validation files. The paper says "validation set" only, and since work on
            video models, and the widespread copy with files named `val` and `test`, call `val_2` the test set,
            `val_1` is the likelier one.
    """

    split: Literal["val_1", "val_2"] = "val_1"


class ActivityNet(Benchmark[ActivityNetSettings]):
    """ActivityNet Captions: one query for each sentence of a video."""

    facts = Facts(
        title="ActivityNet Captions",
        domain="grounding",
        questions=17505,
        videos=4917,
        metric="mIoU",
        licence="not stated",
        source="https://cs.stanford.edu/people/ranjaykrishna/densevid",
        layout="val_1.json\nvideos/<v_id>.mp4, .mkv or .webm, with or without the `v_` of the annotations",
        column="ANet",
    )
    Settings = ActivityNetSettings
    rules: ClassVar[Mapping[str, Rule]] = {"released": RELEASED}
    fields: ClassVar[frozenset[str]] = frozenset(["duration", "timestamps", "sentences"])

    def size(self, settings: ActivityNetSettings) -> tuple[int, int]:
        """Return the published numbers of a split."""
        return (17505, 4917) if settings.split == "val_1" else (17031, 4885)

    def records(self, data: Data, settings: ActivityNetSettings) -> Iterator[Record]:
        """Yield the queries, video by video."""
        yield from queries(data, data.find(*_FILES[settings.split]), "timestamps", "sentences")

    def row(self, record: Record, settings: ActivityNetSettings) -> Row:
        """Read a query; some spans end a few hundredths of a second behind the video, and are clipped."""
        video = record.context["video"]
        duration = record.number("duration")
        names = dict.fromkeys([video, video.removeprefix("v_")])
        return Row(
            id=f"{video}/{record.context['query']}",
            template="span",
            question=sentence(record, "sentences"),
            answer=gold_windows(record, record.spans("timestamps"), duration),
            answer_type="windows",
            footage=(Footage(tuple(f"videos/{name}.{kind}" for name in names for kind in ("mp4", "mkv", "webm"))),),
            category=CATEGORY,
            seconds=duration,
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the overlaps."""
        yield from span_figures(marked)
