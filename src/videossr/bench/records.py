"""Read a run from its folder: what was asked of which model, and what it said.

    config.toml         the benchmark, its hash, the model's spec and settings, how it decoded
    predictions.jsonl   one line a question, in the order in which the answers came, with the raw text
    manifest.json       written last: its presence means that every question was asked

A line holds all that scoring and comparing need, so a run is worth something without its benchmark. Exercised by
`videossr bench score RUN`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked
from typing_extensions import TypedDict

from videossr.config import parse
from videossr.errors import DataError, NotFoundError
from videossr.models.base import Decoding
from videossr.storage.identifiers import Count, Line, Sha256
from videossr.storage.jsonl import read_json, read_jsonl
from videossr.storage.parsing import load_toml
from videossr.storage.paths import AnyPath, is_local, to_path

CONFIG = "config.toml"
PREDICTIONS = "predictions.jsonl"
MANIFEST = "manifest.json"

UNREAD = "?"
"""The category of questions that could not even be read. It is in no mean; coverage tells of it."""


_AGAIN = "the command that made the run asks again what is missing"


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class BenchmarkConfig:
    """The public benchmark that a run asks, and how it is shown.

    Attributes:
        name: registered name of the benchmark.
        frames: frames of a video, at most.
        settings: of the benchmark, every default written out.
        templates: SHA-256 in hex of the texts that ask.
    """

    name: str
    frames: Annotated[int, Field(ge=2)]
    settings: dict[str, Any]
    templates: Sha256


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class RunConfig:
    """Everything that decides what a run asks, and how.

    Attributes:
        verb: which command made it; `probe` samples several answers a question.
        questions: where the questions lay, as an absolute path or an address.
        hash: their content hash.
        size: how many there are.
        model: the model's spec.
        settings: the model's settings, every default written out.
        decoding: how it decoded.
        limit: how many questions were asked, spread evenly over the categories; None: all.
        answers: SHA-256 in hex of the file that holds the answers, where they were given before the run.
        shown: how many questions that file is about; None: all.
        benchmark: which public benchmark it is; None for any other questions.
    """

    verb: Literal["run", "probe"]
    questions: str
    hash: Sha256
    size: Annotated[int, Field(ge=1)]
    model: str
    settings: dict[str, Any]
    decoding: Decoding
    limit: Annotated[int, Field(ge=1)] | None = None
    answers: Sha256 | None = None
    shown: int | None = None
    benchmark: BenchmarkConfig | None = None

    @property
    def wanted(self) -> int:
        """Return the number of questions that are to be asked."""
        most = self.size if self.shown is None else self.shown
        return most if self.limit is None else min(self.limit, most)


class RunManifest(TypedDict):
    """The summary of a complete run.

    `model` is what the model says of itself, `asked` and `answered` count questions, `seconds` is how long all calls
    took, `waited` how much of that the model stood still for frames, `hash` is that of the questions. `chance` is what
    answers without looking are expected to score: by category and guess, see `videossr.models.answer_distribution`.
    """

    kind: Literal["run"]
    model: dict[str, Any]
    asked: int
    answered: int
    seconds: float
    waited: float
    versions: dict[Line, Line]
    hash: Sha256
    chance: NotRequired[dict[str, dict[str, dict[str, float]]]]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One question, and what the model said.

    Attributes:
        id, index, category, data_source, answer: of the question; `answer` is the gold one.
        difficulty: what makes it hard, by name.
        times_ms, end_ms: the clock of its first clip.
        source: the video that it is about, see `QuestionSet.source`.
        texts: the answers; none where it failed. They are raw, but for thoughts where these were asked for.
        finish: for each text, whether the model stopped or was cut off.
        error: why there is no text.
        tries: how often it was asked.
        prompt_tokens: length of what the model read, where that is known.
        answer_tokens: for each text, the tokens that the model wrote, thoughts included; none where that is not known.
        thoughts: for each text, what the model thought before it, where that was asked for.
    """

    id: str
    index: int
    category: str
    data_source: str
    answer: str
    difficulty: Mapping[str, float | str]
    times_ms: tuple[Count, ...]
    end_ms: Count
    source: str = ""
    texts: tuple[str, ...] = ()
    finish: tuple[str, ...] = ()
    error: str = ""
    tries: int = 1
    prompt_tokens: int | None = None
    answer_tokens: tuple[Count, ...] = ()
    thoughts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run as it lies on disk. `manifest` is None while questions are open.

    Each question has its last prediction, in the order of the questions' indices.
    """

    path: AnyPath
    config: RunConfig
    predictions: tuple[Prediction, ...]
    manifest: RunManifest | None

    def __repr__(self) -> str:
        failed = sum(bool(prediction.error) for prediction in self.predictions)
        return (
            f"Run({str(self.path)!r}, {self.config.model} on {self.config.questions}: {len(self.predictions)} of "
            f"{self.config.wanted} answered, {failed} failed)"
        )

    @property
    def name(self) -> str:
        """Return its name in tables, that of its folder."""
        return self.path.name


def is_run(path: str | AnyPath) -> bool:
    """Say whether a folder holds a run of a benchmark, or the beginning of one."""
    try:
        table = load_toml(to_path(path) / CONFIG)
    except (OSError, ValueError):
        return False
    return "model" in table and "questions" in table


def config_folders(top: AnyPath) -> list[AnyPath]:
    """List the folders that have a configuration: this one, or else all below it, by name.

    What is no local folder is returned as it is: its reader raises the error.
    """
    if not is_local(top) or (top / CONFIG).exists() or not top.is_dir():
        return [top]
    found: list[AnyPath] = []
    for inner, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if CONFIG in names:
            folders.clear()
            found.append(to_path(inner))
    return found


def read_config(path: str | AnyPath) -> RunConfig:
    """Read the configuration of the run in a folder.

    Raises:
        NotFoundError: there is none.
        DataError: it is damaged, or that of something else.
    """
    folder = to_path(path)
    try:
        table = load_toml(folder / CONFIG)
    except FileNotFoundError as error:
        below = sorted(str(path) for path in folder.glob(f"*/*/{CONFIG}"))[:4]
        inner = [place.removeprefix(f"{folder}/").removesuffix(f"/{CONFIG}") for place in below]
        way_out = (
            f"there is no {CONFIG} in it; "
            + (f"it holds {', '.join(inner)}" if inner else "name the folder that `videossr bench run … --out` wrote")
            if folder.is_dir()
            else f"make one with `videossr bench run … --out {folder}`"
        )
        raise NotFoundError(f"{folder} is no run: {way_out}") from error
    except ValueError as error:
        raise DataError(f"{folder / CONFIG}: not valid TOML: {error}; run the benchmark into another folder") from error
    if "model" not in table:
        raise DataError(f"{folder} is no run, but something else that has a {CONFIG}")
    if isinstance(table["model"], dict):
        raise DataError(f"{folder} is a training run: look at it with `videossr report {folder}`")
    return parse(RunConfig, table, str(folder / CONFIG))


def read_run(path: str | AnyPath) -> Run:
    """Read the run in a folder, complete or not.

    A last line that was cut off in the middle does not count: its question is still open.

    Raises:
        NotFoundError: there is none.
        DataError: a file is damaged; the message names it, and the line.
    """
    folder = to_path(path)
    config = read_config(folder)
    predictions: dict[int, Prediction] = {}
    for prediction in read_jsonl(
        Prediction, folder / PREDICTIONS, fault="no prediction", way_out=f"delete the line, and {_AGAIN}"
    ):
        if not 0 <= prediction.index < config.size:
            raise DataError(
                f"{folder / PREDICTIONS}: it has question {prediction.index} of {config.size}; delete its line, and "
                f"{_AGAIN}"
            )
        predictions[prediction.index] = prediction
    return Run(
        folder,
        config,
        tuple(predictions[index] for index in sorted(predictions)),
        read_json(RunManifest, folder / MANIFEST, way_out=f"delete it, and {_AGAIN}"),
    )
