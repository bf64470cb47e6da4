"""MotionBench (Hong et al., CVPR 2025): multiple choice about fine motion, in six types of questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.lettered import identity, inside_answer
from videossr.bench.public.official import first_in_brackets

HIDDEN = "NA"
"""The answer of a question of the hidden test."""

FOLDERS = (
    "MotionBench/self-collected/",
    "MotionBench/public-dataset/",
    "self-collected/",
    "public-dataset/",
    "videos/",
    "",
)
"""Where a video may lie, below the folder."""


class MotionBench(Benchmark[NoSettings]):
    """MotionBench: the questions whose answers are published."""

    facts = Facts(
        title="MotionBench",
        domain="general",
        questions=4018,
        videos=None,
        metric="accuracy",
        licence="CC BY-NC-SA 4.0",
        source="https://huggingface.co/datasets/zai-org/MotionBench",
        layout="video_info.meta.jsonl\n"
        "MotionBench/self-collected/<video>\n"
        "MotionBench/public-dataset/<video>, cut from other data sets as the authors' mapping.json says",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule("The first character in brackets, or of the answer, must be the letter.", first_in_brackets)
    }

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield a record for each question; a line without questions is one, too, which cannot be used."""
        name = data.find("video_info.meta.jsonl", "data/video_info.meta.jsonl")
        for line in data.json_lines(name):
            questions = line.fields.get("qa")
            if not isinstance(questions, list) or not questions:
                yield line
                continue
            whole = {key: line.fields.get(key) for key in ("video_path", "question_type")}
            for number, question in enumerate(questions, 1):
                fields = question if isinstance(question, Mapping) else {}
                yield Record(f"{line.where}, question {number}", {**whole, **fields})

    def row(self, record: Record, settings: NoSettings) -> Row | None:
        """Read a question, which holds its options; those of the hidden test are left out."""
        if record.text("answer").strip() == HIDDEN:
            return None
        question = record.text("question")
        video = record.text("video_path")
        return Row(
            id=identity(record, "uid"),
            template="choice_inside",
            question=question,
            answer=inside_answer(record, question, "answer"),
            answer_type="option",
            footage=(Footage(tuple(folder + video for folder in FOLDERS)),),
            category=record.text("question_type"),
        )
