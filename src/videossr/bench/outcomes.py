"""Outcomes of the questions of a run: how many failed, and how many answers cannot be parsed.

Every table of scores is followed by this line. Exercised by `videossr bench score RUN`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from videossr.bench.records import Run
from videossr.prompt.chat import THOUGHTS
from videossr.rewards import scorer
from videossr.untrusted import one_line

THINK, THINK_END = THOUGHTS
_OPENING = 24
"""Characters of an answer's first word that are shown."""

_WAYS = {
    "hf": "--model.thinking=false, or take the Instruct checkpoint where this one always thinks",
    "vllm": "--model.thinking=false, or take the Instruct checkpoint where this one always thinks",
    "openai": "--model.thinking=false, or by the server's own setting, such as "
    "vllm serve --reasoning-parser, which takes the thoughts out of the answer",
}
"""The way to switch thinking off, by the kind of the model."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Outcomes of the questions of a run.

    Attributes:
        questions: those that were asked.
        failed: those without an answer.
        answers: texts that came back.
        unparsed: answers that do not have the asked form.
        cut_off: those of `unparsed` that reached the limit of tokens.
        opening: the first word that most of `unparsed` begin with, each run of digits as `N`; empty where all answers
            have the asked form.
        openings: how many begin with it.
        tokens: that the model wrote for an answer, on average, thoughts included; None where that is not known.
        unended: answers whose thoughts did not end.
        advice: what to do about it; empty where there is nothing to say.
    """

    questions: int
    failed: int
    answers: int
    unparsed: int
    cut_off: int
    opening: str
    openings: int
    tokens: float | None
    unended: int
    advice: str

    def line(self) -> str:
        """Say all of it in one sentence."""
        if self.failed == self.questions:
            return f"all {self.questions} questions failed: nothing was answered, so there is no score"
        failed = f"{self.failed} of {self.questions} questions failed"
        form = f"{self.unparsed} of {self.answers} answers cannot be parsed"
        if self.unparsed:
            form += f"; most often they begin with {self.opening!r} ({self.openings})"
        if self.cut_off:
            form += f"; {self.cut_off} were cut off by --max-tokens"
        if self.tokens is not None:
            form += f"; {self.tokens:.0f} tokens an answer on average"
        if self.unended:
            form += f"; {self.unended} never ended their thoughts by {THINK_END}: raise --max-tokens"
        return f"{failed}; {form}" + (f". {self.advice}" if self.advice else "")


def outcomes(run: Run) -> Outcomes:
    """Return how the questions of a run ended, complete or not. Raises ValueError for a gold answer that is none."""
    unparsed = [
        (text, end)
        for prediction in run.predictions
        if prediction.texts
        for text, end in zip(prediction.texts, prediction.finish or ("",) * len(prediction.texts), strict=True)
        if not scorer(prediction.data_source)(text, prediction.answer).parsed
    ]
    texts = [text for text, _ in unparsed]
    tokens = [length for prediction in run.predictions for length in prediction.answer_tokens]
    opening, openings = most_common_opening(texts)
    return Outcomes(
        questions=len(run.predictions),
        failed=sum(not prediction.texts for prediction in run.predictions),
        answers=sum(len(prediction.texts) for prediction in run.predictions),
        unparsed=len(texts),
        cut_off=sum(end == "length" for _, end in unparsed),
        opening=opening,
        openings=openings,
        tokens=fmean(tokens) if tokens else None,
        unended=sum(not text.endswith(THINK_END) for prediction in run.predictions for text in prediction.thoughts),
        advice=_advice(texts, run.config.model),
    )


def most_common_opening(texts: Iterable[str]) -> tuple[str, int]:
    """Return the first word that most texts begin with, and how many do; ("", 0) where there are none.

    Each run of digits counts as `N`, so that `3.2s` and `14.5s` are alike.
    """
    found = Counter(_opening(text) for text in texts)
    return found.most_common(1)[0] if found else ("", 0)


def _opening(text: str) -> str:
    text = text.lstrip()
    if text.startswith(THINK):
        return THINK
    words = text[:1000].split(maxsplit=1)
    return one_line(re.sub(r"\d+", "N", words[0])[:_OPENING]) if words else "(an empty text)"


def _advice(texts: Iterable[str], model: str) -> str:
    """Say what switches thinking off, where answers hold thoughts. A chat template may open them before the answer."""
    if not any(text.lstrip().startswith(THINK) or THINK_END in text for text in texts):
        return ""
    way = _WAYS.get(model.partition(":")[0])
    return "The model thinks before it answers" + (f"; switch that off: {way}" if way else "")
