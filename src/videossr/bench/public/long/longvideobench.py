"""LongVideoBench (Wu et al., NeurIPS 2024), validation set without subtitles: questions that refer to a moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from videossr.answers.option import option_answer
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, mean_figure, mean_figures, number_group, sort_by
from videossr.bench.public.lettered import options_of
from videossr.bench.public.official import capital_reader

_FILES = ("lvb_val.json", "validation-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet")

_PADDING = "N/A"
"""Stands in the Parquet file for an option that a question does not have."""

_SHORT = 19
"""Length of the names of videos whose ids start with `@`: the last characters of the id."""


first_letter = capital_reader("ABCDE")
"""Scores as the official script does, which draws a letter where there is none."""


class LongVideoBench(Benchmark[NoSettings]):
    """LongVideoBench: the JSON file of the validation set, or its Parquet file, where that is not there."""

    facts = Facts(
        title="LongVideoBench (val, no subtitles)",
        domain="long",
        questions=1337,
        videos=753,
        metric="accuracy",
        licence="CC BY-NC-SA 4.0",
        source="https://huggingface.co/datasets/longvideobench/LongVideoBench",
        layout="lvb_val.json\nvideos/<video_path>, with the tar file joined and unpacked",
        column="LongVB",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule(
            "The first capital A to E anywhere in the answer counts; the official script draws a random option where "
            "there is none, and here such an answer is wrong.",
            first_letter,
        ),
    }
    fields = frozenset(
        ["video_id", "question", "question_wo_referring_query", "candidates", "correct_choice", "position"]
        + ["topic_category", "question_category", "level", "id", "video_path", "subtitle_path", "duration_group"]
        + ["starting_timestamp_for_subtitles", "duration", "view_count"]
        + [f"option{number}" for number in range(5)]
    )

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the rows of the file."""
        name = data.find(*_FILES)
        yield from data.parquet(name) if name.endswith(".parquet") else data.json_rows(name)

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a question, which is about the first `duration` seconds of the file."""
        candidates = record.texts("candidates") if "candidates" in record.fields else _padded(record)
        right = record.integer("correct_choice")
        if not 0 <= right < len(candidates):
            raise record.fault(f"correct_choice {right} is the place of none of the {len(candidates)} options")
        options = options_of(record, candidates)
        path = PurePosixPath(record.text("video_path"))
        paths = [f"videos/{path}"]
        if path.name.startswith("@"):
            paths.append(f"videos/{path.with_name(path.stem[-_SHORT:] + path.suffix)}")
        return Row(
            id=record.text("id"),
            template="choice",
            question=record.text("question"),
            answer=option_answer(options, right),
            answer_type="option",
            footage=(Footage(paths=tuple(paths), end=record.number("duration")),),
            category=record.text("question_category"),
            options=options,
            groups={"duration_group": record.integer("duration_group")},
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average all questions, and those of each group of lengths and each category."""
        yield mean_figure("accuracy", marked)
        lengths = sort_by(
            sorted(marked, key=lambda mark: number_group(mark, "duration_group")),
            lambda mark: f"up to {number_group(mark, 'duration_group'):g} s",
        )
        yield from mean_figures("accuracy", lengths)
        yield from self.breakdown(marked)


def _padded(record: Record) -> tuple[str, ...]:
    """Return the options of a row of the Parquet file, without those that fill it up."""
    values = [record.optional_text(f"option{number}") for number in range(5)]
    options = tuple(value for value in values if value not in ("", _PADDING))
    if not options:
        raise record.fault("candidates must be a list of texts, or option0 to option4 must be texts")
    return options
