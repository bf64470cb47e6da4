"""A model of known accuracy: the probability of a right answer follows from the difficulty of the question alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from videossr.models.base import Decoding, Model, Request, Response
from videossr.question_set import QuestionSet
from videossr.sample import JSON


@dataclass(frozen=True)
class NoSettings:
    """Settings of a model that has none."""


def accuracy(difficulty: dict[str, float | str]) -> float:
    """Return the probability of a right answer: it falls with the pieces of a jigsaw, rises with a segment's length."""
    if "pieces" in difficulty:
        return {3: 1.0, 4: 0.9, 5: 0.5, 6: 0.1}.get(int(difficulty["pieces"]), 0.0)
    if "perturbation" in difficulty:
        return 0.6 if float(difficulty["length"]) < 6 else 0.95
    return 0.0


class KnownAccuracyModel(Model[NoSettings]):
    """A model that decodes the frames, as real models do, so that a question fails whose frames cannot be shown."""

    Settings = NoSettings

    def __init__(self, target: str, settings: NoSettings, questions: QuestionSet) -> None:
        self.waited = 0.0
        self._questions = questions

    def describe(self) -> dict[str, JSON]:
        return {}

    def answer(self, requests: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        assert decoding.temperature == 1
        for request in requests:
            try:
                assert request.clips()
            except ValueError as error:
                yield Response(request.index, error=str(error))
                continue
            rng = np.random.default_rng([decoding.seed, request.index])
            right = rng.random(decoding.n) < accuracy(dict(self._questions.difficulty(request.index)))
            texts = tuple(request.question.answer if hit else _wrong_answer(request.question.answer) for hit in right)
            yield Response(request.index, texts, tuple("stop" for _ in texts))


def _wrong_answer(gold: str) -> str:
    if "-" in gold:
        return "0.0-0.1"
    return "9,9,9" if "," in gold else gold[::-1]
