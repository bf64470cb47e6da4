"""TACoS (Regneri et al., TACL 2013) for grounding: find a step of cooking in a video of minutes.

Two copies of the test split are read: the one whose spans are frame numbers, and the one in seconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from videossr.answers.windows import Window
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, span_figures
from videossr.bench.public.grounding.gold import CATEGORY, RELEASED, gold_windows, queries, sentence

FRAMES = "test.json"
"""The copy in frame numbers."""

SECONDS = "tacos_test_release.jsonl"
"""The copy in seconds."""


class TACoS(Benchmark[NoSettings]):
    """TACoS: the test split. Its repeated rows are published, so they stay."""

    facts = Facts(
        title="TACoS",
        domain="grounding",
        questions=4001,
        videos=25,
        metric="mIoU",
        licence="not stated",
        source="https://github.com/microsoft/2D-TAN",
        layout=f"{FRAMES} in frame numbers, or else {SECONDS} in seconds\n"
        "videos/<id>.avi, or <id>.mp4, or <id>-cam-002.mp4",
        column="TACoS",
    )
    rules: ClassVar[Mapping[str, Rule]] = {"released": RELEASED}
    fields: ClassVar[frozenset[str]] = frozenset(
        ["timestamps", "sentences", "fps", "num_frames", "vid", "query", "duration", "relevant_windows", "qid"]
    )

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the queries, each with its number within its video."""
        name = data.find(FRAMES, SECONDS)
        if name == FRAMES:
            yield from queries(data, name, "timestamps", "sentences")
            return
        seen: Counter[str] = Counter()
        for record in data.json_lines(name):
            video = str(record.fields.get("vid"))
            seen[video] += 1
            yield Record(record.where, record.fields, {"video": video, "query": str(seen[video])})

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a query of either copy; a span that ends behind the video is clipped."""
        windows: tuple[Window, ...]
        if "timestamps" in record.fields:
            fps = record.number("fps")
            if fps <= 0:
                raise record.fault(f"fps must be above 0, got {fps}")
            duration = record.number("num_frames") / fps
            windows = tuple((start / fps, end / fps) for start, end in record.spans("timestamps"))
            question = sentence(record, "sentences")
            video = record.context["video"].removesuffix(".avi")
        else:
            duration = record.number("duration")
            windows = record.spans("relevant_windows")
            question = " ".join(record.text("query").split()).rstrip(" .")
            video = record.text("vid")
        return Row(
            id=f"{video}/{record.context['query']}",
            template="span",
            question=question,
            answer=gold_windows(record, windows, duration),
            answer_type="windows",
            footage=(Footage(tuple(f"videos/{video}{end}" for end in (".avi", ".mp4", "-cam-002.mp4"))),),
            category=CATEGORY,
            seconds=duration,
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the overlaps; papers about this benchmark also count overlaps of 0.1."""
        yield from span_figures(marked)
        yield from list(span_figures(marked, (0.1,)))[1:]
