"""Whatever can be put to a model: a built dataset, a benchmark, or rows that others have published.

Exercised by `videossr bench run BENCH --model chance --out RUN`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import NAME as MANIFEST
from videossr.dataset.published.dataset import PublishedDataset
from videossr.errors import ConfigError
from videossr.question import Clip, Question, Truth
from videossr.storage.output_dir import UNFINISHED
from videossr.storage.paths import AnyPath, to_path


class QuestionSet(Protocol):
    """Questions by their index, with their pixels on demand. Can be pickled, and used from several threads.

    Attributes:
        path: where they lie.
        hash: SHA-256 in hex over everything that decides the questions and their pixels; quoted in every result.
    """

    path: AnyPath

    @property
    def hash(self) -> str: ...

    def __len__(self) -> int: ...

    def question(self, index: int) -> Question:
        """What is asked, word for word. No frame is decoded."""

    def clips(self, index: int) -> list[Clip]:
        """What is shown, one clip for each `<video>` of the prompt, in order."""

    def category(self, index: int) -> str:
        """The kind of question, as tables and reports group them: `grounding/mirror`."""

    def source(self, index: int) -> str:
        """What tells apart the videos that questions are about: what two questions about one video share.

        A content hash or a name. Answers about one video are alike, so a score is only as sure as there are videos.
        """

    def difficulty(self, index: int) -> Mapping[str, float | str]:
        """What makes this question hard, by name: drawn settings such as `length` (slots) or `pieces`."""

    def truth(self, index: int) -> Truth:
        """What the answer rests on, as far as it is known."""


def open_questions(path: str | AnyPath, corpus: str | AnyPath | None = None, source: str | None = None) -> QuestionSet:
    """The questions at `path`: a folder that `videossr build` wrote, or rows that others have published.

    Args:
        path: folder, file or address; rows are `.parquet`, `.jsonl` or `.json` files, or a folder of them.
        corpus: where the frame packs of a dataset are, or the frames and videos of rows, if not where they say.
        source: how rows are scored whose `data_source` is not known, such as `videossr/choice`.

    Raises FileNotFoundError or ValueError that says what was expected.
    """
    where = to_path(path)
    if not any((where / name).exists() for name in (MANIFEST, UNFINISHED)):
        return PublishedDataset(where, corpus=corpus, source=source)
    if source is not None:
        raise ConfigError(f"{path} is a dataset, which says how it is scored: leave out --source")
    return VideoSSRDataset(where, corpus=corpus)
