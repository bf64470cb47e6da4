"""AoTBench (Xue et al., NeurIPS 2025): the arrow of time, in five lists of multiple choice.

Each question ends with its own request for the letter, so it is asked as it is published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_category, macro_figure, mean_figure
from videossr.bench.public.lettered import inside_answer
from videossr.bench.public.official import first_character

PARTS: Mapping[str, str] = {
    "ReverseFilm": "sequence direction",
    "UCF101": "sequence direction",
    "Rtime_t2v": "caption matching",
    "Rtime_v2t": "caption matching",
    "AoTBench_QA": "question answering",
}
"""The part of the benchmark that each list belongs to."""

ENDINGS = (".mp4", ".avi", ".mkv", ".mov", ".webm")
"""Of the same video in other copies of the set."""


class AoTBench(Benchmark[NoSettings]):
    """AoTBench: the lists in `data_files/`, or in `data/data_files/input/` as in its authors' repository."""

    facts = Facts(
        title="AoTBench",
        domain="general",
        questions=None,
        videos=None,
        metric="accuracy",
        licence="not stated",
        source="https://huggingface.co/datasets/sherryxzh/AoTBench",
        layout="data_files/<list>.json, or data/data_files/input/<list>.json\n<video_name>, a path in the lists",
        column="AoT",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "macro": Rule("The mean of the five lists instead of that over all questions."),
        "official": Rule(
            "The first character must be the letter, and an empty answer does not count.",
            first_character,
            counts_unread=False,
        ),
    }
    fields = frozenset(["qa_idx", "video_name", "question", "ans"])

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the rows of the five lists; one that is missing is left out."""
        found = False
        for name in PARTS:
            for path in (f"data_files/{name}.json", f"data/data_files/input/{name}.json"):
                if (data.root / path).exists():
                    found = True
                    yield from data.json_rows(path, list=name)
                    break
        if not found:
            data.find("data_files/AoTBench_QA.json", "data/data_files/input/AoTBench_QA.json")

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a question, which holds its options."""
        name = record.context["list"]
        question = record.text("question")
        video = record.text("video_name")
        copies = [video.removesuffix(PurePosixPath(video).suffix) + ending for ending in ENDINGS]
        return Row(
            id=f"{name}/{record.where.rpartition(' ')[2]}",
            template="as_published",
            question=question,
            answer=inside_answer(record, question, "ans"),
            answer_type="option",
            footage=(Footage(tuple(dict.fromkeys([video, *copies]))),),
            category=name,
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the questions, or with the rule `macro` the lists; then those of each part and of each list."""
        if rule == "macro":
            yield macro_figure("accuracy", list(by_category(marked).values()))
        else:
            yield mean_figure("accuracy", marked)
        for part in dict.fromkeys(PARTS.values()):
            members = [mark for mark in marked if PARTS.get(mark.category) == part]
            if len({mark.category for mark in members}) > 1:
                yield mean_figure("accuracy", members, part)
        yield from self.breakdown(marked)
