"""Models that do not look: a guess, and always the same answer. What a real model must beat.

Exercised by `videossr bench run demo/viubench --model chance --out demo/runs/chance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar

import numpy as np
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from videossr.answers.base import Guess
from videossr.errors import ConfigError
from videossr.models.answer_distribution import answer_distributions
from videossr.models.base import Decoding, Model, Request, Response
from videossr.question_set import QuestionSet
from videossr.sample import JSON
from videossr.tasks.base import answer_type_of


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class NoSettings:
    """There is nothing to set."""


class Chance(Model[NoSettings]):
    """`chance` guesses any well-formed answer alike, `chance:prior` as the gold answers are drawn."""

    Settings = NoSettings
    targets: ClassVar[Mapping[str, Guess]] = {"": "uniform", "prior": "prior"}

    def __init__(self, target: str, settings: NoSettings, questions: QuestionSet) -> None:
        if target not in self.targets:
            known = " and ".join(name or "nothing" for name in self.targets)
            raise ConfigError(f"no guess {target!r}: what may stand behind the colon is {known}")
        self.waited = 0.0
        self._guess = self.targets[target]
        self._distributions = answer_distributions(questions)

    def describe(self) -> dict[str, JSON]:
        """Return the kind of guess, and the version of the library that draws it."""
        return {"guess": self._guess, "numpy": np.__version__}

    def answer(self, asks: Iterable[Request], decoding: Decoding) -> Iterator[Response]:
        """Answer each question with random numbers of its own, so that the order of the questions does not matter."""
        for ask in asks:
            rng = np.random.Generator(np.random.PCG64DXSM([decoding.seed, ask.index]))
            kind, distribution = answer_type_of(ask.question.data_source), self._distributions[ask.category]
            texts = tuple(kind.guess(distribution, self._guess, rng, ask.question) for _ in range(decoding.n))
            yield Response(ask.index, texts, tuple("stop" for _ in texts))


class Constant(Chance):
    """`constant` gives every question of a category the answer that its metric rewards best on average.

    `constant:smooth` gives the one that the smooth reward rewards best. An interval is the same share of each clip.
    """

    targets: ClassVar[Mapping[str, Guess]] = {"": "constant", "smooth": "smooth"}
