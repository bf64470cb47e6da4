"""The contract of a pretext task. `examples/custom_task` is a whole one in another package.

A task never opens a file: it is shown videos as frames, draws samples, and renders them as a pure function.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from videossr.clock import Clock
from videossr.errors import CorpusError, TaskError
from videossr.measure import Measure, measured
from videossr.perturb.gates import ClipFeatures, clip_features
from videossr.question import Clip, Frames, Question, Truth
from videossr.registry import Registry
from videossr.rewards import Scores
from videossr.sample import JSON, Rejection, Sample, VideoKey
from videossr.templates import PromptTemplates

K = TypeVar("K")


@dataclass(frozen=True)
class Video:
    """One indexed video at the size that the model will see: frames (N, H, W, 3) and the clock of all N."""

    key: VideoKey
    clock: Clock
    frames: Frames

    @property
    def size(self) -> tuple[int, int]:
        return self.frames.shape[1], self.frames.shape[2]

    @cached_property
    def features(self) -> ClipFeatures:
        """Features of the frames, by which the gates judge the video."""
        return clip_features(self.frames)

    def density(self, slots: int) -> int:
        """Frames kept for each of `slots` slots. Raises ValueError unless it is a whole number."""
        density, rest = divmod(len(self.clock), slots)
        if rest or not density:
            raise ValueError(f"{len(self.clock)} frames of video {self.key.content[:12]} are no multiple of {slots}")
        return density

    def subsample(self, slots: int) -> Video:
        """Return the same video with `slots` slots, each keeping its first frame."""
        if slots == len(self.clock):
            return self
        return Video(self.key, self.clock.subsample(slots), self.frames[:: self.density(slots)])


class Donors(Protocol):
    """The other videos of the corpus, in hash order, cut and scaled to the size of the video that is drawn from.

    One is decoded when it is asked for.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Video: ...


class Task(Protocol[K]):
    """A pretext task. Other packages add theirs through the entry-point group ``videossr.tasks``.

    `Config` is a frozen pydantic dataclass, K; `config` below is an instance of it. A task is made
    without arguments; it and its config are sent to other processes, so both can be pickled.

    A task that needs slots of equal length says ``even_clock = True``: then a corpus of the plan ``snap`` is refused
    before any work. Its gate must hold back uneven videos all the same.

    Two methods are optional. ``unaltered(sample, kept)`` of a task that alters the first span of its truth returns what
    each slot of this span would show if it had not: a (source, frame) for each, as in `Sample.slots`, or None where
    nothing is altered; `kept` has the number of frames in the pack of each source. The gallery compares before and
    after by it, and `videossr validate` looks for the change at the borders. ``shown_params(sample)`` returns
    the drawn parameters as people should read them, where that is not `Sample.params` itself.
    """

    name: str
    Config: type[K]

    def needs(self, config: K) -> tuple[int, int]:
        """(slots that are shown, frames that a pack must hold for each of them at the least)."""

    def gates(self, video: Video, config: K) -> Iterable[Measure]:
        """Measure, before anything is drawn, whether every answer could be proven on this video.

        A video is admitted when all measures pass, see `videossr.measure`. They are asked for one after the other, and
        none after a failure that no setting can mend. So a generator may yield first what the later ones rely on.
        """

    def draw(
        self, video: Video, category: str, config: K, rng: np.random.Generator, donors: Donors
    ) -> Sample | Rejection:
        """Draw one sample. A rejection here must not depend on the answer that was drawn."""

    def render(self, frames: Frames, sample: Sample) -> list[Clip]:
        """The clips shown, from `frames` (len(sample.slots), H, W, 3): the slots of the sample, not yet altered.

        Pure: the same arguments give the same bytes. `frames` is not written to.
        """

    def question(self, sample: Sample, templates: PromptTemplates) -> Question:
        """What is asked, in the words of `templates`."""

    def truth(self, sample: Sample) -> Truth:
        """What the answer rests on."""

    def difficulty(self, sample: Sample) -> Mapping[str, float | str]:
        """What makes this sample hard, by name, with units that the task documents; reports group scores by it."""

    def score(self, answer: str, sample: Sample) -> Scores:
        """Score a model's text. Never raises, whatever the text."""


TASKS: Registry[type[Task[Any]]] = Registry("videossr.tasks")


def open_task(name: str) -> OpenTask:
    """Make the task with this registered name.

    Whatever one of its methods raises becomes a `TaskError`; errors of the corpus and of the machine stay as they are.

    Raises ValueError when no installed package declares the task, its code cannot be loaded, or it has no gates.
    """
    kind = TASKS.get(name)
    if not callable(getattr(kind, "gates", None)):
        raise TaskError(
            f"task {name!r} ({kind.__module__}.{kind.__qualname__}) has no method gates(video, config), which yields a "
            "videossr.Measure for each thing that must hold of a video (it takes the place of `admits`); a task that "
            "uses every video returns ()"
        )
    with _naming(kind, name, "__init__"):
        return OpenTask(name, kind())


class OpenTask:
    """A task whose errors name it. It has all methods of `Task` and the optional ones, and can be pickled if it can."""

    def __init__(self, name: str, task: Task[Any]) -> None:
        self._task = task
        self.name = name
        self.Config = task.Config
        self.even_clock = bool(getattr(task, "even_clock", False))

    def needs(self, config: Any) -> tuple[int, int]:
        with self._naming("needs"):
            return self._task.needs(config)

    def gates(self, video: Video, config: Any) -> list[Measure]:
        """List what the task measures of a video, up to the first failure that no setting can mend."""
        with self._naming("gates", f"video {video.key.content[:12]}"):
            return measured(_checked(self._task.gates(video, config)))

    def draw(
        self, video: Video, category: str, config: Any, rng: np.random.Generator, donors: Donors
    ) -> Sample | Rejection:
        with self._naming("draw", f"video {video.key.content[:12]}", category):
            drawn = self._task.draw(video, category, config, rng, donors)
            if not isinstance(drawn, Sample | Rejection):
                raise TypeError(f"it must return a Sample or a Rejection, and returned {drawn!r}")
            return drawn

    def render(self, frames: Frames, sample: Sample) -> list[Clip]:
        with self._naming("render", f"sample {sample.id}", sample.category):
            return self._task.render(frames, sample)

    def question(self, sample: Sample, templates: PromptTemplates) -> Question:
        with self._naming("question", f"sample {sample.id} with these templates", sample.category):
            return self._task.question(sample, templates)

    def truth(self, sample: Sample) -> Truth:
        with self._naming("truth", f"sample {sample.id}", sample.category):
            return self._task.truth(sample)

    def difficulty(self, sample: Sample) -> Mapping[str, float | str]:
        with self._naming("difficulty", f"sample {sample.id}", sample.category):
            return self._task.difficulty(sample)

    def score(self, answer: str, sample: Sample) -> Scores:
        with self._naming("score", f"sample {sample.id}", sample.category):
            return self._task.score(answer, sample)

    def unaltered(self, sample: Sample, kept: Sequence[int]) -> Sequence[tuple[int, int]] | None:
        """Find the (source, frame) that each slot of the first span would show if it had not been altered.

        None where the task does not tell. `kept` has the number of frames in the pack of each source.
        """
        find = getattr(self._task, "unaltered", None)
        with self._naming("unaltered", f"sample {sample.id}", sample.category):
            slots: Sequence[tuple[int, int]] | None = None if find is None else find(sample, kept)
            if slots is None:
                return None
            length = next((last + 1 - first for first, last in self._task.truth(sample).spans), 0)
            if len(slots) != length:
                raise ValueError(f"it must return one frame for each of the {length} slots, and returned {len(slots)}")
            return slots

    def shown_params(self, sample: Sample) -> Mapping[str, JSON]:
        """Return the drawn parameters as people should read them: the sample's own where the task says nothing."""
        show = getattr(self._task, "shown_params", None)
        with self._naming("shown_params", f"sample {sample.id}", sample.category):
            params: Mapping[str, JSON] = sample.params if show is None else show(sample)
            return params

    def _naming(self, method: str, about: str = "", category: str = "") -> AbstractContextManager[None]:
        return _naming(type(self._task), self.name, method, about, category)


def _checked(measures: Iterable[object]) -> Iterator[Measure]:
    for measure in measures:
        if not isinstance(measure, Measure):
            raise TypeError(f"it must give a videossr.Measure for each thing it looks at, and gave {measure!r}")
        yield measure


@contextmanager
def _naming(kind: type[Any], name: str, method: str, about: str = "", category: str = "") -> Iterator[None]:
    """Raise what the block raises as a `TaskError`: task, method, sample or video, error, line of the task's code."""
    try:
        yield
    except (TaskError, CorpusError, OSError, MemoryError):
        raise
    except Exception as error:
        where = f", {about}" * bool(about) + f" (category {category})" * bool(category)
        steps = traceback.extract_tb(error.__traceback__)[1:]
        own = [step for step in steps if step.filename == getattr(sys.modules[kind.__module__], "__file__", None)]
        line = "".join(f" ({Path(step.filename).name}, line {step.lineno})" for step in (own or steps)[-1:])
        raise TaskError(
            f"task {name!r} ({kind.__module__}.{kind.__qualname__}) failed in {method}{where}: "
            f"{type(error).__name__}: {error}{line}"
        ) from error
