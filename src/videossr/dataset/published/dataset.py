"""A question set made of rows that others have published, with their own wording, frames and times.

`videossr.question_set.open_questions` opens it, as for `videossr bench run ROWS.parquet --model chance --out RUN`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from videossr.clock import Clock
from videossr.dataset.published.frames import Entry, FrameFinder, clip_of, clock_of
from videossr.dataset.published.perturbed import find_perturbed, perturbation_of
from videossr.dataset.published.rows import PublishedRow, PublishedRows
from videossr.dataset.published.shown import VideoSettings, complete
from videossr.errors import DataError, NotFoundError
from videossr.question import Clip, Gold, Question, Truth
from videossr.rewards import parse_interval, parse_order, scorer
from videossr.storage import limits
from videossr.storage.paths import AnyPath, to_path
from videossr.tasks.base import RELEASED, answer_type_of, task_of


class PublishedDataset:
    """The questions of a file or folder of rows, in order, see `videossr.question_set.QuestionSet`.

    A row is read when it is asked for, so a damaged row does not affect the others.

    Args:
        path: a `.parquet`, `.jsonl` or `.json` file, or a folder of them.
        corpus: the folder below which the frames and videos lie; by default that of the rows.
        source: the `data_source` by which rows are scored whose own one is not known, such as ``videossr/choice``.
        anywhere: whether absolute paths are used wherever they lead, and links that lead out of that folder.
        video: which frames are shown, and how large, where rows do not say.

    Raises:
        NotFoundError: there are no rows at `path`.
        DataError: its files are damaged.
        ConfigError: `source` is not known.
    """

    def __init__(
        self,
        path: str | AnyPath,
        *,
        corpus: str | AnyPath | None = None,
        source: str | None = None,
        anywhere: bool = False,
        video: VideoSettings | None = None,
    ) -> None:
        self.path = to_path(path).absolute()
        self.rows = PublishedRows(self.path)
        self.scored_as = source
        self.shown = video.fields() if video else {}
        if source is not None:
            answer_type_of(source)
        root = self.rows.files[0].parent if corpus is None else to_path(corpus)
        if not root.is_dir():
            raise NotFoundError(
                f"{root} is no folder: name the one where the frames or videos lie with --corpus (train: --data.corpus)"
            )
        self.find = FrameFinder(root, anywhere=anywhere)

    @property
    def hash(self) -> str:
        """SHA-256 in hex over the rows' files, `source` and `video`.

        The bytes of the frames are not in it, since published sets have no hashes of their many files.
        """
        shown = f" {json.dumps(self.shown, sort_keys=True)}" if self.shown else ""
        return hashlib.sha256(f"{self.rows.hash} {self.scored_as}{shown}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def question(self, index: int) -> Question:
        """Return the question word for word as it was published. No frame of a list is opened.

        Raises:
            DataError: the row is damaged; the message names the file and the row.
        """
        row = self.rows[index]
        clocks = tuple(self._clock(row, entry) for entry in row.videos)
        return Question(row.id, self._source(row), row.system, row.prompt, row.answer, clocks)

    def gold(self, index: int) -> Gold:
        """Return the id, the data source and the gold answer of a row. Raises as `question` does."""
        row = self.rows[index]
        return Gold(row.id, self._source(row), row.answer)

    def clips(self, index: int) -> list[Clip]:
        """Decode the clips of a question. Raises as `question` does."""
        row = self.rows[index]
        clips: list[Clip] = []
        room = limits.CLIP_PIXELS
        try:
            for entry in row.videos:
                clips.append(clip_of(complete(entry, self.shown), self.find, room))
                room -= clips[-1].frames.size // 3
        except (ValueError, OSError) as error:
            raise DataError(f"{row.where}: {error}") from error
        return clips

    def category(self, index: int) -> str:
        """Name the category of a row, such as `grounding/mirror`, `jigsaw/6` or `counting/easy`, or its `data_source`.

        Counting is `easy` where no shape is drawn on more than 3 frames and no more than 3 times on any; a hard
        question may by chance be as easy as that. A row that cannot be read is in the category `unreadable`.
        """
        try:
            row = self.rows[index]
        except ValueError:
            return "unreadable"
        if row.category:
            return row.category
        if not row.data_source:
            return task_of(self.scored_as) if self.scored_as else "unreadable"
        task = _task(row.data_source)
        if task == "jigsaw":
            return f"jigsaw/{len(row.videos)}"
        if task == "grounding":
            perturbation = _perturbation(row)
            return f"grounding/{perturbation}" if perturbation else row.data_source
        drawn = find_perturbed(row.videos[0]).shapes if task == "counting" else {}
        if drawn:
            hard = any(len(counts) > 3 or max(counts) > 3 for counts in drawn.values())
            return "counting/hard" if hard else "counting/easy"
        return row.data_source

    def source(self, index: int) -> str:
        """Return the name of the row's video, or the folder of its frames, or its file; else the row's id."""
        row = self.rows[index]
        video_id = row.extra.get("video_id")
        if isinstance(video_id, str) and video_id:
            return video_id
        shown = row.videos[0].get("video")
        name = shown[0].rpartition("/")[0] if isinstance(shown, list) and shown and isinstance(shown[0], str) else shown
        return name if isinstance(name, str) and name and not name.startswith("data:") else row.id

    def difficulty(self, index: int) -> Mapping[str, float | str]:
        """Return the settings that our own tasks record, as far as the row shows them. Raises as `question` does."""
        row = self.rows[index]
        task = _task(row.data_source)
        clock = self._clock(row, row.videos[0])
        if task == "jigsaw":
            return {"pieces": len(row.videos), "seconds": clock.end_ms / 1000}
        if task == "counting":
            drawn = find_perturbed(row.videos[0]).shapes
            counts = [count for frames in drawn.values() for count in frames]
            return {"shapes": sum(counts), "slots": len(counts)} if counts else {}
        spans = _spans(row, clock) if task == "grounding" else ()
        if not spans:
            return {}
        ((first, last),) = spans
        start, end = clock.span(first, last)
        perturbation = _perturbation(row)
        known = {"perturbation": perturbation} if perturbation else {}
        length = {"length": last - first + 1, "seconds": round(end - start, 3)}
        return {**known, **length, "duration": clock.end_ms / 1000}

    def truth(self, index: int) -> Truth:
        """Return the altered slots and the order of the pieces, as far as the row shows them.

        Raises as `question` does.
        """
        row = self.rows[index]
        task = _task(row.data_source)
        if task == "jigsaw":
            shown = parse_order(row.answer, len(row.videos)) or ()
            return Truth(order=tuple(shown.index(piece) for piece in range(1, len(shown) + 1)))
        if task == "grounding":
            return Truth(spans=_spans(row, self._clock(row, row.videos[0])))
        if task == "counting":
            return Truth(spans=tuple((slot, slot) for slot in find_perturbed(row.videos[0]).slots))
        return Truth()

    def _clock(self, row: PublishedRow, entry: Entry) -> Clock:
        try:
            return clock_of(complete(entry, self.shown), self.find)
        except (ValueError, OSError) as error:
            raise DataError(f"{row.where}: {error}") from error

    def _source(self, row: PublishedRow) -> str:
        """Return the `data_source` by which a row is scored, once its gold answer scores 1 itself. Raises DataError."""
        source = row.data_source
        try:
            score = scorer(source)
        except ValueError as error:
            if self.scored_as is None:
                unknown = f"{error};" if source else "it has no data_source or answer_type:"
                raise DataError(
                    f"{row.where}: {unknown} name the one it is scored as with --source (train: --data.source)"
                ) from error
            source = self.scored_as
            score = scorer(source)
        try:
            own = score(row.answer, row.answer).smooth
        except ValueError as error:
            raise DataError(f"{row.where}: {error}") from error
        if own < 1:
            raise DataError(f"{row.where}: the answer {row.answer!r} would be scored {own:g} if a model gave it")
        return source


def _task(data_source: str) -> str:
    """Return which of the paper's tasks a `data_source` means, whoever made the rows; empty for any other."""
    name = data_source.removeprefix("videossr/")
    return RELEASED.get(name, name) if name in ("grounding", "counting", "jigsaw", *RELEASED) else ""


def _perturbation(row: PublishedRow) -> str:
    """Find the perturbation of a grounding row in its fields or in its frames' names; empty where neither has it."""
    kind = row.extra.get("perturbation_type")
    return perturbation_of(kind) if isinstance(kind, str) and kind else find_perturbed(row.videos[0]).perturbation


def _spans(row: PublishedRow, clock: Clock) -> tuple[tuple[int, int], ...]:
    """Find the altered slots of a grounding row: those whose start and end are nearest to its answer."""
    gold = parse_interval(row.answer)
    if gold is None:
        return ()
    start, end = (round(1000 * seconds) for seconds in gold)
    ends = (*clock.times_ms[1:], clock.end_ms)
    first = min(range(len(clock)), key=lambda slot: abs(clock.times_ms[slot] - start))
    last = min(range(first, len(clock)), key=lambda slot: abs(ends[slot] - end))
    return ((first, last),)
