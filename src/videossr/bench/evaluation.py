"""Ask a model the questions of a benchmark, and write each answer down as it comes, so that nothing is asked twice.

Exercised by `videossr bench run demo/viubench --model chance --out demo/runs/chance`.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import tomli_w

from videossr.answers.base import GUESSES
from videossr.bench.asking import ask
from videossr.bench.records import (
    CONFIG,
    MANIFEST,
    PREDICTIONS,
    UNREAD,
    BenchmarkConfig,
    Prediction,
    Run,
    RunConfig,
    RunManifest,
    read_run,
)
from videossr.bench.scoring import score_prediction
from videossr.config import changes, flatten, plain
from videossr.dataset.manifest import versions
from videossr.models.answer_distribution import answer_distributions
from videossr.models.base import Decoding, ModelSpec, OpenModel, model_spec
from videossr.question_set import QuestionSet, open_questions
from videossr.storage.jsonl import JsonlWriter, read_json
from videossr.storage.output_dir import OutputDir, local_folder
from videossr.storage.paths import AnyPath, write_text

STOP_AFTER = 10
"""Questions that fail for one reason before any has an answer, until a run stops."""

_SESSION = "session.json"
"""In the staging directory: what the calls so far took."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run.

    Attributes:
        done, total: questions that have a prediction, and all that are to be asked.
        failed: of those done, how many gave no text.
        score: mean of the categories so far, by their metrics; None while nothing is answered.
    """

    done: int
    total: int
    failed: int
    score: float | None


def evaluate(
    questions: str | AnyPath | QuestionSet,
    model: str | ModelSpec,
    out: str | AnyPath,
    *,
    decoding: Decoding | None = None,
    limit: int | None = None,
    verb: Literal["run", "probe"] = "run",
    benchmark: BenchmarkConfig | None = None,
    stop_after: int = STOP_AFTER,
    progress: Callable[[Progress], None] = lambda state: None,
) -> Run:
    """Ask every question that is still open in `out`, or that failed there, and write down each answer as it comes.

    The model is loaded only if there is something to ask. Whatever stops a run, the same call goes on behind its last
    answer. A question that cannot be read, shown, or answered becomes a prediction with its error.

    Args:
        questions: a benchmark, a dataset or published rows: its path, or what `open_questions` returned, which also
            takes a corpus, a source, and `anywhere` for rows whose files lie in other folders.
        model: what answers, as `--model` takes it, such as ``hf:CHECKPOINT``, or what `model_spec` returned.
        out: folder of the run, on this machine.
        decoding: greedy by default.
        limit: ask this many, spread evenly over the categories.
        verb: which command it is for.
        benchmark: the public benchmark that `questions` are. Its run records no expected scores of guesses, since its
            videos would have to be opened for them.
        stop_after: stop when so many questions have failed for one reason and none has an answer, here or in an
            earlier call; 0 asks all.
        progress: called with the state after every answer.

    Raises:
        NothingAnsweredError: as `stop_after` says. What came back is in `out`.
        ModelError: the code of the model fails; what came back is in `out`.
        TaskError: the code of a task fails, before anything is asked.
        OutputError: `out` holds something else, or a run that was made otherwise, or is being run by another process.
        OSError: nothing more can be written.
    """
    folder = local_folder(out)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more, got {limit}")
    if isinstance(questions, str | AnyPath):
        questions = open_questions(questions)
    if isinstance(model, str):
        model = model_spec(model)
    given = model.given(questions)
    config = RunConfig(
        verb=verb,
        questions=str(questions.path),
        hash=questions.hash,
        size=len(questions),
        model=model.text,
        settings=plain(model.settings),
        decoding=decoding or Decoding(),
        limit=limit,
        answers=given.hash if given else None,
        shown=len(given.asked) if given else None,
        benchmark=benchmark,
    )
    chosen = choose_questions(questions, limit, given.asked if given else None)
    output = OutputDir(folder, f"bench {verb}", "run")
    begun = (folder / CONFIG).exists()
    if begun:
        recorded, wanted = (_decisive(made, model.tuning) for made in (read_run(folder).config, config))
        output.refuse_differences(changes(recorded, wanted))
    with output.open(reopen=begun) as staging:
        before = read_run(folder).predictions if begun else ()
        finished = {prediction.index for prediction in before if not prediction.error}
        state = _State(len(chosen), progress)
        for prediction in before:
            state.add(prediction)
        session = _Session.read(staging / _SESSION, folder / MANIFEST)
        still_open = order_by_video(questions, [index for index in chosen if index not in finished])
        unfinished = bool(still_open) or not (folder / MANIFEST).exists()
        # A task whose distribution is wrong must be told before anything is asked.
        chance = _expected_scores(questions) if unfinished and benchmark is None else {}
        if still_open:
            started = time.monotonic()
            loaded = model.load(questions)
            if session.model:
                loaded.resume(session.model)
            if not begun:
                write_text(folder / CONFIG, tomli_w.dumps(plain(config)))
            clock = _SessionClock(loaded, session, started, staging / _SESSION)
            bound = 0 if finished else stop_after
            with closing(ask(questions, loaded, config.decoding, still_open, bound)) as predictions:
                _write_predictions(predictions, folder / PREDICTIONS, clock, state)
            session = clock.total()
        if unfinished:
            _write_manifest(folder, config, session, chance)
    return read_run(folder)


def choose_questions(questions: QuestionSet, limit: int | None, among: Sequence[int] | None = None) -> list[int]:
    """Choose the questions that are asked: all, or `limit` of them, as many of each category as it has, at most.

    Within a category they are spread evenly. The same questions and limit give the same choice.

    Args:
        questions: all of them.
        limit: how many are asked; None: all.
        among: indices of the questions that can be asked, where not all can.

    Returns:
        Indices, ascending.
    """
    indices = list(range(len(questions)) if among is None else among)
    if limit is None or limit >= len(indices):
        return indices
    categories: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        categories[questions.category(index)].append(index)
    left, chosen = limit, []
    for position, (_, members) in enumerate(sorted(categories.items(), key=lambda item: (len(item[1]), item[0]))):
        share = min(len(members), left // (len(categories) - position))
        left -= share
        chosen += [members[k * len(members) // share] for k in range(share)]
    return sorted(chosen)


def order_by_video(questions: QuestionSet, indices: Sequence[int]) -> list[int]:
    """Put questions about one video one after the other, where the first of them stands: a model may read it once."""
    first: dict[str, int] = {}
    keys = {}
    for index in indices:
        try:
            source = questions.source(index)
        except Exception:  # a row that cannot be read is told when it is asked
            source = f"\n{index}"
        keys[index] = (first.setdefault(source, index), index)
    return sorted(indices, key=keys.__getitem__)


@dataclass(frozen=True, slots=True)
class _Session:
    """The time that all calls so far took for a run, and the model's description in the last one.

    Attributes:
        seconds: from loading the model to the last answer.
        waited: seconds of these in which the model stood still for frames.
        model: library versions, layout and the like, see `Model.describe`.
    """

    seconds: float = 0.0
    waited: float = 0.0
    model: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, manifest: Path) -> _Session:
        """Read the notes of a run that was stopped, or the manifest of one whose failures are asked once more."""
        for file in (path, manifest):
            notes = read_json(cls, file, way_out="delete it, and the same command goes on")
            if notes is not None:
                return notes
        return cls()


class _State:
    """The running score of a run: for each category the sum of its scores, with the last one of each question."""

    def __init__(self, total: int, progress: Callable[[Progress], None]) -> None:
        self._total = total
        self._progress = progress
        self._scores: dict[int, float] = {}
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: Counter[str] = Counter()
        self._failed: set[int] = set()

    def add(self, prediction: Prediction) -> None:
        """Score a prediction, which replaces an earlier one of the same question."""
        index, category, score = prediction.index, prediction.category, score_prediction(prediction).score
        self._counts[category] += index not in self._scores
        self._sums[category] += score - self._scores.get(index, 0.0)
        self._scores[index] = score
        if prediction.error:
            self._failed.add(index)
        else:
            self._failed.discard(index)

    def report(self) -> None:
        """Call the progress callback with the state now."""
        categories = [category for category in self._counts if category != UNREAD]
        answered = categories and len(self._failed) < len(self._scores)
        score = fmean(self._sums[category] / self._counts[category] for category in categories) if answered else None
        self._progress(Progress(len(self._scores), self._total, len(self._failed), score))


class _SessionClock:
    """Add the time of this call to that of the calls before."""

    def __init__(self, model: OpenModel, before: _Session, started: float, path: Path) -> None:
        self._model = model
        self._waited = model.waited  # for earlier questions, where several sets are asked of one loaded model
        self._before = before
        self._started = started
        self._path = path

    def total(self) -> _Session:
        """Sum up all calls. What a model says of itself may change while it is asked: a server refuses a field."""
        seconds = time.monotonic() - self._started
        waited = self._before.waited + self._model.waited - self._waited
        return _Session(self._before.seconds + seconds, waited, self._model.describe())

    def write(self) -> None:
        """Write the sum down for the next call, should this one be stopped."""
        write_text(self._path, json.dumps(asdict(self.total())))


def _write_predictions(predictions: Iterable[Prediction], path: Path, clock: _SessionClock, state: _State) -> None:
    """Append each prediction as it comes; each has left this process before the next is waited for.

    Raises OSError that names the file when nothing more can be written.
    """
    with JsonlWriter(path) as file:
        clock.write()
        state.report()
        try:
            for prediction in predictions:
                synced = file.append(prediction)
                state.add(prediction)
                state.report()
                if synced:
                    clock.write()
        except BaseException:
            with suppress(OSError):  # what stopped the run is what must be told
                clock.write()
            raise
        clock.write()


def _decisive(config: RunConfig, tuning: frozenset[str]) -> dict[str, Any]:
    """Return the settings that must be the same for a run to go on, by dotted names.

    Its questions may have moved, and what decides only how fast the model works (`tuning`) may differ.
    """
    free = {"questions", *(f"settings.{name}" for name in tuning)}
    return {name: value for name, value in flatten(plain(config)).items() if name not in free}


def _expected_scores(questions: QuestionSet) -> dict[str, dict[str, dict[str, float]]]:
    """Compute what each guess scores, by category and guess."""
    return {
        category: {guess: asdict(distribution.expected_score(guess)) for guess in GUESSES}
        for category, distribution in answer_distributions(questions).items()
    }


def _write_manifest(
    folder: Path, config: RunConfig, session: _Session, chance: dict[str, dict[str, dict[str, float]]]
) -> None:
    predictions = read_run(folder).predictions
    sources = {prediction.data_source.removeprefix("videossr/") for prediction in predictions}
    manifest = RunManifest(
        kind="run",
        model=dict(session.model),
        asked=len(predictions),
        answered=sum(not prediction.error for prediction in predictions),
        seconds=round(session.seconds, 3),
        waited=round(session.waited, 3),
        versions=versions(sources),
        hash=config.hash,
        chance=chance,
    )
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")
