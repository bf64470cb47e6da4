"""The contract of a pretext task. `examples/custom_task` is a whole one in another package.

A task never opens a file: it is shown videos as frames, draws samples, and renders them as a pure function.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Protocol, TypeVar

import numpy as np

from videossr.answers.base import ANSWER_TYPES, AnswerDistribution, AnswerType
from videossr.answers.checks import Check
from videossr.errors import ConfigError, CorpusError, TaskError
from videossr.measure import Measure, measured
from videossr.perturb.video import Donors as Donors
from videossr.perturb.video import Video as Video
from videossr.question import Clip, Frames, Question, Truth
from videossr.registry import Registry, describe_failure
from videossr.rewards import Scores, scorer
from videossr.sample import JSON, Rejection, Sample
from videossr.templates import PromptTemplates

K = TypeVar("K")
T = TypeVar("T")


class Task(Protocol[K]):
    """A pretext task. Other packages add theirs through the entry-point group ``videossr.tasks``.

    `Config` is a frozen pydantic dataclass, K; `config` below is an instance of it. A task is made
    without arguments; it and its config are sent to other processes, so both can be pickled.

    A task that needs slots of equal length says ``even_clock = True``: then a corpus of the plan ``snap`` is refused
    before any work. Its gate must hold back uneven videos all the same.

    `answer_type` says how answers are scored, summed up, guessed and drawn: `INTERVAL` of `videossr.answers.interval`,
    say, or `AnswerType("riddle", score)` where nothing is known of the answers but their score.

    Some members are optional:

    - ``answer_distribution(config)`` returns the exact distribution of the answers, an `AnswerDistribution`. Guesses
      then score what it says, and `videossr validate` tests the answers against it. Without it, the distribution is
      estimated from the gold answers.
    - ``checks(samples)`` yields a `Check` for each way in which the samples of a category could tell their answers.
    - ``unaltered(sample, kept)`` of a task that alters the first span of its truth returns what each slot of this span
      would show if it had not: a (source, frame) for each, as in `Sample.slots`, or None where nothing is altered;
      `kept` has the number of frames in the pack of each source. The gallery compares before and after by it, and
      `videossr validate` looks for the change at the borders.
    - ``shown_params(sample)`` returns the drawn parameters as people should read them, if not as in `Sample.params`.
    - ``perturbations(config)`` returns the names of the registered perturbations that a category uses: a dataset
      records which code they are.
    - ``difficulty_labels`` says, by the names of `difficulty`, what a report writes at an axis, units included.
    """

    name: str
    Config: type[K]

    @property
    def answer_type(self) -> AnswerType:
        """Return how answers are parsed, scored, summed up and drawn."""

    def required_frames(self, config: K) -> tuple[int, int]:
        """Return (slots that are shown, frames that a pack must hold for each of them at the least)."""

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
        """Render the clips from `frames` (len(sample.slots), H, W, 3): the slots of the sample, not yet altered.

        Pure: the same arguments give the same bytes. `frames` is not written to.
        """

    def question(self, sample: Sample, templates: PromptTemplates) -> Question:
        """Write what is asked, in the words of `templates`."""

    def truth(self, sample: Sample) -> Truth:
        """Return what the answer rests on."""

    def difficulty(self, sample: Sample) -> Mapping[str, float | str]:
        """Say what makes a sample hard, by name, with units that the task documents; reports group scores by it."""


TASKS: Registry[type[Task[Any]]] = Registry("videossr.tasks")

RELEASED: Mapping[str, str] = {"shuffled": "jigsaw"}
"""Tasks that the paper's released data calls by another name."""


def task_of(data_source: str) -> str:
    """Return the name of the task that a data source is of: `jigsaw` for `videossr/jigsaw` and the released `shuffled`.

    For a data source that names an answer type, as `videossr/choice` does, it is that name.
    """
    name = data_source.rpartition("/")[2]
    return RELEASED.get(name, name)


@cache
def answer_type_of(data_source: str) -> AnswerType:
    """Return the answer type of a data source.

    It is the one that its task declares, else the one that it names, as `videossr/choice` does. Of a data source for
    which nothing is installed but a scorer, it is a type of which nothing else is known.

    Raises:
        ConfigError: nothing that is installed scores the data source, or its code cannot be loaded.
    """
    try:
        score = scorer(data_source)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    name = task_of(data_source)
    if name in TASKS.names():
        return open_task(name).answer_type
    if name in ANSWER_TYPES.names():
        return ANSWER_TYPES.get(name)
    return AnswerType(name, score)


def difficulty_label(task: str, name: str) -> str:
    """Return what a report calls a value of `Task.difficulty`: its name where the task says nothing, or is missing."""
    labels: Mapping[str, str] = getattr(TASKS.get(task), "difficulty_labels", {}) if task in TASKS.names() else {}
    return labels.get(name, name)


def open_task(name: str) -> OpenTask:
    """Make the task with this registered name.

    Whatever one of its methods raises becomes a `TaskError`; errors of the corpus and of the machine stay as they are.

    Raises ValueError when no installed package declares the task, its code cannot be loaded, or it has no Config, no
    gates or no answer type.
    """
    kind = TASKS.get(name)
    if not isinstance(kind, type):
        raise TaskError(f"task {name!r} ({TASKS.module(name)}) must be a class, and is {kind!r}")
    config = getattr(kind, "Config", None)
    if not (isinstance(config, type) and is_dataclass(config)):
        raise TaskError(
            f"task {name!r} ({kind.__module__}.{kind.__qualname__}) must have a Config that is a frozen pydantic "
            f"dataclass, and has {config!r}"
        )
    if not callable(getattr(kind, "gates", None)):
        raise TaskError(
            f"task {name!r} ({kind.__module__}.{kind.__qualname__}) has no method gates(video, config), which yields a "
            "videossr.Measure for each thing that must hold of a video; a task that uses every video returns ()"
        )
    with naming_errors(kind, name, "__init__"):
        task = kind()
    with naming_errors(kind, name, "answer_type"):
        answer_type = getattr(task, "answer_type", None)
    if not isinstance(answer_type, AnswerType):
        raise TaskError(
            f"task {name!r} ({kind.__module__}.{kind.__qualname__}) has no answer_type, which says how its answers are "
            "scored and summed up: declare one of videossr.answers, such as "
            "answer_type = INTERVAL, or answer_type = AnswerType(name, score) for a score of its own"
        )
    return OpenTask(name, task)


class OpenTask:
    """A task whose errors name it. It has all methods of `Task` and the optional ones, and can be pickled if it can.

    What a method returns is checked here, so a caller gets what `Task` promises or a `TaskError`.
    """

    def __init__(self, name: str, task: Task[Any]) -> None:
        self._task = task
        self.name = name
        self.Config = task.Config
        self.answer_type = task.answer_type
        self.even_clock = bool(getattr(task, "even_clock", False))

    def required_frames(self, config: Any) -> tuple[int, int]:
        """Return the slots of a clip, and the frames that a pack must hold for each."""
        with self._naming("required_frames"):
            required = self._task.required_frames(config)
            right = isinstance(required, tuple) and [type(number) for number in required] == [int, int]
            return _returned(
                required, right and min(required) >= 1, "two whole numbers from 1 on, slots and frames a slot"
            )

    def gates(self, video: Video, config: Any) -> list[Measure]:
        """List what the task measures of a video, up to the first failure that no setting can mend."""
        with self._naming("gates", f"video {video.key.content[:12]}"):
            return measured(_checked(self._task.gates(video, config)))

    def draw(
        self, video: Video, category: str, config: Any, rng: np.random.Generator, donors: Donors
    ) -> Sample | Rejection:
        """Draw a sample of a video, or say why none can be drawn.

        All that a dataset asks of a sample later is asked at once: to be written, to score its own answer 1, its truth
        and its difficulty.
        """
        with self._naming("draw", f"video {video.key.content[:12]}", category):
            drawn = self._task.draw(video, category, config, rng, donors)
            _returned(drawn, isinstance(drawn, Sample | Rejection), "a Sample or a Rejection")
            if isinstance(drawn, Rejection):
                return drawn
            try:
                drawn.to_json()
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"it must return a Sample of JSON values, with params {drawn.params!r:.200}: {error}"
                ) from error
        scores = self.score(drawn.answer, drawn)
        with self._naming("draw", lambda: f"sample {drawn.id}", category):
            if (scores.smooth, scores.strict, scores.parsed) != (1, 1, True):
                raise ValueError(
                    f"its answer {drawn.answer!r} must score 1 by the answer type {self.answer_type.name!r}, and gets "
                    f"{scores}"
                )
        self.truth(drawn)
        self.difficulty(drawn)
        return drawn

    def render(self, frames: Frames, sample: Sample) -> list[Clip]:
        """Render the clips of a sample."""
        with self._naming("render", lambda: f"sample {sample.id}", sample.category):
            clips = self._task.render(frames, sample)
            return _returned(clips, bool(clips) and _all(clips, Clip), "one Clip or more")

    def question(self, sample: Sample, templates: PromptTemplates) -> Question:
        """Write the question of a sample."""
        with self._naming("question", lambda: f"sample {sample.id} with these templates", sample.category):
            question = self._task.question(sample, templates)
            return _returned(question, isinstance(question, Question), "a Question")

    def truth(self, sample: Sample) -> Truth:
        """Return what the answer of a sample rests on."""
        with self._naming("truth", lambda: f"sample {sample.id}", sample.category):
            truth = self._task.truth(sample)
            return _returned(truth, isinstance(truth, Truth), "a Truth")

    def difficulty(self, sample: Sample) -> Mapping[str, float | str]:
        """Return what makes a sample hard, by name."""
        with self._naming("difficulty", lambda: f"sample {sample.id}", sample.category):
            difficulty = self._task.difficulty(sample)
            right = (
                isinstance(difficulty, Mapping)
                and _all(difficulty, str)
                and _all(difficulty.values(), float | int | str)
            )
            return _returned(difficulty, right, "a mapping of names to numbers and texts")

    def score(self, answer: str, sample: Sample) -> Scores:
        """Score a model's text by the task's answer type. Never raises, whatever the text."""
        with self._naming("score", lambda: f"sample {sample.id}", sample.category):
            scores = self.answer_type.score(answer, sample.answer)
            return _returned(scores, isinstance(scores, Scores), "Scores")

    def answer_distribution(self, config: Any) -> AnswerDistribution | None:
        """Return the exact distribution of the answers, or None where the task does not tell it."""
        declared = getattr(self._task, "answer_distribution", None)
        with self._naming("answer_distribution"):
            distribution: AnswerDistribution | None = None if declared is None else declared(config)
            methods = (getattr(distribution, name, None) for name in ("text", "expected_score", "checks"))
            return _returned(distribution, distribution is None or all(map(callable, methods)), "an AnswerDistribution")

    def checks(self, samples: Sequence[Sample]) -> list[Check]:
        """Run the checks of the task, by which the samples of a category could give their answers away."""
        declared = getattr(self._task, "checks", None)
        with self._naming("checks", category=samples[0].category if samples else ""):
            checks = [] if declared is None else list(declared(samples))
            return _returned(checks, _all(checks, Check), "a Check for each thing it looks at")

    def unaltered(self, sample: Sample, kept: Sequence[int]) -> Sequence[tuple[int, int]] | None:
        """Find the (source, frame) that each slot of the first span would show if it had not been altered.

        None where the task does not tell. `kept` has the number of frames in the pack of each source.
        """
        find = getattr(self._task, "unaltered", None)
        with self._naming("unaltered", lambda: f"sample {sample.id}", sample.category):
            slots: Sequence[tuple[int, int]] | None = None if find is None else find(sample, kept)
            if slots is None:
                return None
            right = isinstance(slots, Sequence) and all(isinstance(slot, Sequence) and len(slot) == 2 for slot in slots)
            _returned(slots, right, "a (source, frame) for each slot")
            length = next((last + 1 - first for first, last in self.truth(sample).spans), 0)
            if len(slots) != length:
                raise ValueError(f"it must return one frame for each of the {length} slots, and returned {len(slots)}")
            return slots

    def shown_params(self, sample: Sample) -> Mapping[str, JSON]:
        """Return the drawn parameters as people should read them: the sample's own where the task says nothing."""
        show = getattr(self._task, "shown_params", None)
        with self._naming("shown_params", lambda: f"sample {sample.id}", sample.category):
            params: Mapping[str, JSON] = sample.params if show is None else show(sample)
            return _returned(params, isinstance(params, Mapping) and _all(params, str), "a mapping of names to values")

    def perturbations(self, config: Any) -> Sequence[str]:
        """Return the names of the registered perturbations that a category with this config uses."""
        declared = getattr(self._task, "perturbations", None)
        with self._naming("perturbations"):
            names: Collection[str] = () if declared is None else declared(config)
            right = isinstance(names, Collection) and not isinstance(names, str) and _all(names, str)
            return tuple(_returned(names, right, "names of perturbations"))

    def _naming(
        self, method: str, about: str | Callable[[], str] = "", category: str = ""
    ) -> AbstractContextManager[None]:
        return naming_errors(type(self._task), self.name, method, about, category)


def _returned(value: T, right: bool, form: str) -> T:
    """Return what a method of a task returned. Raises TypeError that names the form where it is not `right`."""
    if not right:
        raise TypeError(f"it must return {form}, and returned {value!r:.200}")
    return value


def _all(values: object, kind: type | UnionType) -> bool:
    return isinstance(values, Iterable) and all(isinstance(value, kind) for value in values)


def _checked(measures: Iterable[object]) -> Iterator[Measure]:
    for measure in measures:
        if not isinstance(measure, Measure):
            raise TypeError(f"it must give a videossr.Measure for each thing it looks at, and gave {measure!r}")
        yield measure


@contextmanager
def naming_errors(
    kind: type,
    name: str,
    method: str,
    about: str | Callable[[], str] = "",
    category: str = "",
    what: str = "task",
) -> Iterator[None]:
    """Raise what the block raises as a `TaskError`: name, method, sample or video, error, line of the failing code.

    Args:
        kind: the class whose code runs in the block.
        name: its registered name.
        method: that is called.
        about: the sample or video that it is called for, or a function that names it.
        category: of the recipe.
        what: a task or a perturbation.
    """
    try:
        yield
    except (TaskError, CorpusError, OSError, MemoryError):
        raise
    except Exception as error:
        about = about() if callable(about) else about  # the id of a sample is a hash, which only an error needs
        where = f", {about}" * bool(about) + f" (category {category})" * bool(category)
        raise TaskError(describe_failure(what, name, kind, f"{method}{where}", error)) from error
