"""CVBench (2025): questions about two to four videos together. It has nothing to do with the CV-Bench of images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from videossr.answers.option import LETTERS, option_answer, single_line
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_group, mean_figure, mean_figures
from videossr.bench.public.lettered import options_of, split_label, split_options
from videossr.bench.public.official import right_letter

_OBJECTS, _EVENTS, _REASONING = "object association", "event association", "complex reasoning"

GROUPS: Mapping[str, str] = {
    "Cross-video Object Recognition": _OBJECTS,
    "Multi-video Attribute Recognition": _OBJECTS,
    "Joint-video Counting": _OBJECTS,
    "Cross-video Entity Matching": _OBJECTS,
    "Cross-video Anomaly Detection": _EVENTS,
    "Cross-video Scene Recognition": _EVENTS,
    "Multi-video Key-Action Recognition": _EVENTS,
    "Cross-video Event Retrieval": _EVENTS,
    "Multi-view Scene Understanding": _REASONING,
    "Multi-video Temporal Reasoning": _REASONING,
    "Joint-video Spatial Navigating": _REASONING,
    "Video Difference Caption": _REASONING,
    "Cross-video Counterfactual Reasoning": _REASONING,
    "Joint-video Summarization": _REASONING,
    "Cross-video Procedural Transfer": _REASONING,
}
"""The group of each task type."""

_PREFIX = re.compile(r"The (?:best|correct) (?:answer|option) is|The answer is|The answer|Best (?:answer|option):")
_YES_NO: tuple[str, ...] = ("Yes", "No")


def _published(gold: str) -> str:
    """Return the answer that the file states for a gold answer: Yes, No or a letter."""
    right = gold.partition("\n")[0]
    return right if right in _YES_NO else right_letter(gold)


def exact(text: str, gold: str) -> float:
    """Compare what stands in `<answer>`, or else the whole text, with the published answer, character by character."""
    match = re.search(r"<answer>(.*?)</answer>", text, re.DOTALL)
    said = match[1].strip() if match else ""
    return float((said or text.strip()) == _published(gold))


def first_mention(text: str, gold: str) -> float | None:
    """Compare the first A, B, C, D, yes or no, even within a word and in either case, with the published answer.

    A few phrases such as `The best answer is` are dropped before. The script compares in upper case what the file may
    state as `Yes`; here case does not matter.
    """
    match = re.search(r"[ABCD]|YES|NO", _PREFIX.sub("", text.strip()), re.IGNORECASE)
    return float(match[0].upper() == _published(gold).upper()) if match else None


class CVBench(Benchmark[NoSettings]):
    """CVBench: multiple choice, and yes or no."""

    facts = Facts(
        title="CVBench (cross-video)",
        domain="reasoning",
        questions=1000,
        videos=1315,
        metric="accuracy",
        licence="not stated",
        source="https://huggingface.co/datasets/Dongyh35/CVBench",
        layout="CVBench.json\nCVBench/<folder>/<video>.mp4",
        column="CVB",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule("What stands in <answer>, or the whole text, must be the published answer exactly.", exact),
        "lmms_eval": Rule("The first A, B, C, D, yes or no counts, even within a word, in either case.", first_mention),
    }
    odd: ClassVar[Mapping[str, str]] = {
        "223": "It asks for a letter, though its two options are yes and no.",
        "322": "It has two options only, with letters.",
        "386": "It has two options only, with letters.",
        "431": "Two of its options are labelled B.",
        "996": "All its options are published as one text.",
    }
    fields = frozenset(["id", "task_type", "video_1", "video_2", "video_3", "video_4", "question", "options", "answer"])

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the rows."""
        yield from data.json_rows(data.find("CVBench.json"))

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a question with all its videos; options that are yes and no without letters are asked as such."""
        task = record.text("task_type")
        videos = [record.optional_text(f"video_{place}") for place in range(1, 5)]
        footage = tuple(Footage((f"CVBench/{video}",)) for video in videos if video)
        if not footage:
            raise record.fault("it names no video")
        published = record.texts("options")
        stated = record.text("answer").strip().rstrip(".").strip()
        bare = _yes_or_no(published)
        if bare:
            if stated.capitalize() not in _YES_NO:
                raise record.fault(f"answer {stated!r:.80} is neither yes nor no")
            options, right = _YES_NO, _YES_NO.index(stated.capitalize())
        else:
            options, right = _choices(record, published, stated)
        return Row(
            id=str(record.integer("id")),
            template="yes_or_no" if bare else "choice",
            question=record.text("question").strip(),
            answer=option_answer(options, right),
            answer_type="option",
            footage=footage,
            category=task,
            options=options,
            groups={"group": GROUPS[task]} if task in GROUPS else {},
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the questions, then each of the three groups and each task type."""
        yield mean_figure("accuracy", marked)
        yield from mean_figures("accuracy", by_group(marked, "group"))
        yield from self.breakdown(marked)


def _yes_or_no(options: Sequence[str]) -> bool:
    """Tell whether the options are yes and no, without letters."""
    return sorted(option.strip().rstrip(".").strip().lower() for option in options) == ["no", "yes"]


def _choices(record: Record, published: Sequence[str], answer: str) -> tuple[tuple[str, ...], int]:
    """Return the options with their letters, and which of them the answer's letter means. Raises RowError."""
    lines = [single_line(option) for option in published]
    if len(lines) == 1:
        lines = split_options(lines[0])
    parts = [split_label(line) for line in lines]
    labels = [label for label, _ in parts]
    if len(lines) > 1 and all(labels) and answer in labels:
        return tuple(single_line(f"{label}. {text}") for label, text in parts), labels.index(answer)
    # Letters that lack, or that skip the answer's, say nothing: the answer means a place.
    options = options_of(record, [text for _, text in parts])
    if len(options) < 2 or len(answer) != 1 or answer not in LETTERS[: len(options)]:
        raise record.fault(f"answer {answer!r:.80} is none of the options")
    return options, LETTERS.index(answer)
