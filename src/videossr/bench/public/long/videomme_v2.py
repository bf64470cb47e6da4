"""Video-MME-v2 (arXiv 2604.05015): four questions about each of 800 videos, which are scored as one group.

A group of type relevance asks about the same ability; one of type logic is a chain in which each step rests on those
before it, so that what follows the first error earns nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import (
    Figure,
    Marked,
    by_group,
    group_figure,
    mean_figure,
    number_group,
    sort_by,
    text_group,
)
from videossr.bench.public.lettered import gold_of, options_inside
from videossr.bench.public.official import capital_reader
from videossr.storage.parsing import parse_json

SIZE = 4
"""Questions of a group."""

CHAINS: Mapping[str, tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]] = {
    "[1, 2, 3, 4]": (((0,), (1,), (2,), (3,)), (0, 1, 4, 9, 16)),
    "[1, [2, 3], 4]": (((0,), (1, 2), (3,)), (0, 1, 4, 7, 12)),
    "[[1, 2], 3, 4]": (((0, 1), (2,), (3,)), (0, 1, 2, 5, 10)),
}
"""For each form of a chain, its steps, and the points that 0 to 4 questions before the first error earn.

The questions of one step may be right in either order.
"""

_PHRASES = ("Final Answer:", "Best answer:", "Best option:", "Answer:")
"""What the official script takes out of an answer before it looks for a letter, as far as that holds one itself."""


def relevance(right: Sequence[bool]) -> float:
    """Score a group of type relevance: the square of the share of right answers."""
    return (sum(right) / len(right)) ** 2


def logic(right: Sequence[bool], structure: str) -> float:
    """Score a group of type logic by its answers in their order and the form of its chain, see `CHAINS`."""
    steps, points = CHAINS[structure]
    reached = 0
    for step in steps:
        found = sum(right[place] for place in step)
        reached += found
        if found < len(step):
            break
    return points[reached] / points[-1]


first_letter = capital_reader("ABCDEFGH", _PHRASES)
"""Scores as the official script does."""


class VideoMMEv2(Benchmark[NoSettings]):
    """Video-MME-v2 without subtitles. A group that lacks a question, as under a limit, is in no score of groups."""

    facts = Facts(
        title="Video-MME-v2 (no subtitles)",
        domain="long",
        questions=3200,
        videos=800,
        metric="mean score of the groups of four questions",
        licence="academic research only, not to be passed on",
        source="https://huggingface.co/datasets/MME-Benchmarks/Video-MME-v2",
        layout="test.parquet\n<video_id>.mp4, with the zip files unpacked",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule("The first capital A to H anywhere in the answer counts.", first_letter),
    }
    fields = frozenset(
        [
            "video_id",
            "url",
            "group_type",
            "group_structure",
            "question_id",
            "question",
            "options",
            "answer",
            "level",
            "second_head",
            "third_head",
        ]
    )

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the rows of the file."""
        yield from data.parquet(data.find("test.parquet", "data/test.parquet"))

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a question, whose options are the lines of one text."""
        video, name = record.text("video_id"), record.text("question_id")
        place = name.rpartition("-")[2]
        if place not in ("1", "2", "3", "4"):
            raise record.fault(f"question_id {name!r:.40} does not end in the place in the group, -1 to -4")
        lines = [line.strip() for line in record.text("options").splitlines() if line.strip()]
        options = options_inside("\n".join(lines))
        if not options:
            raise record.fault("options must be lines labelled A., B., C., …")
        kind = record.text("group_type")
        if kind not in ("relevance", "logic"):
            raise record.fault(f"group_type {kind!r:.40} is neither relevance nor logic")
        groups: dict[str, float | str] = {"group": video, "place": int(place), "type": kind}
        if kind == "logic":
            groups["structure"] = _structure(record)
        groups |= {
            group: str(value)
            for group, field in (("level", "level"), ("head", "second_head"))
            if (value := record.fields.get(field)) is not None
        }
        return Row(
            id=name,
            template="choice",
            question=record.text("question"),
            answer=gold_of(record, options, "answer"),
            answer_type="option",
            footage=(Footage(paths=(f"{video}.mp4", f"videos/{video}.mp4")),),
            category=kind,
            options=options if len(options) == len(lines) else tuple(lines),
            groups=groups,
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the complete groups, all of them and by type, level and second head, and then the questions.

        A group belongs to the level and the second head of its last question.
        """
        videos = sort_by(sorted(marked, key=_place), lambda mark: text_group(mark, "group")).values()
        groups = [group for group in videos if [_place(mark) for mark in group] == list(range(1, SIZE + 1))]
        if groups:
            yield group_figure("group score", groups, _score)
        for field, scope in (("type", ""), ("level", "level "), ("head", "second head: ")):
            by_value: dict[str, list[list[Marked]]] = {}
            for group in groups:
                if field in group[-1].groups:
                    by_value.setdefault(str(group[-1].groups[field]), []).append(group)
            for value in sorted(by_value):
                yield group_figure("group score", by_value[value], _score, scope + value)
        yield mean_figure("accuracy", marked)
        for field, scope in (("type", ""), ("level", "level "), ("head", "second head: ")):
            for value, marks in sorted(by_group(marked, field).items()):
                yield mean_figure("accuracy", marks, scope + value)


def _structure(record: Record) -> str:
    """Return the form of a chain as `CHAINS` spells it. Raises RowError where it is none of these."""
    text = record.text("group_structure")
    try:
        form = json.dumps(parse_json(text))
    except ValueError:
        form = text
    if form not in CHAINS:
        raise record.fault(f"group_structure {text!r:.40} is none of {', '.join(CHAINS)}")
    return form


def _place(mark: Marked) -> int:
    """Return the place of a question in its group, from 1."""
    return int(number_group(mark, "place"))


def _score(group: Sequence[Marked]) -> float:
    """Score a complete group, in the order of its questions."""
    right = [mark.read and mark.value == 1.0 for mark in group]
    if text_group(group[0], "type") == "relevance":
        return relevance(right)
    structure = text_group(group[0], "structure")
    if structure not in CHAINS:
        raise ValueError(f"question {group[0].id}: group structure {structure!r:.40} is none of {', '.join(CHAINS)}")
    return logic(right, structure)
