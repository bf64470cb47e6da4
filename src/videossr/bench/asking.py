"""Ask a model questions, and turn whatever happens into predictions: an answer, or the reason why there is none.

Exercised by `videossr bench run demo/viubench --model chance --out demo/runs/chance`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from videossr.bench.records import UNREAD, Prediction
from videossr.errors import DataError, NothingAnsweredError
from videossr.models.base import Decoding, Model, Request, Response
from videossr.models.openai.errors import harmless, reason
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.rewards import scorer


def ask(
    questions: QuestionSet, model: Model[Any], decoding: Decoding, still_open: Sequence[int], stop_after: int = 0
) -> Generator[Prediction]:
    """Yield a prediction for each open question, in the order in which the model answers.

    The model reads ahead, perhaps in a thread of its own.

    Args:
        questions: all of them.
        model: a loaded model.
        decoding: how it decodes.
        still_open: indices of the questions to ask.
        stop_after: stop when so many questions have failed for one reason and none has an answer; 0 never stops.

    Raises:
        NothingAnsweredError: as `stop_after` says.
        DataError: the model answered a question that it was not asked.
    """
    asked: dict[int, Prediction] = {}
    broken: deque[Prediction] = deque()

    def requests() -> Iterator[Request]:
        for index in still_open:
            facts: dict[str, Any] = {"category": UNREAD, "id": f"#{index}", "data_source": "", "answer": ""}
            facts |= {"times_ms": (), "end_ms": 0, "source": "", "difficulty": {}}
            try:
                question = _read(questions, index, facts)
            except Exception as error:  # whatever a damaged row raises, the other questions can still be asked
                fault = _storable(f"question: {type(error).__name__}: {error}")
                broken.append(Prediction(index=index, error=fault, **facts))
                continue
            asked[index] = Prediction(index=index, **facts)
            yield Request(index, question, asked[index].category, partial(questions.clips, index))

    responses = model.answer(requests(), decoding)
    failures: Counter[str] | None = Counter()
    try:
        for response in responses:
            while broken:
                yield broken.popleft()
            if response.index not in asked:
                raise DataError(f"the model answered question {response.index}, which is not open")
            prediction = _answered(asked.pop(response.index), response, decoding.n)
            yield prediction
            if failures is None or not prediction.error:
                failures = None
                continue
            why = reason(prediction.error)
            failures[why] += 1
            if failures[why] == stop_after:
                raise NothingAnsweredError(
                    f"stopped: {stop_after} questions failed for the same reason, and none was answered: "
                    f"{harmless(prediction.error)}. Mend that, and the same command goes on; --stop-after 0 asks all "
                    "questions whatever comes back"
                )
    finally:
        close = getattr(responses, "close", None)
        if close is not None:
            close()
    yield from broken
    for prediction in asked.values():
        yield replace(prediction, error="model: gave no reply")


def _read(questions: QuestionSet, index: int, facts: dict[str, Any]) -> Question:
    """Read a question, and put into `facts` what a prediction records of it, as far as it can be read.

    Raises whatever a damaged question raises, and DataError when its gold answer cannot be scored.
    """
    facts["category"] = questions.category(index)
    question = questions.question(index)
    facts |= {"id": question.id, "data_source": question.data_source, "answer": question.answer}
    facts |= {"times_ms": question.clocks[0].times_ms, "end_ms": question.clocks[0].end_ms}
    scorer(question.data_source)(question.answer, question.answer)
    facts |= {"source": questions.source(index), "difficulty": dict(questions.difficulty(index))}
    return question


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
    )


def _storable(text: str) -> str:
    """Return the text with U+FFFD for halves of a character, which no file in UTF-8 can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
