"""Put questions to a model and keep what it says, so that nothing is asked twice.

Exercised by `videossr bench run demo/viubench --model chance --out demo/runs/chance`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
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
    Prediction,
    Run,
    RunConfig,
    RunManifest,
    read_run,
)
from videossr.bench.scoring import score_prediction
from videossr.dataset.manifest import versions
from videossr.errors import OutputError
from videossr.models.answer_distribution import answer_distributions
from videossr.models.base import Decoding, Model, ModelSpec, model_spec
from videossr.question_set import QuestionSet, open_questions
from videossr.storage.paths import AnyPath, is_local, staging_dir, to_path, write_text

STOP_AFTER = 10
"""Questions that fail for one reason before any has an answer, until a run stops."""

SYNC = 5.0
"""Seconds between two times at which what was written is forced to the disk: a power cut loses no more."""

_CLOCK = "sittings.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

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
    stop_after: int = STOP_AFTER,
    progress: Callable[[Progress], None] = lambda state: None,
) -> Run:
    """Ask every question that is still open in `out`, or that failed there, and write down each answer as it comes.

    The model is loaded only if there is something to ask. Whatever stops a run, the same call goes on behind its last
    answer. A question that cannot be read, shown, or answered becomes a prediction with its error.

    Args:
        questions: a benchmark, a dataset or published rows: its path, or what `open_questions` returned.
        model: what answers, as `--model` takes it, such as ``hf:CHECKPOINT``, or what `model_spec` returned.
        out: folder of the run, on this machine.
        decoding: greedy by default.
        limit: ask this many, spread evenly over the categories.
        verb: which command it is for.
        stop_after: stop when so many questions have failed for one reason and none has an answer, here or in an
            earlier sitting; 0 asks all.
        progress: told the state after every answer.

    Raises:
        NothingAnsweredError: as `stop_after` says. What came back is in `out`.
        OutputError: `out` holds something else, or a run that was asked otherwise, or is being run by another process.
        OSError: nothing more can be written.
    """
    folder = to_path(out)
    if not is_local(folder):
        raise OutputError(
            f"{folder}: a run is written line by line, which only a local folder allows; copy it afterwards"
        )
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
        settings=_plain(asdict(model.settings)),
        decoding=decoding or Decoding(),
        limit=limit,
        answers=given.hash if given else None,
        shown=len(given.asked) if given else None,
    )
    chosen = choose_questions(questions, limit, given.asked if given else None)
    ours = (folder / CONFIG).exists()
    if ours:
        _check_same(folder, config, model.tuning)
    fresh = not folder.exists()
    with staging_dir(folder, {"verb": f"bench {verb}"}, ours=ours) as staging:
        before = _before(folder) if ours else ()
        finished = {prediction.index for prediction in before if not prediction.error}
        state = _State(len(chosen), progress)
        for prediction in before:
            state.add(prediction)
        sittings = _Sittings.read(staging / _CLOCK, folder / MANIFEST)
        if still_open := [index for index in chosen if index not in finished]:
            started = time.monotonic()
            try:
                loaded = model.load(questions)
            except BaseException:
                if fresh:  # a spec that names nothing leaves nothing
                    shutil.rmtree(folder)
                raise
            if sittings.model and (resume := getattr(loaded, "resume", None)) is not None:
                resume(sittings.model)
            if not ours:
                write_text(folder / CONFIG, tomli_w.dumps(_plain(asdict(config))))
            sitting = _Sitting(loaded, sittings, started, staging / _CLOCK)
            bound = 0 if finished else stop_after
            with closing(ask(questions, loaded, config.decoding, still_open, bound)) as predictions:
                _keep(predictions, folder / PREDICTIONS, sitting, state)
            sittings = sitting.sum()
        if still_open or not (folder / MANIFEST).exists():
            _finish(folder, questions, config, sittings)
        shutil.rmtree(staging)
    return read_run(folder)


def choose_questions(questions: QuestionSet, limit: int | None, among: Sequence[int] | None = None) -> list[int]:
    """Which questions are asked: all, or `limit` of them, as many of each category as of the others, if it has so many.

    Within a category they are spread evenly. The same questions and limit give the same choice. `among` are the indices
    of the questions that can be asked, where not all can.
    """
    indices = list(range(len(questions)) if among is None else among)
    if limit is None or limit >= len(indices):
        return indices
    categories: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        categories[questions.category(index)].append(index)
    left, chosen = limit, []
    for place_, (_, members) in enumerate(sorted(categories.items(), key=lambda item: (len(item[1]), item[0]))):
        share = min(len(members), left // (len(categories) - place_))
        left -= share
        chosen += [members[k * len(members) // share] for k in range(share)]
    return sorted(chosen)


@dataclass(frozen=True, slots=True)
class _Sittings:
    """What the sittings so far took, and what the model told of itself in the last one."""

    seconds: float = 0.0
    waited: float = 0.0
    model: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, manifest: Path) -> _Sittings:
        """From the notes of a run that was stopped, or from its manifest, where failures are asked once more."""
        for file in (path, manifest):
            if file.exists():
                table = json.loads(file.read_text("utf-8"))
                return cls(table["seconds"], table["waited"], table["model"])
        return cls()

    def write(self, path: Path) -> None:
        write_text(path, json.dumps(asdict(self)))


class _State:
    """The running score of a run: the sum of each category's marks, of which the last one of each question counts."""

    def __init__(self, total: int, progress: Callable[[Progress], None]) -> None:
        self._total = total
        self._progress = progress
        self._marks: dict[int, float] = {}
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: Counter[str] = Counter()
        self._failed: set[int] = set()

    def add(self, prediction: Prediction) -> None:
        index, category, score = prediction.index, prediction.category, score_prediction(prediction).score
        self._counts[category] += index not in self._marks
        self._sums[category] += score - self._marks.get(index, 0.0)
        self._marks[index] = score
        (self._failed.add if prediction.error else self._failed.discard)(index)

    def tell(self) -> None:
        categories = [category for category in self._counts if category != UNREAD]
        answered = categories and len(self._failed) < len(self._marks)
        score = fmean(self._sums[category] / self._counts[category] for category in categories) if answered else None
        self._progress(Progress(len(self._marks), self._total, len(self._failed), score))


class _Sitting:
    """The time of this sitting, added to that of those before."""

    def __init__(self, model: Model[Any], before: _Sittings, started: float, path: Path) -> None:
        self._model, self._before, self._started, self._path = model, before, started, path

    def sum(self) -> _Sittings:
        """All sittings so far. What a model tells of itself may change while it is asked: a server refuses a field."""
        seconds, told = time.monotonic() - self._started, _plain(dict(self._model.describe()))
        return _Sittings(self._before.seconds + seconds, self._before.waited + self._model.waited, told)

    def write(self) -> None:
        """Keep it for the sitting that follows, should this one be stopped."""
        write_text(self._path, json.dumps(asdict(self.sum())))


def _keep(predictions: Iterable[Prediction], path: Path, sitting: _Sitting, state: _State) -> None:
    """Append each prediction as it comes; each has left this process before the next is waited for.

    Raises OSError that names the file when nothing more can be written.
    """
    with _named(path), path.open("ab", buffering=0) as file:
        sitting.write()
        state.tell()
        synced = time.monotonic()
        try:
            for prediction in predictions:
                rest = memoryview(f"{prediction.to_json()}\n".encode())
                while rest:
                    rest = rest[file.write(rest) :]
                state.add(prediction)
                state.tell()
                if time.monotonic() - synced > SYNC:
                    os.fsync(file.fileno())
                    sitting.write()
                    synced = time.monotonic()
        except BaseException:
            with suppress(OSError):  # what stopped the run is what must be told
                sitting.write()
            raise
        os.fsync(file.fileno())
        sitting.write()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Tells the file where the system only tells that the disk is full."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _before(folder: Path) -> tuple[Prediction, ...]:
    """What is predicted already, once a line that a killed run has not finished is cut off."""
    _mend(folder / PREDICTIONS)
    return read_run(folder).predictions


def _mend(path: Path) -> None:
    """Cut off a last line that a killed run has not finished."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        end = file.seek(0, os.SEEK_END)
        kept = end
        while kept:
            start = max(0, kept - (1 << 16))
            file.seek(start)
            newline = file.read(kept - start).rfind(b"\n")
            if newline >= 0:
                kept = start + newline + 1
                break
            kept = start
        if kept < end:
            file.truncate(kept)


def _check_same(folder: Path, config: RunConfig, tuning: frozenset[str]) -> None:
    """Raises ValueError that says what was asked otherwise in the run that is there.

    Its questions may have moved, and what only decides how fast the model works may differ.
    """
    free = {"questions", *(f"settings.{name}" for name in tuning)}
    there, here = (_flat(_plain(asdict(made))) for made in (read_run(folder).config, config))
    different = [
        f"{name} is {there.get(name, 'not set')!s:.80} there, {here.get(name, 'not set')!s:.80} here"
        for name in {**there, **here}
        if name not in free and there.get(name) != here.get(name)
    ]
    if different:
        raise OutputError(
            f"{folder} holds a run that was asked otherwise: {'; '.join(different)}. Choose another --out"
        )


def _finish(folder: Path, questions: QuestionSet, config: RunConfig, sittings: _Sittings) -> None:
    predictions = read_run(folder).predictions
    sources = {prediction.data_source.removeprefix("videossr/") for prediction in predictions}
    manifest = RunManifest(
        kind="run",
        model=dict(sittings.model),
        asked=len(predictions),
        answered=sum(not prediction.error for prediction in predictions),
        seconds=round(sittings.seconds, 3),
        waited=round(sittings.waited, 3),
        versions=versions(sources),
        hash=config.hash,
        chance={
            category: {guess: asdict(law.worth(guess)) for guess in GUESSES}
            for category, law in answer_distributions(questions).items()
        },
    )
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def _plain(value: Any) -> Any:
    """As TOML and JSON hold it: lists for tuples, and what is None left out."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    return [_plain(inner) for inner in value] if isinstance(value, tuple | list) else value


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The same with dotted names and no tables in it."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
