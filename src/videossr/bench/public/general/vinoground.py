"""VinoGround (Zhang et al., 2024): pairs of short clips and captions that differ in their order in time alone.

The text score asks which of two captions a clip shows, and the video score which of two clips, shown one after the
other, a caption is about. A pair is right when both its questions are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_category, group_figure, mean_figure, sort_by, text_group
from videossr.bench.public.lettered import inside_answer
from videossr.bench.public.official import right_letter

FOLDERS: Mapping[str, str] = {"text": "vinoground_videos", "video": "vinoground_videos_concated"}
"""Where the clips of each score lie, and in other copies of the set the list of its questions, too."""


def first_of_either_case(text: str, gold: str) -> float:
    """Score as the official script does: the first character, of either case, with nothing stripped."""
    return float(text[:1].upper() == right_letter(gold))


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class VinoGroundSettings:
    """What is asked.

    Attributes:
        score: the questions of the text score, of the video score, or both, which the group score needs.
    """

    score: Literal["text", "video", "both"] = "text"


class VinoGround(Benchmark[VinoGroundSettings]):
    """VinoGround: 500 pairs. A pair that lacks a question, as under a limit, is in no score that needs it."""

    facts = Facts(
        title="VinoGround",
        domain="general",
        questions=1000,
        videos=1000,
        metric="text score: the share of pairs whose two questions about captions are right",
        licence="none: the authors took it back in 2026",
        source="https://huggingface.co/datasets/HanSolo9682/Vinoground",
        layout="vinoground.csv\n"
        "vinoground_textscore.json, here or in vinoground_videos\n"
        "vinoground_videoscore.json, here or in vinoground_videos_concated\n"
        "vinoground_videos/<idx>.mp4\n"
        "vinoground_videos_concated/<idx>.mp4",
        column="Vino",
    )
    Settings = VinoGroundSettings
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule("The first character of the answer, in either case, must be the letter.", first_of_either_case)
    }
    fields = frozenset(["idx", "video_name", "question", "GT"])

    def size(self, settings: VinoGroundSettings) -> tuple[int, int | None]:
        """Return the published numbers; that of the videos is known for the text score alone."""
        questions = 2000 if settings.score == "both" else 1000
        return questions, self.facts.videos if settings.score == "text" else None

    def records(self, data: Data, settings: VinoGroundSettings) -> Iterator[Record]:
        """Yield the questions of the scores that are asked, with the categories that the table tells of their pair."""
        categories: dict[str, dict[str, str]] = {}
        for record in data.csv(data.find("vinoground.csv")):
            categories[record.optional_text("index").strip()] = {
                "major": record.optional_text("major").strip(),
                "minor": record.optional_text("minor").strip(),
            }
        for score, folder in FOLDERS.items():
            if settings.score in (score, "both"):
                name = f"vinoground_{score}score.json"
                for record in data.json_rows(data.find(name, f"{folder}/{name}"), score=score):
                    pair = str(record.fields.get("idx")).rpartition("_")[0]
                    yield Record(record.where, record.fields, {**record.context, **categories.get(pair, {})})

    def row(self, record: Record, settings: VinoGroundSettings) -> Row:
        """Read a question. Its `idx` names its pair and its side of it, wherever the row stands."""
        name = record.text("idx")
        pair, _, side = name.rpartition("_")
        if not pair or side not in ("pos", "neg"):
            raise record.fault(f"idx must be a pair and its side, such as 17_pos, got {name!r:.80}")
        question = record.text("question")
        score = record.context["score"]
        major = record.context.get("major", "")
        return Row(
            id=f"{score}/{name}",
            template="choice_inside",
            question=question,
            answer=inside_answer(record, question, "GT"),
            answer_type="option",
            footage=(Footage((record.text("video_name"),)),),
            category=major or "other",
            groups={"score": score, "pair": pair, "side": side, "minor": record.context.get("minor", "")},
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Count the pairs that are right as a whole, in all and in each major and minor category.

        The mean over the questions comes last, so that it is the headline only where no pair is complete.
        """
        yield from _pairs(marked)
        for major, marks in by_category(marked).items():
            yield from _pairs(marks, f"major: {major}")
        minors = dict.fromkeys(name for mark in marked for name in _minors(mark))
        for minor in minors:
            yield from _pairs([mark for mark in marked if minor in _minors(mark)], f"minor: {minor}")
        yield mean_figure("accuracy", marked)


def _minors(mark: Marked) -> tuple[str, ...]:
    """Split the minor categories of a pair."""
    return tuple(name.strip() for name in text_group(mark, "minor").split(";") if name.strip())


def _pairs(marked: Sequence[Marked], scope: str = "") -> Iterator[Figure]:
    """Count pairs by their text score and their video score, and where both are asked by all four questions."""
    scores = sort_by(marked, lambda mark: text_group(mark, "score"))
    for score in FOLDERS:
        yield from _whole(score, scores.get(score, []), 2, scope)
    yield from _whole("group", marked, 4, scope)


def _whole(name: str, marked: Sequence[Marked], size: int, scope: str) -> Iterator[Figure]:
    """Count the pairs all of whose answers are right, among those of which as many questions were asked."""
    pairs = sort_by(marked, lambda mark: text_group(mark, "pair")).values()
    whole = [pair for pair in pairs if len({mark.id for mark in pair}) == size]
    if whole:
        yield group_figure(name, whole, lambda pair: float(all(mark.value == 1.0 for mark in pair)), scope)
