"""Question sets that a model can be asked: a built dataset, a benchmark, or rows that others have published.

`open_questions` serves evaluation, training, export and report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import NAME as MANIFEST
from videossr.dataset.published.dataset import PublishedDataset
from videossr.dataset.published.shown import VideoSettings
from videossr.errors import ConfigError
from videossr.question import Clip, Gold, Question, Truth
from videossr.storage.output_dir import UNFINISHED
from videossr.storage.paths import AnyPath, to_path


class QuestionSet(Protocol):
    """Questions by their index, with their pixels on demand. Can be pickled, and used from several threads.

    Attributes:
        path: folder, file or address of the questions.
    """

    path: AnyPath

    @property
    def hash(self) -> str:
        """SHA-256 in hex over everything that decides the questions and their pixels; every result quotes it."""

    def __len__(self) -> int: ...

    def question(self, index: int) -> Question:
        """Return the text, the gold answer and the clocks of a question. No frame is decoded."""

    def gold(self, index: int) -> Gold:
        """Return what a question is scored by. No video is looked at, so that it is known of a missing one too."""

    def clips(self, index: int) -> list[Clip]:
        """Decode the clips of a question, one for each ``<video>`` of its prompt, in order."""

    def category(self, index: int) -> str:
        """Return the kind of question by which tables and reports group it, such as ``grounding/mirror``."""

    def source(self, index: int) -> str:
        """Return a content hash or a name of the video that a question is about.

        Questions about one video have the same. Answers about one video are alike, so the uncertainty of a score
        depends on the number of videos.
        """

    def difficulty(self, index: int) -> Mapping[str, float | str]:
        """Return the drawn settings that make a question hard, such as ``length`` (slots) or ``pieces``."""

    def truth(self, index: int) -> Truth:
        """Return the facts that the answer rests on, as far as they are known."""


def open_questions(
    path: str | AnyPath,
    corpus: str | AnyPath | None = None,
    source: str | None = None,
    *,
    anywhere: bool = False,
    video: VideoSettings | None = None,
) -> QuestionSet:
    """Open the questions of a folder that `videossr build` wrote, or of rows that others have published.

    Args:
        path: folder, file or address; rows are `.parquet`, `.jsonl` or `.json` files, or a folder of them.
        corpus: folder of a dataset's frame packs, or of the frames and videos of rows, where it is not the recorded
            one.
        source: the `data_source` by which rows are scored whose own one is not known, such as ``videossr/choice``.
        anywhere: whether rows show files wherever they say that these are, not only below `corpus` or their own
            folder. Rows of somebody else may name any file of yours.
        video: which frames of their videos rows show, and how large, where they do not say.

    Returns:
        The questions, opened but not decoded.

    Raises:
        NotFoundError: there is no dataset and there are no rows at `path`.
        DataError: a file there is damaged or has another format.
        ConfigError: `source`, `anywhere` or `video` is given for a dataset, which records all of that.
    """
    folder = to_path(path)
    if not any((folder / name).exists() for name in (MANIFEST, UNFINISHED)):
        return PublishedDataset(folder, corpus=corpus, source=source, anywhere=anywhere, video=video)
    if source is not None:
        raise ConfigError(
            f"{path} is a dataset, which records how it is scored: leave out --source (train: --data.source)"
        )
    if anywhere:
        raise ConfigError(
            f"{path} is a dataset, whose frames are in its corpus: leave out --anywhere (train: --data.anywhere)"
        )
    if video and video.fields():
        raise ConfigError(f"{path} is a dataset, which records its frames: leave out {', '.join(video.fields())}")
    return VideoSSRDataset(folder, corpus=corpus)
