"""TempCompass (Liu et al., ACL 2024): five temporal aspects of short clips, asked in several formats.

The three formats that rules can score are asked; captioning needs a judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal, TypeAlias

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from videossr.answers.option import option_answer, single_line
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_category, by_group, macro_figure, mean_figure, mean_figures

Format: TypeAlias = Literal["multi-choice", "yes_no", "caption_matching"]

FORMATS: tuple[Format, ...] = ("multi-choice", "yes_no", "caption_matching")

SIZES: Mapping[Format, int] = {"multi-choice": 1580, "yes_no": 2453, "caption_matching": 1503}
"""Published number of questions of each format; each is about all videos."""


def official(text: str, gold: str) -> float | None:
    """Score by the rules of the official scripts; a text that they would put to a judge cannot be read.

    Multiple choice: the right line, a bare letter A to D, or one with a dot or a bracket behind it at the start.
    Yes or no: the start of the text in lower case. Matching: an option as it is shown, its sentence, or its label, with
    or without the word in front of it, where dots do not count.
    """
    said = text.replace("</s>", "").strip()
    right, *lines = gold.splitlines()
    if lines == ["yes", "no"]:
        found = next((word for word in lines if said.lower().startswith(word)), None)
        return None if found is None else float(found == right)
    if not right[1:].startswith("."):
        chosen = {line for line in lines if _matches(said, line)}
        return float(right in chosen) if chosen else None
    if said == right:
        return 1.0
    if said in {"A", "B", "C", "D"} or (said[:1] in {"A", "B", "C", "D"} and said[1:2] in {".", ")"}):
        return float(said[0] == right[0])
    return None


def _matches(said: str, line: str) -> bool:
    """Tell whether a text is an option of matching, its sentence, or its label."""
    label, _, sentence = line.partition(": ")
    labels = {label, label.rpartition(" ")[2]}
    behind = said.split(") ")[1] if ") " in said else said
    return said in {line, sentence} or behind == sentence or bool(labels & {said, said.replace(".", "")})


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class TempCompassSettings:
    """What is asked.

    Attributes:
        formats: of the questions.
    """

    formats: tuple[Format, ...] = FORMATS


class TempCompass(Benchmark[TempCompassSettings]):
    """TempCompass: the files of its authors' repository, or those of the hub, one folder a format."""

    facts = Facts(
        title="TempCompass",
        domain="general",
        questions=5536,
        videos=410,
        metric="accuracy over the questions of all formats",
        licence="CC BY-NC 4.0",
        source="https://github.com/llyx97/TempCompass",
        layout="questions/<format>.json, or <format>/test-00000-of-00001.parquet\nvideos/<video_id>.mp4",
        column="TempC",
    )
    Settings = TempCompassSettings
    rules: ClassVar[Mapping[str, Rule]] = {
        "macro": Rule("The mean of the formats instead of that over all questions."),
        "official": Rule("The rules of the official scripts, without their judge.", official),
    }
    fields = frozenset(["video_id", "question", "answer", "dim"])

    def size(self, settings: TempCompassSettings) -> tuple[int, int | None]:
        """Return the published numbers of the formats that are asked."""
        return sum(SIZES[format_] for format_ in set(settings.formats)), self.facts.videos

    def records(self, data: Data, settings: TempCompassSettings) -> Iterator[Record]:
        """Yield the questions format by format, each with its number among those of its clip and aspect."""
        for format_ in FORMATS:
            if format_ in settings.formats:
                name = data.find(f"questions/{format_}.json", f"{format_}/test-00000-of-00001.parquet")
                rows = data.parquet(name) if name.endswith(".parquet") else _flat(data, name)
                seen: Counter[tuple[str, str]] = Counter()
                for record in rows:
                    place = (str(record.fields.get("video_id")), str(record.fields.get("dim")))
                    seen[place] += 1
                    yield Record(record.where, record.fields, {"format": format_, "number": str(seen[place])})

    def row(self, record: Record, settings: TempCompassSettings) -> Row:
        """Read a question. Its options are its lines after the first; the answer is one of them, or yes or no."""
        format_ = record.context["format"]
        video, aspect = record.text("video_id"), record.text("dim")
        question, answer = record.text("question"), single_line(record.text("answer"))
        stem, *lines = question.splitlines()
        options = ["yes", "no"] if format_ == "yes_no" else [single_line(line) for line in lines if line.strip()]
        if answer not in options:
            raise record.fault(f"answer {answer!r:.80} is none of the options")
        matching = format_ == "caption_matching"
        templates = {"multi-choice": "choice_inside", "yes_no": "yes_or_no", "caption_matching": "label"}
        return Row(
            id=f"{format_}/{video}/{aspect}/{record.context['number']}",
            template=templates[format_],
            question=stem if matching else question,
            answer=option_answer(options, options.index(answer)),
            answer_type="option",
            footage=(Footage((f"videos/{video}.mp4",)),),
            category=format_,
            options=tuple(options) if matching else (),
            groups={"aspect": aspect},
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the questions, or with the rule `macro` the formats; then those of each format and each aspect."""
        formats = by_category(marked)
        if rule == "macro":
            yield macro_figure("accuracy", list(formats.values()))
        else:
            yield mean_figure("accuracy", marked)
        yield from mean_figures("accuracy", formats)
        yield from mean_figures("accuracy", by_group(marked, "aspect"))
        for format_, marks in formats.items():
            yield from mean_figures("accuracy", by_group(marks, "aspect"), f"{format_}, ")


def _flat(data: Data, name: str) -> Iterator[Record]:
    """Yield the questions of a file that sorts them by clip and aspect, as the rows of the hub have them."""
    for video, aspects in data.json_table(name).items():
        for aspect, questions in aspects.items() if isinstance(aspects, Mapping) else [("", aspects)]:
            listed = questions if isinstance(questions, list) else [questions]
            for number, question in enumerate(listed, 1):
                fields = question if isinstance(question, Mapping) else {}
                where = f"{data.root / name}, clip {video}, {aspect} {number}"
                yield Record(where, {**fields, "video_id": video, "dim": aspect})
