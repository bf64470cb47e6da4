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

from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import DataError
from videossr.question import Clip, Question

CACHE_MB = 512
"""MiB of frames that a process keeps, unless it is told otherwise."""


class Reference(TypedDict):
    """A clip of a sample: an entry of a row's `videos`, and where a trainer writes messages of rows, a part of one.

    Attributes:
        dataset: folder or address of the dataset.
        corpus: of its frame packs; empty where the dataset knows it.
        index: of the sample in the dataset.
        id: of the sample, by which a dataset that was built anew is noticed.
        clip: index of the clip in the sample.
    """

    dataset: str
    corpus: str
    index: int
    id: str
    clip: int


def make_references(question: Question, index: int, dataset: str, corpus: str = "") -> list[Reference]:
    """Refer to all clips of a sample, in order.

    Args:
        question: of the sample.
        index: of the sample in the dataset.
        dataset: folder or address of the dataset.
        corpus: of its frame packs; empty where the dataset knows it.
    """
    return [
        Reference(dataset=dataset, corpus=corpus, index=index, id=question.id, clip=clip)
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
        self._ready: OrderedDict[tuple[str, str, int, str], Future[list[Clip]]] = OrderedDict()

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
        key = (reference["dataset"], reference["corpus"], reference["index"], reference["id"])
        with self._lock:
            future = self._ready.get(key)
            if mine := future is None:
                future = self._ready[key] = Future()
            self._ready.move_to_end(key)
        if mine:
            self._fill(future, key, lambda: render(reference))
            self._shrink(room)
        return future.result()

    def _fill(self, future: Future[list[Clip]], key: tuple[str, str, int, str], make: Callable[[], list[Clip]]) -> None:
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

    def _done(self) -> list[tuple[tuple[str, str, int, str], Future[list[Clip]]]]:
        return [(key, future) for key, future in self._ready.items() if future.done() and not future.exception()]


def render(reference: Reference) -> list[Clip]:
    """Render all clips of the sample of a reference. Raises DataError where the dataset has another sample there."""
    dataset = _opened(reference["dataset"], reference["corpus"])
    index = reference["index"]
    found = dataset.row(index)["id"] if index < len(dataset) else "none"
    if found != reference["id"]:
        raise DataError(
            f"{dataset.path}: the row was written for sample {reference['id']} at index {index}, where {found} is now: "
            "make the rows again (for verl: `videossr export verl`)"
        )
    return dataset.clips(index)


@cache
def _opened(path: str, corpus: str) -> VideoSSRDataset:
    return VideoSSRDataset(path, corpus=corpus or None)
