"""A model of a known level: the probability of a right answer follows from the config of the question alone."""

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


def ability(difficulty: dict[str, float | str]) -> float:
    """Return the probability of a right answer: it falls with the pieces of a jigsaw, rises with a segment's length."""
    if "pieces" in difficulty:
        return {3: 1.0, 4: 0.9, 5: 0.5, 6: 0.1}.get(int(difficulty["pieces"]), 0.0)
    if "perturbation" in difficulty:
        return 0.6 if float(difficulty["length"]) < 6 else 0.95
    return 0.0


class Leveled(Model[NoSettings]):
    """A model that has the frames decoded, as real models do, so that a question whose frames cannot be shown fails."""

    Settings = NoSettings

    def __init__(self, target: str, settings: NoSettings, questions: QuestionSet) -> None:
        self.waited = 0.0
        self._questions = questions

    def describe(self) -> dict[str, JSON]:
        return {}

    def answer(self, asks: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        assert decoding.temperature == 1
        for ask in asks:
            try:
                assert ask.clips()
            except ValueError as error:
                yield Response(ask.index, error=str(error))
                continue
            rng = np.random.default_rng([decoding.seed, ask.index])
            right = rng.random(decoding.n) < ability(dict(self._questions.difficulty(ask.index)))
            texts = tuple(ask.question.answer if hit else _wrong(ask.question.answer) for hit in right)
            yield Response(ask.index, texts, tuple("stop" for _ in texts))


def _wrong(gold: str) -> str:
    if "-" in gold:
        return "0.0-0.1"
    return "9,9,9" if "," in gold else gold[::-1]
