"""The steps of training. `Trainer.grpo_step` shows GRPO from rollout to optimizer step; each line is one call away.

Exercised by `videossr train CONFIG --out RUN`. `videossr.training.session` writes down what the steps return.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import itemgetter
from pathlib import Path
from statistics import fmean

import torch

from videossr.training.config import GrpoConfig, RunSettings
from videossr.training.cost.flops import Counter, peak_flops
from videossr.training.cost.timing import PhaseTimer
from videossr.training.grpo import group_advantages
from videossr.training.loader import PreparedQuestion, QuestionLoader
from videossr.training.metrics import summarize
from videossr.training.optim import Optimizer, OptimizerFacts
from videossr.training.parallel import DataParallel, Parallelism, World
from videossr.training.policy import Policy
from videossr.training.rollouts import (
    AnswerGroup,
    GroupResult,
    RolloutWorker,
    group_result,
    select_answers,
    sft_result,
)
from videossr.training.runs.records import Failure, ShownSample, SkipReason, Step
from videossr.training.scoring import reward_values, score_answers

SHOWN = 3
"""Questions of a step whose answers are recorded as samples, of different tasks."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step: its figures, and the records that belong to it.

    Attributes:
        step: the figures.
        asked: how many questions were asked, over all processes.
        last: the run has no further step, since it has made all, or has asked all questions.
        failures: questions that could not be shown.
        shown: answers of some questions, to be looked at.
    """

    step: Step
    asked: int
    last: bool
    failures: tuple[Failure, ...] = ()
    shown: tuple[ShownSample, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """One step of the optimizer: its figures, None where there was none, and why the weights stayed as they were."""

    facts: OptimizerFacts | None
    skipped: str = ""


@dataclass(slots=True)
class StepTally:
    """Count what this process has done in the current step.

    Attributes:
        step: its number.
        asked: questions.
        kept: groups that count.
        results: of the groups, or supervised questions, that were learned from.
        failures: questions that could not be shown.
        shown: by task, the position and the answers of the group that was first in its batch.
    """

    step: int
    asked: int = 0
    kept: int = 0
    results: list[GroupResult] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    shown: dict[str, tuple[int, ShownSample]] = field(default_factory=dict)

    def show(self, group: AnswerGroup) -> None:
        """Record a group as a sample, if it is the first one of its task in the batch, whenever its answers ended."""
        prepared = group.rollout.prepared
        if prepared.task not in self.shown or prepared.position < self.shown[prepared.task][0]:
            sample = ShownSample(
                step=self.step,
                index=prepared.index,
                category=prepared.category,
                prompt=prepared.question.prompt,
                gold=prepared.question.answer,
                texts=tuple(group.rollout.texts),
                rewards=tuple(reward.smooth for reward in group.rewards),
                advantages=tuple(group.advantages),
            )
            self.shown[prepared.task] = (prepared.position, sample)


class Trainer:
    """Make the steps of a run, in order. Iterate over it to get their results."""

    def __init__(
        self,
        policy: Policy,
        optimizer: Optimizer,
        loader: QuestionLoader,
        run: RunSettings,
        grpo: GrpoConfig,
        *,
        steps: range,
        parallel: Parallelism | None = None,
        idle_gib: float = 0.0,
        on_group: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Prepare to make steps.

        Args:
            policy: the model that learns, and its reference.
            optimizer: of the policy's weights.
            loader: gives the questions.
            run: method, batch and seed.
            grpo: settings of rollouts and loss.
            steps: numbers of the steps that are to be made, from 1; fewer are where the batches end before.
            parallel: how the policy lies over the processes of the run; by default this process has it all.
            idle_gib: memory in use by libraries before the model was loaded; `Step.memory_gib` leaves it out.
            on_group: receives how many of this process's groups of the step are done, and how many there are.
        """
        self._policy = policy
        self._optimizer = optimizer
        self._loader = loader
        self._run = run
        self._grpo = grpo
        self._steps = steps
        self._parallel = parallel or DataParallel(World())
        self._world = self._parallel.world
        self._idle_gib = idle_gib
        self._on_group = on_group
        self._timer = PhaseTimer(policy.device)
        self._operations = Counter(policy.model, run, grpo)
        self._peak = run.peak_tflops * 1e12 if run.peak_tflops else peak_flops(policy.device, policy.model.dtype)
        self._timer.vision(policy.tower)
        self._worker = RolloutWorker(policy, run, grpo, self._timer)

    def __iter__(self) -> Iterator[StepResult]:
        """Make one step after the other."""
        for number in self._steps:
            if self._loader.is_exhausted:
                return
            yield self._make_step(number)

    def grpo_step(self, number: int, tally: StepTally) -> Update:
        """Make one step of GRPO (DeepSeekMath, arXiv 2402.03300, algorithm 1) with this process's share of a batch.

        With one update a batch, groups come as their answers end, and each is gone back through before the next prompt
        is read, so that its prompt is read once for both. With more updates, all are sampled before the first update.
        """
        worker, config = self._worker, self._grpo

        def sample_groups() -> Iterator[AnswerGroup]:
            for questions in self._batches_to_ask(tally):
                for rollout in worker.rollouts(questions, self._loader.batch, keep_graph=config.updates == 1):
                    rewards = score_answers(rollout.prepared.question, rollout.texts)
                    advantages = group_advantages(reward_values(rewards, config), config.scale)
                    group = select_answers(rollout, rewards, advantages, config)
                    tally.kept += group.kept
                    yield group

        updates = []
        for minibatch, groups in enumerate(split_minibatches(sample_groups(), config.updates)):
            self._parallel.gather()
            results = []
            for group in groups:
                reference = worker.reference_logprobs(group)
                with self._timer("loss"):
                    losses = worker.backward(group, reference, off_policy=minibatch > 0)
                results.append(group_result(group, losses))
                tally.show(group)
                self._report(results[-1], tally)
            updates.append(self._optimizer_step((number - 1) * config.updates + minibatch + 1, results))
        return merge_updates(updates)

    def sft_step(self, number: int, tally: StepTally) -> Update:
        """Make one supervised step: loss of each gold answer, backward pass, optimizer step."""
        for question in self._next_batch(tally):
            self._report(sft_result(question, self._worker.sft_backward(question)), tally)
        return self._optimizer_step(number, tally.results)

    def _optimizer_step(self, number: int, results: Sequence[GroupResult]) -> Update:
        """Step with the gradient of all processes, divided by the weight of the batch, or say why there is none.

        There is no step either where no answer has an advantage and only the KL has a gradient: near the reference it
        is mostly rounding, and AdamW would make steps of the usual size of it.
        """
        weight, informative, counted, groups = self._world.sum(
            [
                sum(result.weight for result in results),
                sum(result.informative for result in results),
                sum(result.counted for result in results),
                len(results),
            ]
        )
        if not informative or not weight:
            self._parallel.discard(self._optimizer)
            if counted:
                return Update(None, SkipReason.EQUAL.value)
            return Update(None, SkipReason.LEFT_OUT.value if groups else SkipReason.NO_ANSWER.value)
        with self._timer("optimizer"):
            self._parallel.reduce(self._optimizer)
            facts = self._optimizer.step(number, self._parallel.factor / weight)
        return Update(facts, SkipReason.NOT_FINITE.value if facts.refused else "")

    def _batches_to_ask(self, tally: StepTally) -> Iterator[Iterator[PreparedQuestion]]:
        """Yield this process's questions of a batch, or with dynamic sampling of as many batches as fill the step.

        Batches are asked as a whole, so that the number of processes does not decide what is learned from; and where a
        run ends does not either, so that it can be made longer.
        """
        for _ in range(self._grpo.dynamic_sampling):
            yield self._next_batch(tally)
            if self._world.sum([tally.kept])[0] >= self._run.batch:
                return

    def _next_batch(self, tally: StepTally) -> Iterator[PreparedQuestion]:
        """Go on to the next batch; return this process's questions, as they are ready, and record those that fail."""
        count = self._loader.begin_batch()
        tally.asked += count
        return self._shown_questions(count, tally)

    def _shown_questions(self, count: int, tally: StepTally) -> Iterator[PreparedQuestion]:
        """Yield the next questions, but record those that cannot be shown."""
        for _ in range(count):
            for prepared in self._loader.take(1):
                if prepared.made is None:
                    tally.failures.append(Failure(tally.step, prepared.ask.index, prepared.error))
                else:
                    yield prepared.made

    def _report(self, result: GroupResult, tally: StepTally) -> None:
        """Count the result of a group, and tell the observer."""
        tally.results.append(result)
        self._on_group(len(tally.results), tally.asked)

    def _make_step(self, number: int) -> StepResult:
        """Make a step and collect its figures from all processes."""
        started = time.perf_counter()
        waited = self._loader.waited
        self._timer.read()
        tally = StepTally(number)
        self._parallel.gather()
        update = self.sft_step(number, tally) if self._run.method == "sft" else self.grpo_step(number, tally)
        self._parallel.release()
        world, results = self._world, tally.results
        loss, weight, operations, failed, asked = world.sum(
            [
                sum(result.loss for result in results),
                sum(result.weight for result in results),
                sum(self._operations.group(result.load).needed for result in results),
                len(tally.failures),
                tally.asked,
            ]
        )
        metrics = [group for part in world.gather([result.metrics for result in results]) for group in part if group]
        means = summarize(metrics, self._grpo.reward) if metrics else None
        wall = time.perf_counter() - started
        seconds = self._timer.read() | {"wait": self._loader.waited - waited}
        step = Step(
            step=number,
            batches=self._loader.batch,
            epoch=self._loader.epoch,
            loss=loss / max(1.0, weight),
            lr=update.facts.lr if update.facts else 0.0,
            grad_norm=update.facts.grad_norm if update.facts else 0.0,
            changed=update.facts.changed if update.facts else 0.0,
            skipped=update.skipped,
            failed=int(failed),
            gap=max(chain.from_iterable(world.gather([result.gap for result in results])), default=0.0),
            seconds=_slowest(world.gather(seconds)),
            wall=wall,
            prompts_per_second=asked / wall,
            mfu=operations / wall / self._peak / world.size,
            memory_gib=max(world.gather(used_gib(self._policy.device) - self._idle_gib)),
            all=means.all if means else None,
            tasks=means.tasks if means else {},
            categories=means.categories if means else {},
            sets=means.sets if means else {},
        )
        failures = tuple(chain.from_iterable(world.gather(tally.failures)))
        last = number == self._steps[-1] or self._loader.is_exhausted
        shown = tuple(sample for _, sample in sorted(tally.shown.values(), key=itemgetter(0))[:SHOWN])
        return StepResult(step, int(asked), last, failures, shown)


def split_minibatches(groups: Iterable[AnswerGroup], updates: int) -> Iterator[Iterable[AnswerGroup]]:
    """Split the groups of a batch into minibatches, one for each update, by their position in the batch.

    A single minibatch stays lazy: its groups are sampled one by one, while they are learned from. Groups that do not
    count are only measured, under the policy that sampled them, before the first update.
    """
    if updates == 1:
        yield groups
        return
    sampled = list(groups)
    for update in range(updates):
        dropped = [group for group in sampled if not group.kept] if update == 0 else []
        part = [group for group in sampled if group.kept and group.rollout.prepared.position % updates == update]
        yield dropped + part


def merge_updates(updates: Sequence[Update]) -> Update:
    """Describe the updates of one batch as one: the mean of their gradient norms, and the worst of the rest."""
    facts = [update.facts for update in updates if update.facts is not None]
    if not facts:
        return updates[-1]
    refused = any(fact.refused for fact in facts)
    merged = OptimizerFacts(
        lr=facts[-1].lr,
        grad_norm=fmean(fact.grad_norm for fact in facts),
        clipped=any(fact.clipped for fact in facts),
        changed=max(fact.changed for fact in facts),
        refused=refused,
    )
    return Update(merged, SkipReason.NOT_FINITE.value if refused else "")


def used_gib(device: torch.device) -> float:
    """Return the most memory that was in use so far, in GiB: of a card, or else of this process.

    The counter of getrusage begins, on Linux, with the peak of the process that started this one, so it comes last.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def _slowest(seconds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the seconds of each phase in the process that took longest."""
    phases = sorted(set(chain.from_iterable(seconds)))
    return {phase: max(process.get(phase, 0.0) for process in seconds) for phase in phases}
