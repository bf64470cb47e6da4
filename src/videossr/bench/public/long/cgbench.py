"""CG-Bench (Chen et al., ICLR 2025), the subset of 3,000: questions about long videos, and where their clues lie."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from videossr.answers.option import labelled
from videossr.answers.windows import Window, score_moments, window_answer
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, Row, Rule, by_group
from videossr.bench.public.figures import Figure, Marked, mean_figure
from videossr.bench.public.lettered import gold_of
from videossr.bench.public.official import right_letter


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class CGBenchSettings:
    """What is asked of CG-Bench.

    Attributes:
        ask: `answer` for the right option (the published long_acc, which the paper has), or `clue` for the stretches of
            the video that one has to see to answer (the published mIoU).
    """

    ask: Literal["answer", "clue"] = "answer"


def official(text: str, gold: str) -> float | None:
    """Score as the official script does.

    The `result` of a fenced block of JSON counts where there is one. Else an option is right if its letter is among all
    the capitals A to H that stand alone, and the numbers of a text are the starts and ends of stretches in turn.
    A text without a letter, or with an odd number of numbers, is not counted.
    """
    result = _fenced(text)
    if gold[0].isdigit():
        stretches = _pairs(result) if result is not None else None
        if stretches is None:
            numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", text)]
            stretches = list(zip(numbers[::2], numbers[1::2], strict=True)) if len(numbers) % 2 == 0 else None
        return None if stretches is None else _overlap(stretches, gold)
    if result is not None:
        return float(result == right_letter(gold))
    letters = re.findall(r"\b[A-H]\b", text)
    return float(right_letter(gold) in letters) if letters else None


class CGBench(Benchmark[CGBenchSettings]):
    """CG-Bench: the file of 3,000 questions, not the full one."""

    facts = Facts(
        title="CG-Bench (3k)",
        domain="long",
        questions=3000,
        videos=1118,
        metric="accuracy (long_acc); with ask=clue mIoU",
        licence="academic use, by the terms on the hub",
        source="https://huggingface.co/datasets/CG-Bench/CG-Bench",
        layout="cgbench_mini.json\ncg_videos_720p/<video_uid>.mp4, with the zip files merged and unpacked",
        column="CGB",
        tokens=128,
    )
    Settings = CGBenchSettings
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule(
            "An option is right if its letter is among all capitals A to H that stand alone in the answer; an answer "
            "without any leaves the denominator.",
            official,
            counts_unread=False,
        ),
    }
    fields = frozenset(
        [
            "qid",
            "video_uid",
            "question",
            "answer",
            "choices",
            "right_answer",
            "clue_intervals",
            "domain",
            "sub_category",
            "duration",
        ]
    )

    def records(self, data: Data, settings: CGBenchSettings) -> Iterator[Record]:
        """Yield the rows of the file."""
        yield from data.json_rows(data.find("cgbench_mini.json"))

    def row(self, record: Record, settings: CGBenchSettings) -> Row:
        """Read a question; `right_answer` tells the right option, since some rows have equal choices."""
        options = labelled(record.texts("choices"))
        clue = settings.ask == "clue"
        return Row(
            id=str(record.integer("qid")),
            template="moments" if clue else "choice",
            question=record.text("question"),
            answer=_clues(record) if clue else gold_of(record, options, "right_answer"),
            answer_type="moments" if clue else "option",
            footage=(Footage(paths=(f"cg_videos_720p/{record.text('video_uid')}.mp4",)),),
            category=record.text("sub_category"),
            options=options,
            groups={"domain": record.text("domain")},
            seconds=record.number("duration"),
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average all questions, and those of each domain and kind of task: accuracy, or mIoU where clues are asked."""
        name = "mIoU" if any(mark.answer[0].isdigit() for mark in marked) else "accuracy"
        yield mean_figure(name, marked)
        for field, scope in (("domain", "domain: "), ("", "")):
            groups = by_group(marked, field) if field else _by_category(marked)
            if len(groups) > 1:
                for value, marks in groups.items():
                    yield mean_figure(name, marks, scope + value)


def _by_category(marked: Sequence[Marked]) -> dict[str, list[Marked]]:
    """Sort scored answers by the kind of task."""
    found: dict[str, list[Marked]] = {}
    for mark in marked:
        found.setdefault(mark.category, []).append(mark)
    return found


def _clues(record: Record) -> str:
    """Return the gold answer of the clues, joined where they touch or overlap. Raises RowError for an inverted one."""
    merged: list[Window] = []
    for start, end in sorted(record.spans("clue_intervals")):
        if start < 0 or end < start:
            raise record.fault(f"clue_intervals must start at 0 or later and before they end, got {start:g} to {end:g}")
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return window_answer(merged)


def _fenced(text: str) -> object:
    """Return the `result` of the first fenced block of JSON; None where there is none or it is damaged."""
    match = re.search(r"```json(.*?)```", text, re.DOTALL)
    if not match:
        return None
    # The script accepts a bare word as a value: {"result": B}.
    content = re.sub(r"(?<=:\s)([A-Za-z_]\w*)", r'"\1"', match[1])
    try:
        block = json.loads(content)
    except ValueError:
        return None
    return block.get("result") if isinstance(block, dict) else None


def _pairs(result: object) -> list[Window] | None:
    """Return a list of pairs of numbers as stretches; None where it is something else."""
    if not isinstance(result, list):
        return None
    pairs = [tuple(pair) for pair in result if isinstance(pair, list) and len(pair) == 2]
    if len(pairs) < len(result) or not all(isinstance(end, int | float) for pair in pairs for end in pair):
        return None
    return [(float(start), float(end)) for start, end in pairs]


def _overlap(stretches: Sequence[Window], gold: str) -> float:
    """Return the overlap of the unions; a stretch that ends before it starts is none."""
    kept = [(start, end) for start, end in stretches if 0 <= start <= end]
    return score_moments(window_answer(kept), gold).smooth if kept else 0.0
