"""Ask a model, and turn whatever happens into a prediction: an answer, or the reason why there is none.

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
    """One for each open question. The model reads ahead, perhaps in a thread of its own, and answers in any order.

    Raises NothingAnsweredError when `stop_after` questions have failed for one reason and none has an answer; 0 never
    does.
    """
    asked: dict[int, Prediction] = {}
    broken: deque[Prediction] = deque()

    def asks() -> Iterator[Request]:
        for index in still_open:
            facts: dict[str, Any] = {"category": UNREAD, "id": f"#{index}", "data_source": "", "answer": ""}
            facts |= {"times_ms": (), "end_ms": 0, "source": "", "difficulty": {}}
            try:
                question = _read(questions, index, facts)
            except Exception as error:  # whatever a damaged row raises, the other questions can still be asked
                told = _storable(f"question: {type(error).__name__}: {error}")
                broken.append(Prediction(index=index, error=told, **facts))
                continue
            asked[index] = Prediction(index=index, **facts)
            yield Request(index, question, asked[index].category, partial(questions.clips, index))

    replies = model.answer(asks(), decoding)
    failures: Counter[str] | None = Counter()
    try:
        for reply in replies:
            while broken:
                yield broken.popleft()
            if reply.index not in asked:
                raise DataError(f"the model answered question {reply.index}, which is not open")
            prediction = _answered(asked.pop(reply.index), reply, decoding.n)
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
        close = getattr(replies, "close", None)
        if close is not None:
            close()
    yield from broken
    for prediction in asked.values():
        yield replace(prediction, error="model: gave no reply")


def _read(questions: QuestionSet, index: int, facts: dict[str, Any]) -> Question:
    """The question; what a prediction tells of it goes into `facts`, as far as the question can be read.

    Raises whatever a damaged question raises, and ValueError when its gold answer cannot be scored.
    """
    facts["category"] = questions.category(index)
    question = questions.question(index)
    facts |= {"id": question.id, "data_source": question.data_source, "answer": question.answer}
    facts |= {"times_ms": question.clocks[0].times_ms, "end_ms": question.clocks[0].end_ms}
    scorer(question.data_source)(question.answer, question.answer)
    facts |= {"source": questions.source(index), "difficulty": dict(questions.difficulty(index))}
    return question


def _answered(asked: Prediction, reply: Response, wanted: int) -> Prediction:
    error = reply.error
    if not error and len(reply.texts) != wanted:
        error = f"model: gave {len(reply.texts)} answers of {wanted}"
    texts, finish = ((), ()) if error else (reply.texts, reply.finish)
    return replace(
        asked,
        texts=tuple(_storable(text) for text in texts),
        finish=tuple(finish),
        error=_storable(error),
        tries=reply.tries,
        prompt_tokens=reply.prompt_tokens,
    )


def _storable(text: str) -> str:
    """The text as it is; halves of a character, which no file in UTF-8 can hold, become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
