"""Video-MME (Fu et al., CVPR 2025) without subtitles: three questions about each of 900 videos of three lengths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_group, mean_figure, mean_figures
from videossr.bench.public.lettered import gold_of, options_of
from videossr.bench.public.official import capital_reader

first_letter = capital_reader("ABCD")
"""Scores as the official script does."""


class VideoMME(Benchmark[NoSettings]):
    """Video-MME: the Parquet file of the hub, with the videos by their `videoID`; `video_id` is a running number."""

    facts = Facts(
        title="Video-MME (no subtitles)",
        domain="long",
        questions=2700,
        videos=900,
        metric="accuracy",
        licence="academic research only, not to be passed on",
        source="https://huggingface.co/datasets/lmms-lab/Video-MME",
        layout="videomme/test-00000-of-00001.parquet\ndata/<videoID>.mp4, with the zip files unpacked",
        column="VMME",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule(
            "The first capital A to D anywhere in the answer counts; an answer without one leaves the denominator.",
            first_letter,
            counts_unread=False,
        ),
    }
    fields = frozenset(
        [
            "video_id",
            "duration",
            "domain",
            "sub_category",
            "url",
            "videoID",
            "question_id",
            "task_type",
            "question",
            "options",
            "answer",
        ]
    )

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the rows of the file."""
        yield from data.parquet(data.find("videomme/test-00000-of-00001.parquet", "test-00000-of-00001.parquet"))

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a question; its options have their letters already."""
        video = record.text("videoID")
        options = options_of(record, record.texts("options"))
        return Row(
            id=record.text("question_id"),
            template="choice",
            question=record.text("question"),
            answer=gold_of(record, options, "answer"),
            answer_type="option",
            footage=(Footage(paths=tuple(f"data/{video}.{ending}" for ending in ("mp4", "MP4", "mkv"))),),
            category=record.text("task_type"),
            options=options,
            groups={"duration": record.text("duration"), "domain": record.text("domain")},
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average all questions, and those of each length, domain and kind of task."""
        yield mean_figure("accuracy", marked)
        lengths = by_group(marked, "duration")
        for length in sorted(lengths, key=lambda name: (name != "short", name != "medium", name)):
            yield mean_figure("accuracy", lengths[length], length)
        yield from mean_figures("accuracy", by_group(marked, "domain"), "domain: ")
        yield from self.breakdown(marked)
