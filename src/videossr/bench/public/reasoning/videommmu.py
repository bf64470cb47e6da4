"""VideoMMMU (Hu et al., 2025): what lectures of 30 subjects teach, in three tracks of multiple-choice questions.

Perception asks what a lecture shows, comprehension whether it is understood, and adaptation to apply it to a new
question, whose picture is the last frame of the video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked

from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, Row
from videossr.bench.public.figures import Figure, FigureKey, Marked, by_group, mean_figure, mean_figures
from videossr.bench.public.lettered import gold_of, options_of

TRACKS = ("Perception", "Comprehension", "Adaptation")

DISCIPLINES: Mapping[str, tuple[str, ...]] = {
    "Art": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Medicine": (
        "Basic_Medical_Science",
        "Clinical_Medicine",
        "Diagnostics_and_Laboratory_Medicine",
        "Pharmacy",
        "Public_Health",
    ),
    "Humanities": ("History", "Literature", "Sociology", "Psychology"),
    "Engineering": (
        "Agriculture",
        "Architecture_and_Engineering",
        "Computer_Science",
        "Electronics",
        "Energy_and_Power",
        "Materials",
        "Mechanical_Engineering",
    ),
}
"""Subjects by discipline, whose name is that of the folder of their videos."""

_DISCIPLINE = {subject: discipline for discipline, subjects in DISCIPLINES.items() for subject in subjects}


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class VideoMMMUSettings:
    """What is shown of VideoMMMU.

    Attributes:
        video: `lecture`, or `question_only` for adaptation without the lecture; `gain` compares the two.
    """

    video: Literal["lecture", "question_only"] = "lecture"


def gain(before: float, after: float) -> float:
    """Compute how much of what was missing a lecture adds, in percent.

    Args:
        before: accuracy on adaptation without the lecture, in percent.
        after: the same with it.

    Raises:
        ValueError: nothing was missing.

    >>> gain(40.0, 55.0)
    25.0
    """
    if before >= 100:
        raise ValueError(f"an accuracy of {before:g}% leaves nothing to gain")
    return (after - before) / (100 - before) * 100


class VideoMMMU(Benchmark[VideoMMMUSettings]):
    """VideoMMMU: the multiple-choice questions. Open ones, all in the track adaptation, are left out."""

    facts = Facts(
        title="VideoMMMU (multiple choice)",
        domain="reasoning",
        questions=879,
        videos=300,
        metric="accuracy",
        licence="none stated",
        source="https://huggingface.co/datasets/lmms-lab/VideoMMMU",
        layout="data/<track>_video.json, as on GitHub, or <Track>/test-00000-of-00001.parquet, as on the hub\n"
        "<discipline>/<id>.mp4, with the zip files unpacked\n"
        "question_only/<id>_image.mp4, for video=question_only",
        column="VMMMU",
    )
    Settings = VideoMMMUSettings
    fields = frozenset(["id", "link_selected", "question", "options", "answer", "question_type", "image"])

    def categories(self, settings: VideoMMMUSettings) -> Sequence[str]:
        """Return the tracks."""
        return TRACKS if settings.video == "lecture" else TRACKS[2:]

    def records(self, data: Data, settings: VideoMMMUSettings) -> Iterator[Record]:
        """Yield the rows track by track; a track whose file is missing is left out."""
        tracks = TRACKS if settings.video == "lecture" else TRACKS[2:]
        files = {track: [name for name in _files(track) if (data.root / name).exists()] for track in tracks}
        if not any(files.values()):
            data.find(*_files(tracks[0]))
        for track, names in files.items():
            if not names:
                continue
            if names[0].endswith(".parquet"):
                yield from data.parquet(names[0], track=track)
                continue
            table = data.json_table(names[0])
            rows = table.get(track)
            # The rows lie in an object by their number, below the name of the track.
            yield from data.records(names[0], rows.values() if isinstance(rows, dict) else [None], track=track)

    def row(self, record: Record, settings: VideoMMMUSettings) -> Row | None:
        """Read a question; None for one of adaptation that is open, or of no stated type."""
        track = record.context["track"]
        adaptation = track == "Adaptation"
        name = record.text("id")
        # The other tracks are multiple choice throughout, and state no type, or one of their own.
        if adaptation and record.fields.get("question_type") != "multiple-choice":
            return None
        subject = "_".join(name.split("_")[1:-1])
        discipline = _DISCIPLINE.get(subject)
        if discipline is None:
            raise record.fault(f"id {name!r:.60} names no subject, as in validation_Math_15")
        options = options_of(record, record.texts("options"))
        path = f"{discipline}/{name}.mp4" if settings.video == "lecture" else f"question_only/{name}_image.mp4"
        return Row(
            id=f"{track}/{name}",
            template="applied" if adaptation and "<image" in record.text("question") else "choice",
            question=record.text("question"),
            answer=gold_of(record, options, "answer"),
            answer_type="option",
            footage=(Footage(paths=(path,), last=adaptation),),
            category=track,
            options=options,
            groups={"discipline": discipline, "subject": subject},
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average all questions, and those of each track and discipline."""
        yield mean_figure("accuracy", marked)
        yield from self.breakdown(marked)
        yield from mean_figures("accuracy", dict(sorted(by_group(marked, "discipline").items())), "discipline: ")

    def remarks(self, runs: Sequence[tuple[Mapping[str, Any], Mapping[FigureKey, float]]]) -> Iterator[str]:
        """Yield what lectures add, where adaptation was asked without and with them."""
        accuracies: dict[str, float] = {}
        for settings, figures in runs:
            video = str(settings["video"])
            scope = "Adaptation" if video == "lecture" else ""  # without lectures nothing else is asked
            accuracies[video] = 100 * figures.get(("accuracy", scope), 0.0)
        before, after = accuracies.get("question_only"), accuracies.get("lecture")
        if before is not None and after is not None and before < 100:
            yield (
                f"adaptation: {before:.1f}% without the lecture, {after:.1f}% with it: gain {gain(before, after):.1f}%"
            )


def _files(track: str) -> tuple[str, ...]:
    """Return where the file of a track may lie."""
    return (
        f"data/{track.lower()}_video.json",
        f"{track}/test-00000-of-00001.parquet",
    )
