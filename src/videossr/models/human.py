"""A person as a model, `human:FILE`: the answers that the page of `videossr gallery DATASET --quiz` has saved."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from videossr.errors import DataError, NotFoundError
from videossr.models.base import Decoding, Given, Model, Request, Response
from videossr.models.baselines import NoSettings
from videossr.models.openai.errors import harmless
from videossr.question_set import QuestionSet
from videossr.sample import JSON
from videossr.storage.identifiers import Sha256
from videossr.storage.parsing import read_limited
from videossr.storage.paths import to_path

NOT_ANSWERED = "not answered: the question was shown, and no complete answer was given"


@checked(frozen=True, config=ConfigDict(extra="forbid"), kw_only=True)
class AnswerSheet:
    """The file of answers, as the page writes it.

    Attributes:
        kind: marks the file as one of answers.
        hash: content hash of the dataset or benchmark.
        shown: how the frames were presented, in words.
        answers: id of each question that was shown -> the answer in the asked form; empty where none was given.
    """

    kind: Literal["answers"]
    hash: Sha256
    shown: str
    answers: dict[str, str]


class Human(Model[NoSettings]):
    """`human:FILE` replies with the answers in a file. Only the questions that were shown are asked."""

    Settings = NoSettings

    def __init__(self, target: str, settings: NoSettings, questions: QuestionSet) -> None:
        self.waited = 0.0
        self._file = target
        self._sheet = _read(target)[0]

    @classmethod
    def given(cls, target: str, questions: QuestionSet) -> Given:
        """Find the questions that were shown, and hash the file.

        Raises:
            NotFoundError: there is no such file.
            DataError: it is no file of answers, is about other questions, or has not one answer.
        """
        sheet, digest = _read(target)
        if sheet.hash != questions.hash:
            raise DataError(
                f"{target}: answers to other questions: it names the hash {sheet.hash[:12]}, that of "
                f"{questions.path} is {questions.hash[:12]}. Name the dataset from which the quiz was made"
            )
        if not any(text.strip() for text in sheet.answers.values()):
            raise DataError(f"{target}: not one of its {len(sheet.answers)} questions is answered")
        indices = {questions.question(index).id: index for index in range(len(questions))}
        unknown = [name for name in sheet.answers if name not in indices]
        if unknown:
            raise DataError(f"{target}: {questions.path} has no question {harmless(unknown[0], 40)!r}")
        return Given(tuple(sorted(indices[name] for name in sheet.answers)), digest)

    def describe(self) -> dict[str, JSON]:
        """Return how many questions were shown and answered, and how the frames were presented."""
        answered = sum(bool(text.strip()) for text in self._sheet.answers.values())
        return {
            "label": "answered by a person",
            "answered": answered,
            "questions": len(self._sheet.answers),
            "shown": self._sheet.shown,
        }

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """Yield the answers first, and then an error for each question that has none."""
        if decoding.n != 1:
            raise DataError(f"{self._file}: a person answered each question once, {decoding.n} answers are asked for")
        unanswered: list[int] = []
        for request in requests:
            text = self._sheet.answers[request.question.id].strip()
            if text:
                yield Response(request.index, (text,), ("stop",))
            else:
                unanswered.append(request.index)
        for index in unanswered:
            yield Response(index, error=NOT_ANSWERED)


def _read(target: str) -> tuple[AnswerSheet, str]:
    """Read the answers in a file, and compute the SHA-256 of its bytes in hex."""
    if not target:
        raise DataError("--model human names no file: human:answers.json, as the page of `gallery --quiz` saved it")
    path = to_path(target)
    if not path.is_file():
        raise NotFoundError(f"{target} is no file: name the one that the page of `gallery --quiz` saved")
    try:
        data = read_limited(path, "JSON_BYTES").removeprefix(codecs.BOM_UTF8)  # some editors write this mark
    except ValueError as error:
        raise DataError(f"{target} is no file of answers: {error}") from error
    try:
        sheet = TypeAdapter(AnswerSheet).validate_json(data)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        description = " ".join([*map(str, problem["loc"]), problem["msg"]])
        raise DataError(
            f"{target} is no file of answers, as the page of `videossr gallery DATASET --quiz` saves it: "
            f"{harmless(description)}"
        ) from error
    return sheet, hashlib.sha256(data).hexdigest()
