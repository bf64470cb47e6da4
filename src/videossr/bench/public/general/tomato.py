"""TOMATO (Shangguan et al., 2024): temporal reasoning about short clips, multiple choice with 3 to 7 options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from videossr.answers.option import option_answer
from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_group, mean_figures
from videossr.bench.public.lettered import options_of
from videossr.bench.public.official import right_letter

TYPES = ("count", "direction", "rotation", "shape&trend", "velocity&frequency", "visual_cues")
"""Names of the files, which are the types of reasoning."""

_ANSWER = re.compile(r"Answer is:?\(?([A-Fa-f])\)?")


def plain_letter(text: str, gold: str) -> float | None:
    """Score what the official script reads by itself: a letter, `Answer is:B`, or an option such as `B: 2`.

    An option with small letters is not read, since the script compares it in capitals. It asks a judge about any other
    text, and then guesses; here such a text cannot be read.
    """
    said = text.strip()
    options = {line[0]: line.partition(". ")[2] for line in gold.splitlines()[1:]}
    if said.upper() in options:
        return float(said.upper() == right_letter(gold))
    if said.upper() in {f"{letter}: {option}" for letter, option in options.items()}:
        return float(said[0].upper() == right_letter(gold))
    match = _ANSWER.fullmatch(said)
    return float(match[1].upper() == right_letter(gold)) if match else None


class TOMATO(Benchmark[NoSettings]):
    """TOMATO: six files, one for each type of reasoning."""

    facts = Facts(
        title="TOMATO",
        domain="general",
        questions=1484,
        videos=None,
        metric="accuracy",
        licence="not stated",
        source="https://github.com/yale-nlp/TOMATO",
        layout="data/<type>.json\nvideos/<human, object or simulated>/<key>.mp4",
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule("Only a bare letter or one after `Answer is` counts; there is no judge here.", plain_letter)
    }

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the rows of the six files; a type whose file is missing is left out."""
        present = [kind for kind in TYPES if (data.root / f"data/{kind}.json").exists()]
        if not present:
            data.find(f"data/{TYPES[0]}.json")
        for kind in present:
            table = data.json_table(f"data/{kind}.json")
            for name, record in zip(table, data.records(f"data/{kind}.json", table.values()), strict=True):
                yield Record(record.where, record.fields, {"type": kind, "id": name})

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a question, whose answer is the place of the right option, from 0."""
        kind = record.context["type"]
        options = options_of(record, record.texts("options"))
        right = record.integer("answer")
        if not 0 <= right < len(options):
            raise record.fault(f"answer {right} is the place of none of {len(options)} options")
        shown_by = record.text("demonstration_type")
        return Row(
            id=f"{kind}/{record.context['id']}",
            template="choice",
            question=record.text("question"),
            answer=option_answer(options, right),
            answer_type="option",
            footage=(Footage((f"videos/{shown_by}/{record.text('key')}.mp4",)),),
            category=kind,
            options=options,
            groups={"demonstration": shown_by},
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average the questions, those of each type of reasoning, and those of each kind of demonstration."""
        yield from super().figures(marked, rule)
        yield from mean_figures("accuracy", by_group(marked, "demonstration"), "demonstration: ")
