"""Render the clips that a row of another trainer refers to, once for all rollouts of a process that ask for them.

Rows for verl and TRL hold no frames: each of a row's `videos` names a dataset, a sample and a clip of it, see
`Reference`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from typing import Any

from typing_extensions import TypedDict

from videossr.errors import DataError
from videossr.question import Clip, Question
from videossr.question_set import QuestionSet, open_questions

CACHE_MB = 512
"""MiB of frames that a process keeps, unless it is told otherwise."""


Key = tuple[str, str, bool, int, str]
"""What tells one sample from another: place, index and id."""


class Reference(TypedDict):
    """A clip of a sample: an entry of a row's `videos`, and where a trainer writes messages of rows, a part of one.

    Attributes:
        dataset: folder or address of the dataset, or of rows that others have published.
        corpus: of its frame packs, or of the frames and videos of rows; empty where they are where it says.
        index: of the sample in the dataset.
        id: of the sample, by which a dataset that was built anew is noticed.
        clip: index of the clip in the sample.
        anywhere: whether published rows may show files wherever they say that these are.
    """

    dataset: str
    corpus: str
    index: int
    id: str
    clip: int
    anywhere: bool


def make_references(
    question: Question, index: int, dataset: str, corpus: str = "", *, anywhere: bool = False
) -> list[Reference]:
    """Refer to all clips of a sample, in order.

    Args:
        question: of the sample.
        index: of the sample in the dataset.
        dataset: folder or address of the dataset, or of rows that others have published.
        corpus: where its frames are; empty where they are where it says.
        anywhere: whether published rows may show files wherever they say that these are.
    """
    return [
        Reference(dataset=dataset, corpus=corpus, index=index, id=question.id, clip=clip, anywhere=anywhere)
        for clip in range(len(question.clocks))
    ]


def read_references(messages: Sequence[Mapping[str, Any]]) -> list[Reference]:
    """Return the clips that a conversation shows, in order; none where it is not about a sample.

    Args:
        messages: a conversation, in which a clip is a part with the fields of a `Reference`, among others.

    Raises:
        DataError: it shows a sample, and something that is no clip of one.
    """
    contents = [message["content"] for message in messages if not isinstance(message["content"], str)]
    parts = [part for content in contents for part in content if part["type"] != "text"]
    known = [{name: part[name] for name in Reference.__annotations__} for part in parts if "dataset" in part]
    if known and len(known) != len(parts):
        raise DataError(f"a row shows {len(known)} clips of samples, and {len(parts) - len(known)} other media")
    return [Reference(**reference) for reference in known]  # type: ignore[typeddict-item]


class ClipCache:
    """Rendered samples of a process, as many as there is room for. May be used from several threads.

    Threads that ask for one sample at the same time wait for the one that renders it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready: OrderedDict[Key, Future[list[Clip]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ready)

    def clips(self, references: Sequence[Reference], room: int = CACHE_MB * 2**20) -> list[Clip]:
        """Render the clips that a conversation shows.

        Args:
            references: the clips, in order.
            room: bytes of frames that may be kept.

        Raises:
            DataError: a dataset does not have the sample, or cannot be read.
        """
        return [self._sample(reference, room)[reference["clip"]] for reference in references]

    def _sample(self, reference: Reference, room: int) -> list[Clip]:
        key: Key = (*_place(reference), reference["index"], reference["id"])
        with self._lock:
            future = self._ready.get(key)
            if mine := future is None:
                future = self._ready[key] = Future()
            self._ready.move_to_end(key)
        if mine:
            self._fill(future, key, lambda: render(reference))
            self._shrink(room)
        return future.result()

    def _fill(self, future: Future[list[Clip]], key: Key, make: Callable[[], list[Clip]]) -> None:
        """Render into a future, for whoever waits for it; what fails is not kept."""
        try:
            future.set_result(make())
        except BaseException as error:
            with self._lock:
                self._ready.pop(key, None)
            future.set_exception(error)

    def _shrink(self, room: int) -> None:
        """Forget the samples that were not asked for the longest, until the others fit."""
        with self._lock:
            done = [(key, sum(clip.frames.nbytes for clip in future.result())) for key, future in self._done()]
            excess = sum(size for _, size in done) - room
            for key, size in done:
                if excess <= 0:
                    return
                del self._ready[key]
                excess -= size

    def _done(self) -> list[tuple[Key, Future[list[Clip]]]]:
        return [(key, future) for key, future in self._ready.items() if future.done() and not future.exception()]


def render(reference: Reference) -> list[Clip]:
    """Render all clips of the sample of a reference. Raises DataError where the dataset has another sample there."""
    questions = _opened(*_place(reference))
    index = reference["index"]
    found = questions.gold(index).id if index < len(questions) else "none"
    if found != reference["id"]:
        raise DataError(
            f"{questions.path}: the row was written for sample {reference['id']} at index {index}, where {found} is "
            "now: make the rows again (for verl: `videossr export verl`)"
        )
    return questions.clips(index)


def _place(reference: Reference) -> tuple[str, str, bool]:
    """Return where the questions and their frames are."""
    return reference["dataset"], reference["corpus"], reference["anywhere"]


@cache
def _opened(path: str, corpus: str, anywhere: bool) -> QuestionSet:
    return open_questions(path, corpus=corpus or None, anywhere=anywhere)
