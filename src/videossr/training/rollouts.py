"""Sample answers, score them, and compute their loss: what one process does with the questions of its share.

`videossr.training.trainer` calls this group by group; a group is one question and its G answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import compress

import torch

from videossr.engine.generation import GeneratedAnswer, generate_with_refill
from videossr.engine.model import VisionLanguageModel
from videossr.engine.recomputation import gradient_checkpointing
from videossr.engine.sampling import Sampling, Seed
from videossr.engine.shared_prefix import (
    SharedPrefix,
    TokenScores,
    answer_scores,
    full_scores,
    read_prefix,
)
from videossr.engine.split_backward import split_backward
from videossr.prompt.base import Prompt
from videossr.rewards import Scores as Rewards
from videossr.training.config import GrpoConfig, RunSettings
from videossr.training.cost.flops import Load, load_of
from videossr.training.cost.timing import PhaseTimer
from videossr.training.grpo import GroupLoss, group_loss
from videossr.training.loader import PreparedQuestion
from videossr.training.metrics import GroupMetrics, is_uninformative
from videossr.training.policy import Policy
from videossr.training.scoring import reward_values


@dataclass(slots=True)
class Rollout:
    """The sampled answers to one question.

    Attributes:
        prepared: the question.
        answers: G of them, with the log-probabilities of their tokens.
        texts: of each answer.
        prefix: what the model keeps of the prompt, with its graph; None where it is to be read once more.
    """

    prepared: PreparedQuestion
    answers: list[GeneratedAnswer]
    texts: list[str]
    prefix: SharedPrefix | None


@dataclass(frozen=True, slots=True)
class AnswerGroup:
    """A rollout with the rewards of its answers.

    Attributes:
        rollout: the question and its answers.
        rewards, advantages: of each answer.
        counted: whether each answer counts in the loss.
        kept: whether the group counts; it may be left out as noise or, with dynamic sampling, as uninformative.
        has_gradient: whether its loss has a gradient at all.
    """

    rollout: Rollout
    rewards: list[Rewards]
    advantages: list[float]
    counted: list[bool]
    kept: bool
    has_gradient: bool


@dataclass(frozen=True, slots=True)
class LossFigures:
    """The figures of a loss through which the backward pass has gone, see `videossr.training.grpo.GroupLoss`.

    Attributes:
        total, weight, kl: as there.
        entropy: of the next token, in nats, summed over tokens.
        gap: largest difference of a log-probability between sampling and loss, in nats; 0 off policy.
    """

    total: float
    weight: float
    kl: float = 0.0
    entropy: float = 0.0
    gap: float = 0.0


@dataclass(frozen=True, slots=True)
class GroupResult:
    """The contribution of one question to the gradient of its batch.

    Attributes:
        loss: not yet divided.
        weight: by whose sum over the batch the losses and gradients are divided.
        load: what it asked of the model.
        gap: largest difference of a log-probability between sampling and loss, in nats.
        counted: how many of its answers count.
        informative: whether answers that count have an advantage; else only a KL has a gradient.
        metrics: of the answers; None where none was sampled.
    """

    loss: float
    weight: float
    load: Load
    gap: float = 0.0
    counted: int = 1
    informative: bool = True
    metrics: GroupMetrics | None = None


class RolloutWorker:
    """Sample groups of answers from a policy, and compute their losses."""

    def __init__(self, policy: Policy, run: RunSettings, grpo: GrpoConfig, timer: PhaseTimer) -> None:
        """Take a policy and the settings of rollouts and loss; `timer` learns where the seconds go."""
        self._policy = policy
        self._run = run
        self._grpo = grpo
        self._timer = timer
        self._banned = policy.checkpoint.placeholders
        self._shared = not policy.unshared

    def rollouts(
        self, questions: Iterable[PreparedQuestion], batch: int, *, keep_graph: bool = True
    ) -> Iterator[Rollout]:
        """Sample G answers to each question, `run.decode_groups` questions at a time.

        A question is taken and its prompt read where there is a place. Learn from each rollout before the next is
        taken: it is let go of then, so that no more than `run.decode_groups` prompts have a graph.

        Args:
            questions: the questions.
            batch: number of their batch; with the seed and a question's index it decides what is drawn.
            keep_graph: keep the graph of the prompts, for `backward` right after this.

        Yields:
            The answers to a question, as soon as all have ended.
        """
        size = self._grpo.rollouts
        rows = 1 if self._shared else size  # of the cache, for each question
        keeps = keep_graph and self._shared
        opened: dict[int, tuple[PreparedQuestion, SharedPrefix | None]] = {}

        def prompts() -> Iterator[tuple[Seed, SharedPrefix]]:
            waiting = enumerate(questions)
            while True:
                with self._timer("wait"):
                    if (taken := next(waiting, None)) is None:
                        return
                number, question = taken
                for chunk in self._chunks(rows):
                    prefixes = self._read(question.prompt, chunk.stop - chunk.start, keeps)
                    opened[number] = (question, prefixes[0] if keeps else None)
                    for row in range(chunk.start, chunk.stop):
                        # Popped, so that this function holds no prompt while others are learned from.
                        yield (self._run.seed, batch, question.index, row), prefixes.pop(0)

        sampling = Sampling(
            max_tokens=self._grpo.max_tokens,
            ends=self._policy.ends,
            temperature=self._grpo.temperature,
            banned=self._banned,
        )
        groups = generate_with_refill(
            self._policy.model, prompts(), size // rows, sampling, at_once=rows * self._run.decode_groups
        )
        parts: dict[int, dict[int, list[GeneratedAnswer]]] = defaultdict(dict)
        while True:
            with self._timer("decode"):
                if (done := next(groups, None)) is None:
                    return
            number, row = divmod(done[0], rows)
            parts[number][row] = done[1]
            if len(parts[number]) == rows:
                answers = [answer for _, part in sorted(parts.pop(number).items()) for answer in part]
                texts = [self._policy.checkpoint.text(answer.content) for answer in answers]
                question, prefix = opened.pop(number)
                rollout = Rollout(question, answers, texts, prefix)
                del prefix
                yield rollout

    def reference_logprobs(self, group: AnswerGroup) -> torch.Tensor | None:
        """Return the log-probabilities (G, A) of a group's answers under the reference, for the KL; None at KL 0."""
        if not self._grpo.kl or not group.kept:
            return None
        inputs = self._policy.inputs(group.rollout.prepared.prompt)
        answers = [answer.ids for answer in group.rollout.answers]
        with self._timer("reference"), self._policy.reference() as model:
            chunks = [self._token_scores(model, inputs, answers[rows]) for rows in self._chunks(len(answers))]
        return _padded(
            [row[present] for chunk in chunks for row, present in zip(chunk.logprobs, chunk.mask, strict=True)],
            self._policy.device,
        )

    def backward(
        self, group: AnswerGroup, reference: torch.Tensor | None, *, off_policy: bool = False
    ) -> list[LossFigures]:
        """Compute the loss of a group and add its gradient to that of the weights.

        All answers go at once where the prompt is shared, else `run.rows` at a time. The graph of the prompt is freed.

        Args:
            group: from a rollout.
            reference: see `reference_logprobs`.
            off_policy: the policy has learned since the rollout, so that ratios are against its log-probabilities.

        Returns:
            The figures of the answers that went at once.
        """
        rollout = group.rollout
        device = self._policy.device
        prefix, rollout.prefix = rollout.prefix, None
        answers = [answer.ids for answer in rollout.answers]
        sampled = _padded([answer.logprobs for answer in rollout.answers], device)
        advantages = torch.tensor(group.advantages, dtype=torch.float32, device=device)
        counted = torch.tensor(group.counted, device=device)
        inputs = {} if prefix else self._policy.inputs(rollout.prepared.prompt)
        figures = []
        for rows in self._chunks(len(answers)):
            with torch.set_grad_enabled(group.has_gradient), self._answering(inputs, prefix) as known:
                scores = self._token_scores(self._policy.model, inputs, answers[rows], known)
                width = scores.mask.shape[1]
                before = sampled[rows, :width]
                loss = group_loss(
                    scores,
                    advantages[rows],
                    self._grpo,
                    old=before if off_policy else None,
                    reference=None if reference is None else reference[rows, :width],
                    kept=counted[rows],
                )
                if loss.total.requires_grad:
                    torch.autograd.backward(loss.total)
            figures.append(_figures(loss, scores, before, group.kept, off_policy))
        return figures

    def sft_backward(self, question: PreparedQuestion) -> LossFigures:
        """Compute the supervised loss of a question, the gold answer's negated log-probability summed over its tokens.

        Its gradient is added to that of the weights.
        """
        policy = self._policy
        gold = [policy.checkpoint.answer_ids(question.question.answer)]
        inputs = policy.inputs(question.prompt)
        with self._checkpointing(), self._timer("prefill"):
            prefix = read_prefix(policy.model, inputs) if self._shared else None
        with self._timer("loss"), self._answering(inputs, prefix) as known:
            loss = -self._token_scores(policy.model, inputs, gold, known, temperature=1.0).logprobs.sum()
            torch.autograd.backward(loss)
        return LossFigures(float(loss.detach()), weight=float(len(gold[0])))

    @contextmanager
    def _answering(self, inputs: dict[str, torch.Tensor], prefix: SharedPrefix | None) -> Iterator[SharedPrefix | None]:
        """Enter a context for scoring answers and going back; yield the prefix to score them behind, if it is shared.

        The prefix is that of the rollout, or is read here. A second backward pass, on exit, goes through the prompt.
        """
        with self._checkpointing():
            if not self._shared:
                yield None
                return
            with split_backward(prefix or read_prefix(self._policy.model, inputs)) as leaves:
                yield leaves

    def _read(self, prompt: Prompt, rows: int, with_gradient: bool) -> list[SharedPrefix]:
        """Read a prompt for one row of the cache or, where it is not shared, for several."""
        with self._timer("prefill"), torch.set_grad_enabled(with_gradient), self._checkpointing():
            prefix = read_prefix(self._policy.model, self._policy.inputs(prompt), rows)
        return [prefix] if rows == 1 else prefix.rows()

    def _chunks(self, answers: int) -> list[slice]:
        """Return which answers go through the model at once."""
        size = answers if self._shared else self._run.rows
        return [slice(first, min(first + size, answers)) for first in range(0, answers, size)]

    def _token_scores(
        self,
        model: VisionLanguageModel,
        inputs: dict[str, torch.Tensor],
        answers: list[list[int]],
        prefix: SharedPrefix | None = None,
        temperature: float | None = None,
    ) -> TokenScores:
        """Score the tokens of answers behind one prompt, which is read here if there is no `prefix` of it."""
        temperature = self._grpo.temperature if temperature is None else temperature
        if self._shared:
            prefix = prefix or read_prefix(model, inputs)
            return answer_scores(model, prefix, answers, temperature=temperature, banned=self._banned)
        (scores,) = full_scores(model, inputs, answers, rows=len(answers), temperature=temperature, banned=self._banned)
        return scores

    def _checkpointing(self) -> AbstractContextManager[None]:
        """Return a context in which passes with gradient keep what the settings of the run say."""
        if not self._run.recompute:
            return nullcontext()
        return gradient_checkpointing(self._policy.model, offload=self._run.offload_activations)


def select_answers(
    rollout: Rollout, rewards: list[Rewards], advantages: list[float], config: GrpoConfig
) -> AnswerGroup:
    """Decide which answers of a rollout count: groups of noise and truncated answers may be left out (DAPO).

    With dynamic sampling, groups whose rewards are all equal are left out too.
    """
    ended = [answer.ended for answer in rollout.answers]
    strict = [reward.strict for reward in rewards]
    is_noise = config.drop_noise and is_uninformative(reward_values(rewards, config), strict)
    is_cut = config.drop_truncated and not any(ended)
    is_informative = config.dynamic_sampling == 1 or (any(advantages) and not is_cut)
    kept = not is_noise and is_informative
    counted = [kept and (has_ended or not config.drop_truncated) for has_ended in ended]
    has_gradient = any(counted) and (bool(config.kl) or any(advantages))
    return AnswerGroup(rollout, rewards, advantages, counted, kept, has_gradient)


def _figures(loss: GroupLoss, scores: TokenScores, sampled: torch.Tensor, kept: bool, off_policy: bool) -> LossFigures:
    """Read the figures of a loss from the device, at once, since each reading waits for it."""
    entropy = torch.where(scores.mask, scores.entropies, 0.0).sum()
    mismatch = torch.where(scores.mask, (scores.logprobs.detach() - sampled).abs(), 0.0).amax()
    numbers = (loss.total.detach(), loss.weight, loss.kl, entropy, mismatch)
    total, weight, kl, spread, gap = torch.stack([number.float() for number in numbers]).tolist()
    # Off policy the log-probabilities should differ.
    return LossFigures(total, weight if kept else 0.0, kl, spread, 0.0 if off_policy else gap)


def group_result(group: AnswerGroup, losses: Sequence[LossFigures]) -> GroupResult:
    """Sum up what a group has added to the gradient, from the losses of its answers."""
    prepared = group.rollout.prepared
    answers = group.rollout.answers
    tokens = [len(answer.ids) for answer in answers]
    metrics = GroupMetrics(
        category=prepared.category,
        task=prepared.task,
        smooth=tuple(reward.smooth for reward in group.rewards),
        strict=tuple(reward.strict for reward in group.rewards),
        parsed=tuple(reward.parsed for reward in group.rewards),
        texts=tuple(group.rollout.texts),
        tokens=tuple(tokens),
        truncated=tuple(not answer.ended for answer in answers),
        counted=tuple(group.counted),
        kl=sum(loss.kl for loss in losses),
        entropy=sum(loss.entropy for loss in losses),
        set=prepared.set,
    )
    return GroupResult(
        loss=sum(loss.total for loss in losses),
        weight=sum(loss.weight for loss in losses),
        load=load_of(prepared.prompt, len(answers), max(tokens)),
        gap=max(loss.gap for loss in losses),
        counted=sum(group.counted),
        informative=any(compress(group.advantages, group.counted)),
        metrics=metrics,
    )


def sft_result(question: PreparedQuestion, loss: LossFigures) -> GroupResult:
    """Sum up what a supervised question has added to the gradient."""
    return GroupResult(loss.total, loss.weight, load_of(question.prompt, 1, int(loss.weight)))


def _padded(rows: Sequence[torch.Tensor | Sequence[float]], device: torch.device) -> torch.Tensor:
    """Pad rows of unequal length with 0 to (G, A) float32."""
    tensors = [torch.as_tensor(row, dtype=torch.float32, device=device) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
