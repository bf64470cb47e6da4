"""A training run, from its configuration to its last checkpoint.

Exercised by `videossr train CONFIG --out RUN`. What a run leaves is told in `videossr.training.records`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from statistics import fmean

import torch

from videossr.models.prefetch import Prefetcher, Prepared
from videossr.question_set import QuestionSet
from videossr.rewards import scorer
from videossr.training.batching import batch_for_step, epochs_at
from videossr.training.config import TrainConfig
from videossr.training.cost.flops import Counter, peak_flops
from videossr.training.cost.timing import PhaseTimer
from videossr.training.metrics import summarize
from videossr.training.optim import Optimizer, OptimizerFacts
from videossr.training.parallel import DataParallel, Parts, World
from videossr.training.policy import Policy
from videossr.training.records import Failure, ShownSample, Step
from videossr.training.rollouts import GroupResult, PreparedQuestion, Rollout, RolloutWorker

SHOWN = 3
"""Questions of a step whose answers are kept to be looked at, of different tasks."""


EQUAL, LEFT_OUT, NO_ANSWER, NOT_FINITE = (
    "in every group that counts all rewards are equal",
    "every answer is left out",
    "there is no answer to learn from",
    "the gradient is not finite",
)
"""Why a step was not made. Only by the last there was something to learn."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did: its figures, of how many questions, and what is to be written down beside them.

    `last`: the run has no further step, since it has made all, or has asked all questions.
    """

    step: Step
    asked: int
    last: bool
    failures: tuple[Failure, ...] = ()
    shown: tuple[ShownSample, ...] = ()


@dataclass(slots=True)
class _Sum:
    """What the questions of this process have come to so far, in one step.

    `asked` are how many, and `kept` the groups of theirs that count.
    """

    asked: int = 0
    kept: int = 0
    learned: list[GroupResult] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    shown: dict[str, Rollout] = field(default_factory=dict)

    def show(self, group: Rollout) -> None:
        """Keeps a group to be looked at, if there is none of its task yet."""
        if len(self.shown) < SHOWN:
            self.shown.setdefault(group.asked.task, group)


class Trainer:
    """Makes the steps of a run, in order. A context manager, since it reads ahead in threads."""

    def __init__(
        self,
        config: TrainConfig,
        questions: QuestionSet,
        chosen: Sequence[int],
        policy: Policy,
        optimizer: Optimizer,
        *,
        steps: range,
        batches: range,
        parts: Parts | None = None,
        idle: float = 0.0,
        within: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Args as follows.

        config: of the run.
        questions, chosen: the data set, and which of it the run is trained on.
        policy, optimizer: what learns, and how.
        steps: those that are to be made, from 1; fewer are where the batches end before.
        batches: of questions, those that a step may begin with, from 1.
        parts: how it lies over the processes of the run; by default this one has it all.
        idle: GiB in use before the model was loaded, by libraries; a step's `memory_gib` leaves them out.
        within: told how many of this process's groups of the step are done.
        """
        self._config, self._questions, self._policy, self._optimizer = config, questions, policy, optimizer
        self._parts = parts or DataParallel(World())
        self._world = self._parts.world
        self._within, self._idle = within, idle
        self._categories = [questions.category(index) for index in range(len(questions))]
        self._chosen = chosen
        self._steps = steps
        self._reached, self._end = batches.start - 1, batches.stop - 1
        self._watch = PhaseTimer(policy.device)
        self._work = Counter(policy.model, config)
        peak = config.run.peak_tflops
        self._peak = peak * 1e12 if peak else peak_flops(policy.device, policy.model.dtype)
        self._watch.vision(policy.tower)
        self._learner = RolloutWorker(policy, config, self._watch)
        askable = range(batches.start, batches.stop + config.most_batches - 1)
        self._ahead = Prefetcher(
            chain.from_iterable(self._world.mine(self._batch(number)) for number in askable),
            self._asked,
            threads=config.data.threads,
            room=config.data.ahead_mb * 2**20,
            size=lambda asked: asked.prompt.patches.nbytes,
        )

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *raised: object) -> None:
        self._ahead.__exit__(None, None, None)

    def __iter__(self) -> Iterator[StepResult]:
        """Makes one step after the other."""
        for number in self._steps:
            if self._reached >= self._end:
                return
            yield self._step(number)

    def _step(self, number: int) -> StepResult:
        started, waited = time.perf_counter(), self._ahead.waited
        self._watch.read()
        took = self._imitate if self._config.run.method == "sft" else self._explore
        done = _Sum()
        self._parts.gather()
        facts, skipped = took(number, done)
        self._parts.release()
        loss, weight, work, failed, asked = self._world.sum(
            [
                sum(each.loss for each in done.learned),
                sum(each.weight for each in done.learned),
                sum(self._work.group(each.load).needed for each in done.learned),
                len(done.failures),
                done.asked,
            ]
        )
        groups = [fact for part in self._world.gather([each.facts for each in done.learned]) for fact in part if fact]
        means = summarize(groups, self._config.grpo.reward) if groups else None
        wall = time.perf_counter() - started
        seconds = self._watch.read() | {"wait": self._ahead.waited - waited}
        step = Step(
            step=number,
            batches=self._reached,
            epoch=epochs_at(self._reached, len(self._chosen), self._config.run.batch),
            loss=loss / max(1.0, weight),
            lr=facts.lr if facts else 0.0,
            grad_norm=facts.grad_norm if facts else 0.0,
            changed=facts.changed if facts else 0.0,
            skipped=skipped,
            failed=int(failed),
            gap=max(chain.from_iterable(self._world.gather([each.gap for each in done.learned])), default=0.0),
            seconds=_slowest(self._world.gather(seconds)),
            wall=wall,
            prompts_per_second=asked / wall,
            mfu=work / wall / self._peak / self._world.size,
            memory_gib=max(self._world.gather(used_gib(self._policy.device) - self._idle)),
            all=means.all if means else None,
            tasks=means.tasks if means else {},
            categories=means.categories if means else {},
        )
        failures = chain.from_iterable(self._world.gather(done.failures))
        shown = tuple(_shown(number, group) for group in done.shown.values())
        last = number == self._steps[-1] or self._reached >= self._end
        return StepResult(step, int(asked), last, tuple(failures), shown)

    def _explore(self, number: int, done: _Sum) -> tuple[OptimizerFacts | None, str]:
        """One step of GRPO: every group is drawn and gone back through before the next ones are."""
        updates = self._config.grpo.updates
        parts: list[list[Rollout]] = [[] for _ in range(updates)]
        for batch in self._filling(done):
            part_of = {index: place % updates for place, index in enumerate(batch)}
            for lot in self._lots(number, batch, self._config.run.decode_groups, done):
                for group in self._learner.draw(lot, self._reached, graph=updates == 1):
                    done.kept += group.kept
                    if updates > 1 and group.kept:
                        parts[part_of[group.asked.index]].append(group)
                    else:
                        self._learn(group, done)
        if updates == 1:
            return self._update(number, done.learned)
        made: list[tuple[OptimizerFacts | None, str]] = []
        for part, groups in enumerate(parts):
            self._parts.gather()
            before = len(done.learned)
            for group in groups:
                self._learn(group, done, old=part > 0)
            made.append(self._update((number - 1) * updates + part + 1, done.learned[before:]))
        return _together(made)

    def _imitate(self, number: int, done: _Sum) -> tuple[OptimizerFacts | None, str]:
        """One supervised step."""
        for (asked,) in self._lots(number, self._next(), 1, done):
            done.learned.append(self._learner.imitate(asked))
            self._within(len(done.learned), done.asked)
        return self._update(number, done.learned)

    def _filling(self, done: _Sum) -> Iterator[list[int]]:
        """The batches that a step asks: one, or with dynamic sampling as many as fill it.

        They are whole, so that the number of processes does not decide what is learned from; and where a run ends does
        not either, so that it can be made longer.
        """
        for _ in range(self._config.most_batches):
            yield self._next()
            if self._world.sum([done.kept])[0] >= self._config.run.batch:
                return

    def _next(self) -> list[int]:
        self._reached += 1
        return self._batch(self._reached)

    def _lots(self, number: int, batch: Sequence[int], size: int, done: _Sum) -> Iterator[list[PreparedQuestion]]:
        """This process's questions of a batch, some at a time; what cannot be shown is left out and recorded."""
        left = len(self._world.mine(batch))
        done.asked += left
        while left:
            taken: list[Prepared[int, PreparedQuestion]] = self._ahead.take(min(size, left))
            left -= len(taken)
            done.failures += [Failure(number, each.ask, each.error) for each in taken if each.made is None]
            if lot := [each.made for each in taken if each.made is not None]:
                yield lot

    def _learn(self, group: Rollout, done: _Sum, *, old: bool = False) -> None:
        done.show(group)
        done.learned.append(self._learner.learn(group, old))
        self._within(len(done.learned), done.asked)

    def _update(self, number: int, learned: Sequence[GroupResult]) -> tuple[OptimizerFacts | None, str]:
        """The step of the optimizer, by agreement of all processes, or why there is none."""
        weight, pulled, counted, groups = self._world.sum(
            [
                sum(each.weight for each in learned),
                sum(each.pulled for each in learned),
                sum(each.counted for each in learned),
                len(learned),
            ]
        )
        if not pulled or not weight:
            self._optimizer.zero()
            return None, EQUAL if counted else LEFT_OUT if groups else NO_ANSWER
        with self._watch("optimizer"):
            self._parts.reduce(self._optimizer)
            facts = self._optimizer.step(number, self._parts.factor / weight)
        return facts, NOT_FINITE if facts.refused else ""

    def _batch(self, number: int) -> list[int]:
        config = self._config
        return batch_for_step(
            number, self._chosen, self._categories, config.run.batch, config.data.mix, config.run.seed
        )

    def _asked(self, index: int) -> PreparedQuestion:
        """A question made ready, in a thread of its own. Raises whatever is wrong with it."""
        question = self._questions.question(index)
        scorer(question.data_source)(question.answer, question.answer)
        config = self._config
        room = len(question.answer) + 1 if config.run.method == "sft" else config.grpo.max_tokens
        prompt = self._policy.prompt(question, self._questions.clips(index), room)
        return PreparedQuestion(
            index, question, self._categories[index], question.data_source.removeprefix("videossr/"), prompt
        )


def used_gib(device: torch.device) -> float:
    """The most memory that was in use so far, in GiB: of a card, or else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _together(made: Sequence[tuple[OptimizerFacts | None, str]]) -> tuple[OptimizerFacts | None, str]:
    """The updates of one batch as one step: the mean of their norms, and what is worst of the rest."""
    facts = [each for each, _ in made if each is not None]
    if not facts:
        return made[-1]
    refused = any(each.refused for each in facts)
    merged = OptimizerFacts(
        lr=facts[-1].lr,
        grad_norm=fmean(each.grad_norm for each in facts),
        clipped=any(each.clipped for each in facts),
        changed=max(each.changed for each in facts),
        refused=refused,
    )
    return merged, NOT_FINITE if refused else ""


def _shown(number: int, group: Rollout) -> ShownSample:
    question = group.asked.question
    return ShownSample(
        step=number,
        index=group.asked.index,
        category=group.asked.category,
        prompt=question.prompt,
        gold=question.answer,
        texts=tuple(group.texts),
        rewards=tuple(each.smooth for each in group.rewards),
        advantages=tuple(group.advantages),
    )


def _slowest(seconds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {phase: max(each.get(phase, 0.0) for each in seconds) for phase in sorted(set(chain.from_iterable(seconds)))}
