"""Put questions to a model and keep what it says, so that nothing is asked twice.

Exercised by `videossr bench run demo/viubench --model chance --out demo/runs/chance`.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import tomli_w

from videossr.bench.runs import CONFIG, MANIFEST, PREDICTIONS, Prediction, Run, RunConfig, RunManifest, read_run
from videossr.bench.score import mark
from videossr.build.manifest import versions
from videossr.models.base import Ask, Decoding, Model, ModelSpec, Reply
from videossr.models.guess import GUESSES, laws
from videossr.question import Question
from videossr.questions import Questions
from videossr.rewards import scorer
from videossr.store import Place, is_local, place, workshop, write_text

SYNC = 5.0
"""Seconds between two times at which what was written is forced to the disk: a power cut loses no more."""

_CLOCK = "sittings.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        done, total: questions that have a prediction, and all that are to be asked.
        failed: of those done, how many gave no text.
        score: mean of the columns so far, by their metrics.
    """

    done: int
    total: int
    failed: int
    score: float


def run(
    questions: Questions,
    model: ModelSpec,
    out: str | Place,
    *,
    decoding: Decoding | None = None,
    limit: int | None = None,
    verb: Literal["run", "probe"] = "run",
    progress: Callable[[Progress], None] = lambda state: None,
) -> Run:
    """Ask every question that is still open in `out`, or that failed there, and write down each answer as it comes.

    The model is loaded only if there is something to ask. Whatever stops a run, the same call goes on behind its last
    answer. A question that cannot be read, shown, or answered becomes a prediction with its error.

    Args:
        questions: what is asked.
        model: what answers.
        out: folder of the run, on this machine.
        decoding: greedy by default.
        limit: ask this many, spread evenly over the columns.
        verb: which command it is for.
        progress: told the state after every answer.

    Raises:
        ValueError: `out` holds something else, or a run that was asked otherwise, or is being run by another process.
        OSError: nothing more can be written.
    """
    folder = place(out)
    if not is_local(folder):
        raise ValueError(
            f"{folder}: a run is written line by line, which only a local folder allows; copy it afterwards"
        )
    config = RunConfig(
        verb=verb,
        questions=str(questions.path),
        hash=questions.hash,
        size=len(questions),
        model=model.text,
        settings=_plain(asdict(model.settings)),
        decoding=decoding or Decoding(),
        limit=limit,
    )
    chosen = choose(questions, limit)
    ours = (folder / CONFIG).exists()
    if ours:
        _check_same(folder, config)
    with workshop(folder, {"verb": f"bench {verb}"}, ours=ours) as shop:
        if not (folder / CONFIG).exists():
            write_text(folder / CONFIG, tomli_w.dumps(_plain(asdict(config))))
        _mend(folder / PREDICTIONS)
        before = {prediction.index: prediction for prediction in read_run(folder).predictions}
        finished = {index for index, prediction in before.items() if not prediction.error}
        state = _State(len(chosen), progress)
        for prediction in before.values():
            state.add(prediction)
        sittings = _Sittings.read(shop / _CLOCK, folder / MANIFEST)
        if still_open := [index for index in chosen if index not in finished]:
            sittings = _sit(questions, model, folder, config.decoding, still_open, state, sittings, shop / _CLOCK)
        if still_open or not (folder / MANIFEST).exists():
            _finish(folder, questions, config, sittings)
        shutil.rmtree(shop)
    return read_run(folder)


def choose(questions: Questions, limit: int | None) -> list[int]:
    """Which questions are asked: all, or `limit` of them, as many of each column as it has and the same few elsewhere.

    Within a column they are spread evenly. The same questions and limit give the same choice.
    """
    if limit is None or limit >= len(questions):
        return list(range(len(questions)))
    columns: dict[str, list[int]] = defaultdict(list)
    for index in range(len(questions)):
        columns[questions.column(index)].append(index)
    left, chosen = limit, []
    for place_, (_, members) in enumerate(sorted(columns.items(), key=lambda item: (len(item[1]), item[0]))):
        share = min(len(members), left // (len(columns) - place_))
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
    """The running score of a run: for each column, the marks of its questions; the last prediction of each counts."""

    def __init__(self, total: int, progress: Callable[[Progress], None]) -> None:
        self._total = total
        self._progress = progress
        self._marks: dict[str, dict[int, float]] = defaultdict(dict)
        self._failed: set[int] = set()

    def add(self, prediction: Prediction) -> None:
        self._marks[prediction.column][prediction.index] = mark(prediction).score
        (self._failed.add if prediction.error else self._failed.discard)(prediction.index)

    def tell(self) -> None:
        done = sum(map(len, self._marks.values()))
        score = fmean(fmean(marks.values()) for marks in self._marks.values()) if done else 0.0
        self._progress(Progress(done, self._total, len(self._failed), score))


def _sit(
    questions: Questions,
    spec: ModelSpec,
    folder: Path,
    decoding: Decoding,
    still_open: Sequence[int],
    state: _State,
    before: _Sittings,
    notes: Path,
) -> _Sittings:
    """Ask what is open; the time of all sittings."""
    started = time.monotonic()
    model = spec.load(questions)
    told = _plain(dict(model.describe()))

    def now() -> _Sittings:
        return _Sittings(before.seconds + time.monotonic() - started, before.waited + model.waited, told)

    with _appending(folder / PREDICTIONS) as append:
        synced = time.monotonic()
        now().write(notes)
        state.tell()
        try:
            for prediction in _predictions(questions, model, decoding, still_open):
                append(prediction, False)
                state.add(prediction)
                state.tell()
                if time.monotonic() - synced > SYNC:
                    append(None, True)
                    now().write(notes)
                    synced = time.monotonic()
        finally:
            append(None, True)
            now().write(notes)
    return now()


def _predictions(
    questions: Questions, model: Model[Any], decoding: Decoding, still_open: Sequence[int]
) -> Iterator[Prediction]:
    """One for each open question. The model reads ahead, perhaps in a thread of its own, and answers in any order."""
    asked: dict[int, Prediction] = {}
    broken: deque[Prediction] = deque()

    def asks() -> Iterator[Ask]:
        for index in still_open:
            facts: dict[str, Any] = {"column": "?", "id": f"#{index}", "data_source": "", "answer": ""}
            facts |= {"times_ms": (), "end_ms": 0, "source": "", "difficulty": {}}
            try:
                question = _read(questions, index, facts)
            except Exception as error:  # whatever a damaged row raises, the other questions can still be asked
                told = _storable(f"question: {type(error).__name__}: {error}")
                broken.append(Prediction(index=index, error=told, **facts))
                continue
            asked[index] = Prediction(index=index, **facts)
            yield Ask(index, question, asked[index].column, partial(questions.clips, index))

    replies = model.answer(asks(), decoding)
    try:
        for reply in replies:
            while broken:
                yield broken.popleft()
            if reply.index not in asked:
                raise ValueError(f"the model answered question {reply.index}, which is not open")
            yield _answered(asked.pop(reply.index), reply, decoding.n)
    finally:
        close = getattr(replies, "close", None)
        if close is not None:
            close()
    yield from broken
    for prediction in asked.values():
        yield replace(prediction, error="model: gave no reply")


def _read(questions: Questions, index: int, facts: dict[str, Any]) -> Question:
    """The question; what a prediction tells of it goes into `facts`, as far as the question can be read.

    Raises whatever a damaged question raises, and ValueError when its gold answer cannot be scored.
    """
    facts["column"] = questions.column(index)
    question = questions.question(index)
    facts |= {"id": question.id, "data_source": question.data_source, "answer": question.answer}
    facts |= {"times_ms": question.clocks[0].times_ms, "end_ms": question.clocks[0].end_ms}
    scorer(question.data_source)(question.answer, question.answer)
    facts |= {"source": questions.source(index), "difficulty": dict(questions.difficulty(index))}
    return question


def _answered(asked: Prediction, reply: Reply, wanted: int) -> Prediction:
    error = reply.error
    if not error and len(reply.texts) != wanted:
        error = f"model: gave {len(reply.texts)} answers of {wanted}"
    texts, finish = ((), ()) if error else (reply.texts, reply.finish)
    return replace(
        asked,
        texts=tuple(_storable(text) for text in texts),
        finish=tuple(finish),
        error=_storable(error),
        tries=reply.tries,
        prompt_tokens=reply.prompt_tokens,
    )


def _storable(text: str) -> str:
    """The text as it is; halves of a character, which no file in UTF-8 can hold, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@contextmanager
def _appending(path: Path) -> Iterator[Callable[[Prediction | None, bool], None]]:
    """Yield a function that appends a prediction, given one, and then, if told to, forces the file to the disk.

    Every line has left this process when the function returns. OSError names the file.
    """
    try:
        with path.open("ab", buffering=0) as file:

            def append(prediction: Prediction | None, sync: bool) -> None:
                rest = memoryview(f"{prediction.to_json()}\n".encode() if prediction else b"")
                while rest:
                    rest = rest[file.write(rest) :]
                if sync:
                    os.fsync(file.fileno())

            yield append
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) and error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


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


def _check_same(folder: Path, config: RunConfig) -> None:
    """Raises ValueError that says what was asked otherwise in the run that is there; where its questions lay is free."""
    there, here = (_flat(_plain(asdict(made))) for made in (read_run(folder).config, config))
    different = [
        f"{name} is {there.get(name, 'not set')!s:.80} there, {here.get(name, 'not set')!s:.80} here"
        for name in {**there, **here}
        if name != "questions" and there.get(name) != here.get(name)
    ]
    if different:
        raise ValueError(f"{folder} holds a run that was asked otherwise: {'; '.join(different)}. Choose another --out")


def _finish(folder: Path, questions: Questions, config: RunConfig, sittings: _Sittings) -> None:
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
            column: {guess: asdict(law.worth(guess)) for guess in GUESSES} for column, law in laws(questions).items()
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
