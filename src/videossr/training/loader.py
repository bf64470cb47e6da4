"""Prefetch the questions of each batch as prompts, in background threads, ahead of the step that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

from videossr.models.prefetch import Prefetcher, Prepared
from videossr.prompt.base import Prompt
from videossr.question import Question
from videossr.question_set import QuestionSet
from videossr.rewards import scorer
from videossr.training.batching import batch_for_step, epochs_at
from videossr.training.config import DataConfig, RunSettings
from videossr.training.mixture import shares_of
from videossr.training.parallel import World
from videossr.training.policy import Policy


@dataclass(frozen=True, slots=True)
class PreparedQuestion:
    """A question that is ready for the model.

    Attributes:
        index: in the dataset.
        question: its texts and gold answer.
        category, task: of the dataset.
        prompt: what the model reads.
        position: in the batch, over all processes.
        set: name of its set; empty where there is only one.
    """

    index: int
    question: Question
    category: str
    task: str
    prompt: Prompt
    position: int = 0
    set: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a question stands: its position in a batch, over all processes, and its index in the dataset."""

    position: int
    index: int


class QuestionLoader:
    """Give this process its share of each batch, in order. A context manager, since it reads ahead in threads.

    Attributes:
        batch: number of the batch that was begun last, from 1.
    """

    def __init__(
        self,
        questions: QuestionSet,
        chosen: Sequence[int],
        policy: Policy,
        run: RunSettings,
        data: DataConfig,
        *,
        batches: range,
        batches_per_step: int,
        answer_tokens: int | None,
        world: World,
    ) -> None:
        """Begin to read ahead.

        Args:
            questions: the dataset.
            chosen: indices of the questions that the run is trained on.
            policy: makes the prompts.
            run: size of a batch, and seed.
            data: mixture of sets and categories, threads and memory.
            batches: numbers of the batches with which a step may begin.
            batches_per_step: batches that a step asks, at most, so that the last may reach beyond `batches`.
            answer_tokens: room behind the prompt for an answer; None: for the gold answer.
            world: the processes that share each batch.
        """
        self._questions = questions
        self._chosen = chosen
        self._policy = policy
        self._run = run
        self._mix = data.mix
        self._answer_tokens = answer_tokens
        self._world = world
        self._shares = shares_of(questions, data.sets)
        self._categories = [questions.category(index) for index in range(len(questions))]
        self.batch = batches.start - 1
        self._last = batches.stop - 1
        numbers = range(batches.start, batches.stop + batches_per_step - 1)
        self._prefetcher = Prefetcher(
            chain.from_iterable(self._share(number) for number in numbers),
            self._prepare,
            threads=data.threads,
            room=data.ahead_mb * 2**20,
            size=lambda question: question.prompt.patches.nbytes,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._prefetcher.__exit__(None, None, None)

    @property
    def is_exhausted(self) -> bool:
        """Tell whether all batches with which a step may begin were asked."""
        return self.batch >= self._last

    @property
    def epoch(self) -> float:
        """Passes through the data so far."""
        return epochs_at(self.batch, len(self._chosen), self._run.batch)

    @property
    def waited(self) -> float:
        """Seconds for which the model had to wait for questions."""
        return self._prefetcher.waited

    def begin_batch(self) -> int:
        """Go on to the next batch; return how many of its questions are this process's."""
        self.batch += 1
        return len(self._share(self.batch))

    def take(self, count: int) -> list[Prepared[Place, PreparedQuestion]]:
        """Return the next questions of this process, or why they cannot be shown. Waits until they are ready."""
        return self._prefetcher.take(count)

    def _share(self, number: int) -> list[Place]:
        """Return this process's share of a batch."""
        batch = batch_for_step(
            number, self._chosen, self._categories, self._run.batch, self._mix, self._run.seed, self._shares
        )
        return self._world.shard([Place(position, index) for position, index in enumerate(batch)])

    def _prepare(self, place: Place) -> PreparedQuestion:
        """Render a question and make its prompt, in a background thread. Raises whatever is wrong with it."""
        question = self._questions.question(place.index)
        scorer(question.data_source)(question.answer, question.answer)  # a fault in it is told before answers are drawn
        room = len(question.answer) + 1 if self._answer_tokens is None else self._answer_tokens
        prompt = self._policy.prompt(question, self._questions.clips(place.index), room)
        return PreparedQuestion(
            index=place.index,
            question=question,
            category=self._categories[place.index],
            task=question.data_source.removeprefix("videossr/"),
            prompt=prompt,
            position=place.position,
            set=self._shares.names[place.index] if self._shares else "",
        )
