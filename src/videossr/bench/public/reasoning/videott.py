"""Video-TT (arXiv 2507.15028), the multiple-choice questions: one about each of 1,000 short videos of YouTube."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.lettered import gold_of, identity, options_inside
from videossr.bench.public.official import capital_reader

first_letter = capital_reader("ABCDE")
"""Scores as the official task does."""


class VideoTT(Benchmark[NoSettings]):
    """Video-TT: questions whose answer is a letter. The four open ones about each video need a judge."""

    facts = Facts(
        title="Video-TT (multiple choice)",
        domain="reasoning",
        questions=1000,
        videos=1000,
        metric="accuracy",
        licence="none stated",
        source="https://huggingface.co/datasets/lmms-lab/video-tt",
        layout="data/test-00000-of-00001.parquet\n"
        "Benchmark-AllVideos-LQ/<video_id>.mp4, with the zip files unpacked; or the same below "
        "Benchmark-AllVideos-HQ-encoded",
        column="VTT",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule("The first capital A to E anywhere in the answer counts.", first_letter),
    }
    fields = frozenset(
        [
            "qid",
            "video_id",
            "question_type",
            "capability",
            "question",
            "duration",
            "question_prompt",
            "answer",
            "youtube_url",
        ]
    )

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the rows of the file."""
        yield from data.parquet(data.find("data/test-00000-of-00001.parquet"))

    def row(self, record: Record, settings: NoSettings) -> Row | None:
        """Read a question, which holds its options; None for an open one, whose answer is a text."""
        answer = record.text("answer").strip()
        if len(answer) > 1:
            return None
        question = record.text("question")
        options = options_inside(question)
        if not options:
            raise record.fault("question must end in lines labelled A., B., C., …")
        video = record.text("video_id")
        folders = ("Benchmark-AllVideos-LQ", "Benchmark-AllVideos-HQ-encoded", "video")
        return Row(
            id=identity(record, "qid"),
            template="choice_inside",
            question=question,
            answer=gold_of(record, options, "answer"),
            answer_type="option",
            footage=(Footage(paths=tuple(f"{folder}/{video}.mp4" for folder in folders)),),
            category=record.text("capability"),
        )
