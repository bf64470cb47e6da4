"""A set of questions as a dataset of the Hugging Face hub: a folder that `datasets.load_dataset` reads by itself.

    README.md               the card; written last, so that a folder which has it is complete
    gallery.jpg             a picture of one question of each category
    recipe/                 how the dataset was built
    SPLIT/metadata.parquet  one row a question; SPLIT is `train`, of a benchmark `test`
    SPLIT/00000/…           one MP4 a clip, which browsers play

`videossr export hf DATASET --out FOLDER` writes it.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
from typing_extensions import TypedDict

from videossr.builder.card import card_header, render_card
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import is_benchmark
from videossr.export.clips import PLAYABLE
from videossr.export.contact_sheet import choose_frames, draw_sheet
from videossr.export.folder import Progress, write_clips, write_table, write_unless_same
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.storage.output_dir import OutputDir
from videossr.storage.parsing import read_limited
from videossr.untrusted import one_line

VERB = "export hf"
CARD, GALLERY, RECIPE, METADATA = "README.md", "gallery.jpg", "recipe", "metadata.parquet"

RECIPE_FILES = ("config.toml", "templates.toml")
"""Files of a dataset: the settings of its categories, and the texts of its prompts."""

FOLDER_FILES = 5_000
"""Files in a folder, but for the clips of its last question. The hub takes 10,000 entries."""

REPOSITORY_FILES = 100_000
"""Files in a repository, which the hub advises not to exceed."""

PICTURED = 6
"""Most categories in the picture."""

_ROW_GROUP = 1_000
_SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}
"""Names that the hub has for numbers of rows, by the number that they stay below."""

METADATA_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "category", "data_source", "system", "prompt", "answer", "source")),
        ("times_ms", pa.list_(pa.list_(pa.int64()))),
        ("end_ms", pa.list_(pa.int64())),
        ("file_names", pa.list_(pa.string())),
    ]
)
"""Columns of the table. `datasets` makes the column `videos` of `file_names`, which are relative to the table."""


class HubRow(TypedDict):
    """A question in the table; `times_ms`, `end_ms` and `file_names` have an entry for each clip."""

    id: str
    category: str
    data_source: str
    system: str
    prompt: str
    answer: str
    source: str
    times_ms: list[list[int]]
    end_ms: list[int]
    file_names: list[str]


class Shown(TypedDict):
    """A question in the picture of the card."""

    category: str
    prompt: str
    answer: str


def export_hf(questions: QuestionSet, out: Path, name: str, progress: Progress = lambda done: None) -> Path:
    """Write the folder. An export that was stopped is completed.

    Of one that is there, what is missing or differs is written again; but its card stays as it is.

    Args:
        questions: the questions; any clock is kept to the millisecond.
        out: the folder to write.
        name: of the dataset, as its card shows it.
        progress: called with the number of questions written after each.

    Returns:
        The card.

    Raises:
        DataError: a clip cannot be encoded.
        OutputError: `out` holds something else.
    """
    card = out / CARD
    output = OutputDir(out, VERB, "dataset of the hub")
    complete = _exported_hash(card) == questions.hash
    with output.open({"name": name, "hash": questions.hash}, reopen=complete):
        rows = hub_rows(questions)
        folder = out / split_of(questions)
        write_clips(folder, questions, [row["file_names"] for row in rows], progress, PLAYABLE)
        write_table(folder / METADATA, rows, METADATA_SCHEMA, _ROW_GROUP)
        pictured = _pictured(rows)
        if not (out / GALLERY).is_file():
            chosen = [choose_frames(questions.clips(index), questions.truth(index)) for index in pictured]
            write_unless_same(out / GALLERY, draw_sheet(chosen))
        if isinstance(questions, VideoSSRDataset):
            (out / RECIPE).mkdir(exist_ok=True)
            for file in RECIPE_FILES:
                write_unless_same(out / RECIPE / file, read_limited(questions.path / file, "TOML_BYTES"))
        if not complete:  # else somebody may have added to it, such as a licence
            write_unless_same(card, _card(questions, name, rows, pictured).encode())
    return card


def split_of(questions: QuestionSet) -> str:
    """Return the name of the split, which is that of a folder too: nobody is to train on a benchmark."""
    return "test" if isinstance(questions, VideoSSRDataset) and is_benchmark(questions.manifest) else "train"


def uploaded(questions: QuestionSet) -> list[str]:
    """Return patterns of the files that the hub gets; somebody else's in the folder are not among them."""
    return [CARD, GALLERY, f"{RECIPE}/*.toml", f"{split_of(questions)}/{METADATA}", f"{split_of(questions)}/*.mp4"]


def hub_rows(questions: QuestionSet) -> list[HubRow]:
    """Write the rows of all questions. The clips of one are in the same folder."""
    rows: list[HubRow] = []
    folder = entries = 0
    for index in range(len(questions)):
        question = questions.question(index)
        if entries >= FOLDER_FILES:
            folder, entries = folder + 1, 0
        entries += len(question.clocks)
        rows.append(
            HubRow(
                id=question.id,
                category=questions.category(index),
                data_source=question.data_source,
                system=question.system,
                prompt=question.prompt,
                answer=question.answer,
                source=questions.source(index),
                times_ms=[[*clock.times_ms] for clock in question.clocks],
                end_ms=[clock.end_ms for clock in question.clocks],
                file_names=[f"{folder:05d}/{index}-{clip}.mp4" for clip in range(len(question.clocks))],
            )
        )
    return rows


def number_of_files(questions: QuestionSet) -> int:
    """Count the video files of an export."""
    return sum(len(questions.question(index).clocks) for index in range(len(questions)))


def _pictured(rows: Sequence[HubRow]) -> list[int]:
    """Return the index of the first question of some categories: one of each task before a second one of any."""
    first: dict[str, int] = {}
    for index, row in enumerate(rows):
        first.setdefault(row["category"], index)
    turns: Counter[str] = Counter()
    ranked = []
    for category, index in first.items():
        task = category.partition("/")[0]
        ranked.append((turns[task], index))
        turns[task] += 1
    return [index for _, index in sorted(ranked)[:PICTURED]]


def _card(questions: QuestionSet, name: str, rows: Sequence[HubRow], pictured: Sequence[int]) -> str:
    """Write the card in Markdown."""
    sizes = [size for most, size in _SIZES.items() if len(rows) < most]
    facts: dict[str, Any] = {
        "header": card_header(name, size_categories=[sizes[0] if sizes else "n>1M"]),
        "name": name,
        "questions": len(rows),
        "sources": len({row["source"] for row in rows}),
        "categories": Counter(row["category"] for row in rows),
        "split": split_of(questions),
        "shown": [_shown(questions.question(index), rows[index]["category"]) for index in pictured],
        "odd": any(len(times) % 2 for row in rows for times in row["times_ms"]),
        "manifest": questions.manifest if isinstance(questions, VideoSSRDataset) else None,
        "hash": one_line(questions.hash),
    }
    source = files("videossr").joinpath("export", "hf_card.md.jinja").read_text("utf-8")
    return render_card(source, facts)


def _shown(question: Question, category: str) -> Shown:
    return Shown(
        category=category,
        prompt=textwrap.shorten(question.prompt, 160, placeholder=" …"),
        answer=textwrap.shorten(question.answer, 40, placeholder=" …"),
    )


def _exported_hash(card: Path) -> str | None:
    """Return the hash of the questions of an exported folder; None where it is not complete."""
    try:
        text = read_limited(card, "TOML_BYTES").decode()
    except (FileNotFoundError, ValueError):
        return None
    marker = re.search(r"^<!-- videossr-hash: (\S+) -->$", text, re.MULTILINE)
    return marker.group(1) if marker else None
