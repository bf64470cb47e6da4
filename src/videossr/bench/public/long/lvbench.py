"""LVBench (Wang et al., ICCV 2025): questions about 103 videos of an hour and more, which are fetched from YouTube."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, mean_figure, mean_figures, text_group
from videossr.bench.public.lettered import gold_of, identity, options_inside
from videossr.bench.public.official import first_in_brackets

_DOWNLOADED = "videos/00000.parquet"
"""The table that the official downloader writes: `key` is the name that it gave to the video of `url`."""

_YOUTUBE = re.compile(r"(?:v=|/)([\w-]{11})(?![\w.-])")

_BETWEEN = "; "


class LVBench(Benchmark[NoSettings]):
    """LVBench: videos by the id of YouTube, or as the official downloader names them."""

    facts = Facts(
        title="LVBench",
        domain="long",
        questions=1549,
        videos=103,
        metric="accuracy",
        licence="CC BY-NC-SA 4.0",
        source="https://huggingface.co/datasets/THUDM/LVBench",
        layout="video_info.meta.jsonl\nvideos/<key>.mp4\n"
        "or videos/00000.parquet and videos/00000/<number>.mp4, as the official downloader writes them",
        column="LVB",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule(
            "The first character counts, behind a bracket where there is one; a question without an answer leaves the "
            "denominator.",
            first_in_brackets,
            counts_unread=False,
        ),
    }

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the questions of each video, with its key and the name that the downloader gave to it."""
        names = _downloaded(data)
        for video in data.json_lines("video_info.meta.jsonl"):
            key, questions = video.fields.get("key"), video.fields.get("qa")
            context = {"key": key, "name": names.get(key, "")} if isinstance(key, str) else {}
            if not isinstance(questions, list):
                yield Record(video.where, {}, context, video.damage)
                continue
            for number, question in enumerate(questions, 1):
                fields = question if isinstance(question, Mapping) else {}
                yield Record(f"{video.where}, question {number}", fields, context)

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a question, which holds its options."""
        key = record.context.get("key", "")
        if not key:
            raise record.fault(record.damage or "key must be a text, and is missing")
        name = identity(record, "uid")
        question = record.text("question")
        options = options_inside(question)
        if not options:
            raise record.fault("question must end in lines labelled (A), (B), (C), …")
        types = record.texts("question_type")
        paths = [f"videos/{key}.mp4", f"{key}.mp4"]
        if record.context["name"]:
            paths.append(f"videos/00000/{record.context['name']}.mp4")
        return Row(
            id=name,
            template="choice_inside",
            question=question,
            answer=gold_of(record, options, "answer"),
            answer_type="option",
            footage=(Footage(paths=tuple(paths)),),
            category=types[0],
            groups={"types": _BETWEEN.join(types)},
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average all questions, and those of each type; a question counts in each of its types."""
        yield mean_figure("accuracy", marked)
        by_type: dict[str, list[Marked]] = {}
        for mark in marked:
            for kind in dict.fromkeys(text_group(mark, "types").split(_BETWEEN)):
                by_type.setdefault(kind, []).append(mark)
        yield from mean_figures("accuracy", by_type)


def _downloaded(data: Data) -> dict[str, str]:
    """Return the name that the downloader gave to the video of each key; nothing where it was not used."""
    if not (data.root / _DOWNLOADED).exists():
        return {}
    names = {}
    for record in data.parquet(_DOWNLOADED):
        match = _YOUTUBE.search(str(record.fields.get("url")))
        name = record.fields.get("key")
        if match and isinstance(name, str):
            names[match[1]] = name
    return names
