"""CG-Bench (Chen et al., ICLR 2025), the subset of 3,000: questions about long videos, and where their clues lie."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from videossr.answers.windows import Window, merge_windows, score_moments, window_answer
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_category, by_group, mean_figure, mean_figures
from videossr.bench.public.lettered import gold_of, options_of
from videossr.bench.public.official import right_letter
from videossr.storage.parsing import parse_json


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
    A text without a letter, or without numbers or with an odd number of them, is not counted, nor one with a number
    beyond all bounds.
    """
    result = _fenced(text)
    if gold[0].isdigit():
        pairs = _pairs(result) if result is not None else None
        if pairs is None:
            numbers = re.findall(r"-?\d+\.?\d*", text)
            pairs = list(zip(numbers[::2], numbers[1::2], strict=True)) if numbers and len(numbers) % 2 == 0 else None
        stretches = None if pairs is None else _finite(pairs)
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

    def size(self, settings: CGBenchSettings) -> tuple[int | None, int | None]:
        """Return the published numbers; each question has an answer and a clue."""
        return self.facts.questions, self.facts.videos

    def records(self, data: Data, settings: CGBenchSettings) -> Iterator[Record]:
        """Yield the rows of the file."""
        yield from data.json_rows(data.find("cgbench_mini.json"))

    def row(self, record: Record, settings: CGBenchSettings) -> Row:
        """Read a question; `right_answer` tells the right option, since some rows have equal choices."""
        options = options_of(record, record.texts("choices"))
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
            groups = by_group(marked, field) if field else by_category(marked)
            if len(groups) > 1:
                yield from mean_figures(name, groups, scope)


def _clues(record: Record) -> str:
    """Return the gold answer of the clues, joined where they touch or overlap. Raises RowError for an inverted one."""
    clues = record.spans("clue_intervals")
    for start, end in clues:
        if not 0 <= start <= end:
            raise record.fault(f"clue_intervals must start at 0 or later and before they end, got {start:g} to {end:g}")
    return window_answer(merge_windows(clues))


def _fenced(text: str) -> object:
    """Return the `result` of the first fenced block of JSON; None where there is none, or it is damaged or too deep."""
    match = re.search(r"```json(.*?)```", text, re.DOTALL)
    if not match:
        return None
    # The script accepts a bare word as a value: {"result": B}.
    content = re.sub(r"(?<=:\s)([A-Za-z_]\w*)", r'"\1"', match[1])
    try:
        block = parse_json(content)
    except ValueError:
        return None
    return block.get("result") if isinstance(block, dict) else None


def _pairs(result: object) -> list[tuple[float, float]] | None:
    """Return a list of pairs of numbers; None where it is something else."""
    if not isinstance(result, list):
        return None
    pairs = [(pair[0], pair[1]) for pair in result if isinstance(pair, list) and len(pair) == 2]
    if len(pairs) < len(result) or not all(isinstance(end, int | float) for pair in pairs for end in pair):
        return None
    return pairs


def _finite(pairs: Sequence[tuple[float | str, float | str]]) -> list[Window] | None:
    """Return pairs of numbers, or of their digits, as stretches; None where a float cannot hold one of them."""
    try:
        stretches = [(float(start), float(end)) for start, end in pairs]
    except OverflowError:
        return None
    return stretches if all(math.isfinite(end) for stretch in stretches for end in stretch) else None


def _overlap(stretches: Sequence[Window], gold: str) -> float:
    """Return the overlap of the unions; a stretch that ends before it starts is none."""
    kept = [(start, end) for start, end in stretches if 0 <= start <= end]
    return score_moments(window_answer(kept), gold).smooth if kept else 0.0
