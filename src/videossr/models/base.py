"""The protocol of models that answer questions, and the specs that name them.

A spec names a model: `chance`, `constant`, `hf:PATH`, `vllm:PATH`, `openai:MODEL@URL`, `human:FILE`. Its first part is
the entry point in the group `videossr.models`, through which other packages add kinds of their own; the kind reads the
rest. `videossr.bench.evaluation` loads and asks models through this module, whose `OpenModel` names a model in its
errors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from videossr.config import override, parse, plain
from videossr.errors import ConfigError, ModelError, VideoSSRError
from videossr.question import Clip, Question
from videossr.question_set import QuestionSet
from videossr.registry import Registry, describe_failure
from videossr.sample import JSON
from videossr.storage.paths import transport_error

S = TypeVar("S")


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class Decoding:
    """Settings of sampling. The checkpoint's own generation settings are never used.

    The defaults are greedy: temperature 0. `top_p` 1 and `top_k` 0 exclude no token.
    """

    n: Annotated[int, Field(ge=1, le=1024, description="answers a question")] = 1
    temperature: Annotated[float, Field(ge=0, le=10, description="0 is greedy")] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0, description="0 is off")] = 0
    max_tokens: Annotated[int, Field(ge=1, le=65536, description="tokens of an answer, at most")] = 64
    seed: Annotated[int, Field(ge=0, lt=2**63, description="of the random draws, where the model takes one")] = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One question that a model is to answer.

    Attributes:
        index: in its question set.
        question: the texts and clocks.
        category: the kind of question.
        clips: renders the clips when it is called; may be called in any thread, and may raise.
    """

    index: int
    question: Question
    category: str
    clips: Callable[[], list[Clip]]


@dataclass(frozen=True, slots=True)
class Response:
    """The answers of a model to one question, or the error that it met.

    Attributes:
        index: of the question.
        texts: the raw answers, `Decoding.n` of them; none where it failed.
        thoughts: for each text, what the model thought before it, where that was asked for.
        finish: for each text, whether the model stopped by itself or the limit of tokens ended it.
        error: the reason why there is no text; empty where there is one.
        tries: number of times that the question was sent.
        prompt_tokens: length of the prompt, where it is known.
        answer_tokens: for each text, the tokens that the model wrote, thoughts included; none where that is not known.
    """

    index: int
    texts: tuple[str, ...] = ()
    finish: tuple[Literal["stop", "length"], ...] = ()
    error: str = ""
    tries: int = 1
    prompt_tokens: int | None = None
    answer_tokens: tuple[int, ...] = ()
    thoughts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """The questions to which a file has answers that were given before the run.

    Attributes:
        asked: indices of the questions that were shown, in ascending order; some of them may have no answer.
        hash: SHA-256 in hex of the file that holds the answers.
    """

    asked: tuple[int, ...]
    hash: str


class Model(Protocol[S]):
    """A model that answers questions. A class that derives from it, `class Mine(Model[MySettings])`, has its defaults.

    `Settings` is a frozen pydantic dataclass, S, whose defaults work; `--model.NAME=VALUE` overrides them.

    A kind may have further members:

    - `tuning` names the settings that change the speed and not the questions: a run may be resumed with others.
    - `given(target, questions)`, a class method, returns a `Given` for a kind that replies with earlier answers to some
      of the questions: a run asks these alone, and cannot be resumed with another file.
    - `any_questions`, true where a model that was loaded for some questions answers others as well: it is loaded once
      for several benchmarks.

    Attributes:
        waited: seconds so far in which it could have worked but had no frames yet.
    """

    Settings: type[S]
    waited: float

    def __init__(self, target: str, settings: S, questions: QuestionSet) -> None:
        """Load the model.

        Args:
            target: the part of the spec behind its first colon.
            settings: of this kind.
            questions: the questions that will be asked.

        Raises:
            VideoSSRError: the target cannot be used.
            OSError: a file cannot be read.
        """

    def describe(self) -> Mapping[str, JSON]:
        """Return the facts that results record: library versions, prompt layout, server version, encoding of time.

        A `label` among them marks the result wherever it is shown, where questions are not asked as in the paper.
        """

    def resume(self, description: Mapping[str, JSON]) -> None:
        """Ask the remaining questions of a run as in an earlier session of it; by default nothing needs to be done.

        Args:
            description: what `describe` returned in that session.
        """
        return

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """Answer each question, in any order, and yield each response as soon as it is there.

        A question that fails, by its frames or by the model, gives a `Response` with its `error`. Closing the iterator
        frees what it holds.

        Args:
            requests: the questions, taken ahead of the model so that frames are rendered while it works.
            decoding: settings of sampling.

        Raises:
            VideoSSRError: no further question can be answered.
        """


MODELS: Registry[type[Model[Any]]] = Registry("videossr.models")


class OpenModel:
    """A loaded model whose errors name it, and whose responses are what `Model` promises.

    What its code raises becomes a `ModelError`, with the error as its cause; errors of this package and of the machine
    stay as they are.

    Args:
        name: registered name of the kind.
        kind: class of the model.
        target: the part of the spec behind its first colon.
        settings: of the kind.
        questions: the questions that will be asked.
    """

    def __init__(self, name: str, kind: type[Model[Any]], target: str, settings: Any, questions: QuestionSet) -> None:
        self.name = name
        self._kind = kind
        with _naming(kind, name, "__init__"):
            self._model = kind(target, settings, questions)

    @property
    def waited(self) -> float:
        """Return the seconds so far in which it could have worked but had no frames yet."""
        with _naming(self._kind, self.name, "waited"):
            return float(self._model.waited)

    def describe(self) -> dict[str, JSON]:
        """Return the facts that results record, see `Model.describe`."""
        with _naming(self._kind, self.name, "describe"):
            description = plain(self._model.describe())
            json.dumps(description)
            return description

    def resume(self, description: Mapping[str, JSON]) -> None:
        """Ask the remaining questions of a run as before, see `Model.resume`, which need not be there."""
        resume = getattr(self._kind, "resume", Model.resume)
        with _naming(self._kind, self.name, "resume"):
            resume(self._model, description)

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Generator[Response]:
        """Answer each question, see `Model.answer`."""
        with _naming(self._kind, self.name, "answer"):
            responses = self._model.answer(requests, decoding)
            try:
                for response in responses:
                    yield _checked(response)
            finally:
                close = getattr(responses, "close", None)
                if close is not None:
                    close()


def _checked(response: object) -> Response:
    if not isinstance(response, Response):
        raise TypeError(f"it must yield a Response for each question, and yielded {response!r:.200}")
    if not isinstance(response.texts, tuple) or not all(
        isinstance(text, str) for text in (*response.texts, *response.finish, response.error)
    ):
        raise TypeError(f"texts and finish of a Response are tuples of str, and error is a str; got {response!r:.200}")
    return response


@contextmanager
def _naming(kind: type, name: str, method: str) -> Iterator[None]:
    """Raise what the block raises as a `ModelError` that names the model and the method."""
    try:
        yield
    except (VideoSSRError, OSError, MemoryError):
        raise
    except Exception as error:
        if transport_error(error):
            raise
        raise ModelError(describe_failure("model", name, kind, method, error)) from error


@dataclass(frozen=True)
class ModelSpec:
    """A model that is not loaded yet.

    Attributes:
        text: the spec.
        kind: class that its first part names.
        target: the rest of the spec.
        settings: of the kind, with every default filled in.
    """

    text: str
    kind: type[Model[Any]]
    target: str
    settings: Any

    @property
    def tuning(self) -> frozenset[str]:
        """Names of the settings that may differ when a run is resumed."""
        return getattr(self.kind, "tuning", frozenset())

    @property
    def name(self) -> str:
        """Return the registered name of the kind."""
        return self.text.partition(":")[0]

    def given(self, questions: QuestionSet) -> Given | None:
        """Return the questions that were answered before; None for a model that can be asked all of them.

        Raises:
            DataError: the answers belong to other questions, or their file is damaged.
            OSError: the file cannot be read.
        """
        find: Callable[[str, QuestionSet], Given] | None = getattr(self.kind, "given", None)
        with _naming(self.kind, self.name, "given"):
            return find(self.target, questions) if find else None

    def load(self, questions: QuestionSet) -> OpenModel:
        """Load the model for some questions, see `Model.__init__`."""
        return OpenModel(self.name, self.kind, self.target, self.settings, questions)


@dataclass(frozen=True)
class SharedModel(ModelSpec):
    """A model that is asked several sets of questions, and loaded once for all of them where its kind allows that."""

    _loaded: list[OpenModel] = field(default_factory=list, compare=False)

    @classmethod
    def of(cls, spec: ModelSpec) -> SharedModel:
        """Make a shared model of a spec."""
        return cls(spec.text, spec.kind, spec.target, spec.settings)

    def load(self, questions: QuestionSet) -> OpenModel:
        """Load the model, or return it as it was loaded for earlier questions."""
        if not (self._loaded and getattr(self.kind, "any_questions", False)):
            self._loaded[:] = [super().load(questions)]
        return self._loaded[0]


def model_spec(text: str, settings: Mapping[str, object] | None = None) -> ModelSpec:
    """Parse a spec and its settings. Only the module of the kind is loaded.

    Args:
        text: the spec, such as ``hf:PATH``.
        settings: values that replace defaults, as text.

    Raises:
        ConfigError: the kind or a setting is not known, and the message suggests the nearest known one; or the kind is
            no class with `Settings`.
    """
    name, _, target = text.partition(":")
    if name not in MODELS.names() and "/" in text:
        raise ConfigError(f"--model {text}: say what runs it: hf:{text}, vllm:{text}, or openai:MODEL@URL")
    kind = MODELS.get(name)
    if not (isinstance(kind, type) and is_dataclass(getattr(kind, "Settings", None))):
        raise ConfigError(
            f"{MODELS.group}: {name!r} ({MODELS.module(name)}) must be a class with Settings, a frozen pydantic "
            f"dataclass, and is {kind!r}"
        )
    table: Mapping[str, Any] = {}
    for setting, value in (settings or {}).items():
        table = override(table, setting, value)
    return ModelSpec(text, kind, target, parse(kind.Settings, table, f"--model {name}"))
