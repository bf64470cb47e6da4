"""Ask a model questions, and turn whatever happens into predictions: an answer, or the reason why there is none.

Exercised by `videossr bench run demo/viubench --model chance --out demo/runs/chance`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from videossr.bench.records import UNREAD, Prediction
from videossr.errors import ModelError, NothingAnsweredError
from videossr.models.base import Decoding, OpenModel, Request, Response
from videossr.models.openai.errors import harmless, reason
from videossr.question_set import QuestionSet
from videossr.rewards import scorer


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that can be asked, and its prediction, in which the model's part is still missing."""

    request: Request
    prediction: Prediction


def ask(
    questions: QuestionSet, model: OpenModel, decoding: Decoding, still_open: Sequence[int], stop_after: int = 0
) -> Generator[Prediction]:
    """Yield a prediction for each open question, in the order in which the model answers.

    The model reads ahead, perhaps in a thread of its own.

    Args:
        questions: all of them.
        model: a loaded model.
        decoding: how it decodes.
        still_open: indices of the questions to ask.
        stop_after: stop when so many questions have failed for one reason and none has an answer; 0 never stops. A
            question that cannot be read has failed too.

    Raises:
        NothingAnsweredError: as `stop_after` says.
        ModelError: the model's code fails, or it answered a question that it was not asked.
    """
    failures: Counter[str] = Counter()
    answered = False
    with closing(_predict(questions, model, decoding, still_open)) as predictions:
        for prediction in predictions:
            yield prediction
            answered = answered or not prediction.error
            if answered:
                continue
            why = reason(prediction.error)
            failures[why] += 1
            if failures[why] == stop_after:
                raise NothingAnsweredError(
                    f"stopped: {stop_after} questions failed for the same reason, and none was answered: "
                    f"{harmless(prediction.error)}. Mend that, and the same command goes on; --stop-after 0 asks all "
                    "questions whatever comes back"
                )


def _predict(
    questions: QuestionSet, model: OpenModel, decoding: Decoding, still_open: Sequence[int]
) -> Generator[Prediction]:
    """Yield a prediction for each open question: what the model said, or why it was not asked or said nothing."""
    waiting: dict[int, Prediction] = {}
    unread: deque[Prediction] = deque()

    def requests() -> Iterator[Request]:
        for question in (_open(questions, index) for index in still_open):
            if isinstance(question, _Asked):
                waiting[question.request.index] = question.prediction
                yield question.request
            else:
                unread.append(question)

    with closing(model.answer(requests(), decoding)) as responses:
        for response in responses:
            if response.index not in waiting:
                raise ModelError(f"model {model.name!r} answered question {response.index!r}, which is not open")
            yield _answered(waiting.pop(response.index), response, decoding.n)
            while unread:  # behind the response, so that rows which cannot be read never hide an answer
                yield unread.popleft()
    yield from unread
    for prediction in waiting.values():
        yield replace(prediction, error="model: gave no reply")


def _open(questions: QuestionSet, index: int) -> _Asked | Prediction:
    """Read a question: what is to be asked, or its prediction with the error, and all that could be read before."""
    read = Prediction(f"#{index}", index, UNREAD, data_source="", answer="", difficulty={}, times_ms=(), end_ms=0)
    try:
        read = replace(read, category=questions.category(index))
        gold = questions.gold(index)
        read = replace(read, id=_storable(gold.id), data_source=gold.data_source, answer=gold.answer)
        scorer(gold.data_source)("", gold.answer)
        read = replace(read, source=questions.source(index))
        read = replace(read, difficulty=dict(questions.difficulty(index)))
        question = questions.question(index)
        clock = question.clocks[0]
        read = replace(read, times_ms=clock.times_ms, end_ms=clock.end_ms)
    except Exception as error:  # whatever a damaged row raises, the other questions can still be asked
        return replace(read, error=_storable(f"question: {type(error).__name__}: {error}"))
    return _Asked(Request(index, question, read.category, partial(questions.clips, index)), read)


def _answered(asked: Prediction, response: Response, wanted: int) -> Prediction:
    error = response.error
    if not error and len(response.texts) != wanted:
        error = f"model: gave {len(response.texts)} answers of {wanted}"
    texts, finish = ((), ()) if error else (response.texts, response.finish)
    return replace(
        asked,
        texts=tuple(_storable(text) for text in texts),
        finish=tuple(finish),
        error=_storable(error),
        tries=response.tries,
        prompt_tokens=response.prompt_tokens,
        answer_tokens=() if error else response.answer_tokens,
        thoughts=() if error else tuple(map(_storable, response.thoughts)),
    )


def _storable(text: str) -> str:
    """Return the text with U+FFFD for halves of a character, which no file in UTF-8 can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
