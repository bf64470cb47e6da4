"""The contract between a benchmark and whatever answers its questions.

A spec names a model: `chance`, `constant`, `hf:PATH`, `vllm:PATH`, `openai:MODEL@URL`, `human:FILE`. Its first part is
the entry point in the group `videossr.models`, through which other packages add kinds of their own; the rest is for
that kind to read.

Exercised by `videossr bench run BENCH --model chance --out RUN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from videossr.config import override, parse
from videossr.question import Clip, Question
from videossr.question_set import QuestionSet
from videossr.registry import Registry
from videossr.sample import JSON

S = TypeVar("S")


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Decoding:
    """How answers are sampled. The checkpoint's own generation settings are never used.

    The defaults are greedy: temperature 0. `top_p` 1 and `top_k` 0 cut nothing off.
    """

    n: Annotated[int, Field(ge=1, le=1024, description="answers a question")] = 1
    temperature: Annotated[float, Field(ge=0, le=10, description="0 is greedy")] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0, description="0 is off")] = 0
    max_tokens: Annotated[int, Field(ge=1, le=65536, description="tokens of an answer, at most")] = 64
    seed: Annotated[int, Field(ge=0, lt=2**63, description="of the random draws, where the model takes one")] = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One question that is to be answered, and how to get its pixels.

    Attributes:
        index: in its set of questions.
        question: the texts and clocks.
        category: the kind of question.
        clips: renders what is shown, when it is called; may be called in any thread, and raise.
    """

    index: int
    question: Question
    category: str
    clips: Callable[[], list[Clip]]


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one question.

    Attributes:
        index: of the question.
        texts: the raw answers, `Decoding.n` of them; none where it failed.
        finish: for each text, whether the model stopped or was cut off.
        error: why there is no text; empty where there is.
        tries: how often it was asked.
        prompt_tokens: length of what the model read, where that is known.
    """

    index: int
    texts: tuple[str, ...] = ()
    finish: tuple[Literal["stop", "length"], ...] = ()
    error: str = ""
    tries: int = 1
    prompt_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What is known of answers that were given before the run.

    Attributes:
        asked: indices of the questions that were put, in ascending order; some of them may have no answer.
        hash: SHA-256 in hex of the file that holds the answers.
    """

    asked: tuple[int, ...]
    hash: str


class Model(Protocol[S]):
    """What answers questions. Made from what stands behind the spec's first colon, its settings, and the questions.

    `Settings` is a frozen pydantic dataclass, S, whose defaults work; `--model.NAME=VALUE` overrides them.

    A kind may name in `tuning` those settings that decide how fast it works and not what it is asked: a run may go on
    with others. It may have a method `resume(told)`, which is given what `describe` told in an earlier sitting of the
    same run, so that it puts the remaining questions in the same way. A kind that replies with answers given earlier,
    to a part of the questions, has a class method `given(target, questions)`, which returns a `Given`: a run asks these
    questions alone, and does not go on with another file.

    Attributes:
        waited: seconds so far in which it could have worked but had no frames yet.
    """

    Settings: type[S]
    waited: float

    def __init__(self, target: str, settings: S, questions: QuestionSet) -> None:
        """Raises ValueError or OSError that says what is wrong with the target, before any question is asked."""

    def describe(self) -> Mapping[str, JSON]:
        """What a result must tell of it: library versions, prompt layout, server version, how time is told.

        A `label` among it marks the result wherever it is shown, where questions are not put as the paper puts them.
        """

    def answer(self, asks: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """One reply for each question, in any order, as soon as it is there.

        `asks` is consumed as far ahead as the model can make use of, so that frames are rendered while it works. A
        question that fails, by its frames or by the model, gives a `Response` with its `error`. Raises only where no
        further question can be answered; closing the iterator frees what it holds.
        """


MODELS: Registry[type[Model[Any]]] = Registry("videossr.models")


@dataclass(frozen=True)
class ModelSpec:
    """A model that is not loaded yet: its spec, what that names, and its settings, every default filled in."""

    text: str
    kind: type[Model[Any]]
    target: str
    settings: Any

    @property
    def tuning(self) -> frozenset[str]:
        """Names of the settings with others of which a run may go on."""
        return getattr(self.kind, "tuning", frozenset())

    def given(self, questions: QuestionSet) -> Given | None:
        """Return which questions were answered before; None for a model that can be asked all of them.

        Raises ValueError or OSError where the answers cannot be read or belong to other questions.
        """
        find: Callable[[str, QuestionSet], Given] | None = getattr(self.kind, "given", None)
        return find(self.target, questions) if find else None

    def load(self, questions: QuestionSet) -> Model[Any]:
        """Raises ValueError or OSError that says what is wrong with the target."""
        return self.kind(self.target, self.settings, questions)


def model_spec(text: str, settings: Mapping[str, str] | None = None) -> ModelSpec:
    """What a spec names, with settings laid over its defaults. Nothing is loaded but its module.

    Raises ValueError for an unknown kind or setting, naming the nearest known one.
    """
    kind, _, target = text.partition(":")
    found = MODELS.get(kind)
    table: Mapping[str, Any] = {}
    for name, value in (settings or {}).items():
        table = override(table, name, value)
    return ModelSpec(text, found, target, parse(found.Settings, table, f"--model {kind}"))
