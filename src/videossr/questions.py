"""Whatever can be put to a model: a built dataset, a benchmark, or rows that others have published.

Exercised by `videossr bench run BENCH --model chance --out RUN`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from videossr.dataset import VideoSSRDataset
from videossr.question import Clip, Question, Truth
from videossr.store import Place, place


class Questions(Protocol):
    """Questions by their index, with their pixels on demand. Can be pickled, and used from several threads.

    Attributes:
        path: where they lie.
        hash: SHA-256 in hex over everything that decides the questions and their pixels; quoted in every result.
    """

    path: Place

    @property
    def hash(self) -> str: ...

    def __len__(self) -> int: ...

    def question(self, index: int) -> Question:
        """What is asked, word for word. No frame is decoded."""

    def clips(self, index: int) -> list[Clip]:
        """What is shown, one clip for each `<video>` of the prompt, in order."""

    def column(self, index: int) -> str:
        """The kind of question, as tables and reports group them: `grounding/mirror`."""

    def source(self, index: int) -> str:
        """What tells apart the videos that questions are about: what two questions about one video share.

        A content hash or a name. Answers about one video are alike, so a score is only as sure as there are videos.
        """

    def difficulty(self, index: int) -> Mapping[str, float | str]:
        """What makes this question hard, by name: drawn knobs such as `length` (slots) or `pieces`."""

    def truth(self, index: int) -> Truth:
        """What the answer rests on, as far as it is known."""


def open_questions(path: str | Place, corpus: str | Place | None = None) -> Questions:
    """The questions at `path`: a folder that `videossr build` wrote.

    Args:
        path: folder, file or address.
        corpus: where its frame packs are, if not where it says.

    Raises FileNotFoundError or ValueError that says what was expected.
    """
    return VideoSSRDataset(place(path), corpus=corpus)
