"""Charades-STA (Gao et al., ICCV 2017): find the moment that a sentence describes in a video of half a minute."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from videossr.answers.windows import read_windows, score_windows, window_answer
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, span_figures
from videossr.bench.public.grounding.gold import CATEGORY, RELEASED, gold_windows

_NUMBER = r"\d+(?:\.\d+)?"
_LINE = re.compile(rf"(\S+)\s+({_NUMBER})\s+({_NUMBER})\s*##(.*\S.*)")
_LENGTHS = "Charades_v1_test.csv"


def clipped_overlap(text: str, gold: str, length: float) -> float:
    """Compute the overlap with the gold window up to the end of a video; 0 for a window that starts behind it."""
    windows = [(start, min(end, length)) for start, end in read_windows(gold) if start < length]
    return score_windows(text, window_answer(windows)).smooth if windows else 0.0


class Charades(Benchmark[NoSettings]):
    """Charades-STA: the test split."""

    facts = Facts(
        title="Charades-STA",
        domain="grounding",
        questions=3720,
        videos=1334,
        metric="mIoU",
        licence="not stated",
        source="https://github.com/jiyanggao/TALL",
        layout="charades_sta_test.txt\nCharades_v1_test.csv, of which only the rule `clipped` needs the lengths\n"
        "Charades_v1_480/<id>.mp4",
        column="Cha",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "released": RELEASED,
        "clipped": Rule(f"A gold window ends where the video does, by the length that {_LENGTHS} states."),
    }

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the lines, with the length of the video where the table of lengths is there."""
        name = data.find("charades_sta_test.txt")
        lengths: dict[str, float] = {}
        if (data.root / _LENGTHS).exists():
            for record in data.csv(_LENGTHS):
                length = record.optional_text("length").strip()
                if re.fullmatch(_NUMBER, length):
                    lengths[record.optional_text("id")] = float(length)
        seen: Counter[str] = Counter()
        for where, line in data.lines(name):
            match = _LINE.fullmatch(line.strip())
            if match is None:
                yield Record(where, {"line": line})
                continue
            video = match[1]
            seen[video] += 1
            fields = {
                "windows": [[float(match[2]), float(match[3])]],
                "sentence": match[4],
                "length": lengths.get(video),
            }
            yield Record(where, fields, {"video": video, "query": str(seen[video])})

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a line; the gold window stays as it is published, though many end behind the video."""
        if "line" in record.fields:
            raise record.fault(f"a line must be `video start end##sentence`, got {record.fields['line']!r:.80}")
        video = record.context["video"]
        length = None if record.fields["length"] is None else record.number("length")
        return Row(
            id=f"{video}/{record.context['query']}",
            template="span",
            question=record.text("sentence").strip(),
            answer=gold_windows(record, record.spans("windows")),
            answer_type="windows",
            footage=(Footage((f"Charades_v1_480/{video}.mp4", f"videos/{video}.mp4")),),
            category=CATEGORY,
            groups={} if length is None else {"length": length},
            seconds=length,
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the overlaps; by the rule `clipped`, with gold windows that end where their video does."""
        if rule == "clipped" and not any("length" in mark.groups for mark in marked):
            raise ValueError(f"no length of a video is known; put {_LENGTHS} beside the annotations")
        yield from span_figures([_clipped(mark) for mark in marked] if rule == "clipped" else marked)


def _clipped(mark: Marked) -> Marked:
    """Score an answer again against the clipped gold window, if the length of the video is known."""
    length = mark.groups.get("length")
    if not isinstance(length, int | float):
        return mark
    return replace(mark, value=clipped_overlap(mark.text, mark.answer, length))
