"""From questions to gradients: groups of answers are drawn, rewarded, and gone back through.

What one process does with its part of a batch, group by group. Exercised by `videossr train CONFIG --out RUN`.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from videossr.engine.generation import GeneratedAnswers, generate
from videossr.engine.shared_prefix import SharedPrefix, TokenScores, answer_scores, full_scores, read_prefix
from videossr.errors import ScoringError
from videossr.prompt.base import Prompt
from videossr.question import Question
from videossr.rewards import Scores as Rewards
from videossr.rewards import scorer
from videossr.training.config import TrainConfig
from videossr.training.cost.flops import Load, load_of
from videossr.training.cost.timing import PhaseTimer
from videossr.training.grpo import advantages, group_loss
from videossr.training.metrics import GroupMetrics, is_uninformative
from videossr.training.policy import Policy, checkpointing_context

_QUOTED = 200
"""Characters of an answer that an error quotes, at most."""


@dataclass(frozen=True, slots=True)
class PreparedQuestion:
    """A question that is ready for the model.

    Attributes:
        index, question, category, task: of the dataset.
        prompt: what the model reads.
    """

    index: int
    question: Question
    category: str
    task: str
    prompt: Prompt


@dataclass(slots=True)
class Rollout:
    """The answers to one question.

    Attributes:
        asked: the question.
        drawn, texts, rewards, advantages: of each answer.
        kept: whether it counts, or is left out as noise or, with dynamic sampling, since nothing differs in it.
        prefix: what the model keeps of the prompt, with its graph; None where it is to be read once more.
    """

    asked: PreparedQuestion
    drawn: list[GeneratedAnswers]
    texts: list[str]
    rewards: list[Rewards]
    advantages: list[float]
    kept: bool
    prefix: SharedPrefix | None


@dataclass(frozen=True, slots=True)
class GroupResult:
    """What one question has added to the gradient of its batch.

    Attributes:
        loss: not yet divided.
        weight: by whose sum over the batch the losses and gradients are divided.
        load: what it asked of the model.
        gap: largest difference of a log-probability between sampling and loss, in nats.
        pulled: whether it has a gradient at all.
        counted: how many of its answers count.
        facts: of the answers; None where none was drawn.
    """

    loss: float
    weight: float
    load: Load
    gap: float = 0.0
    pulled: bool = True
    counted: int = 1
    facts: GroupMetrics | None = field(default=None)


class RolloutWorker:
    """Draws groups of answers and adds their gradients to those of the model's weights."""

    def __init__(self, policy: Policy, config: TrainConfig, watch: PhaseTimer) -> None:
        self._policy, self._config, self._watch = policy, config, watch
        self._banned = policy.checkpoint.placeholders
        self._shared = not policy.unshared

    def draw(self, asked: Sequence[PreparedQuestion], batch: int, *, graph: bool = True) -> list[Rollout]:
        """Answers to several questions at once.

        Args:
            asked: the questions.
            batch: number of the questions' batch; with the seed and a question's index it decides what is drawn.
            graph: keep how the model came to what it keeps of the prompts, for `learn`.
        """
        config, policy = self._config, self._policy
        inputs = [policy.inputs(each.prompt) for each in asked]
        with (
            self._watch("prefill"),
            torch.set_grad_enabled(graph and self._shared),
            checkpointing_context(policy, config),
        ):
            prefixes = [prefix for each in inputs for prefix in self._read(each)]
        seeds = [(config.run.seed, batch, each.index) for each in asked]
        each_, together = (config.grpo.rollouts, 1) if self._shared else (1, config.grpo.rollouts)
        with self._watch("decode"):
            drawn = generate(
                policy.model,
                prefixes,
                each_,
                max_tokens=config.grpo.max_tokens,
                seeds=[(*seed, k) for seed in seeds for k in range(together)],
                ends=policy.ends,
                temperature=config.grpo.temperature,
                banned=self._banned,
            )
        kept = prefixes if graph and self._shared else [None] * len(asked)
        flat = [answer for answers in drawn for answer in answers]
        size = config.grpo.rollouts
        lots = [flat[first : first + size] for first in range(0, len(flat), size)]
        return [self._group(*each) for each in zip(asked, lots, kept, strict=True)]

    def learn(self, group: Rollout, old: bool = False) -> GroupResult:
        """Adds a group's share, not yet divided, to the gradient, and lets go of its graph.

        Args:
            group: from `draw`.
            old: the policy has learned since it was drawn, so that ratios are against the log-probabilities of then.
        """
        config = self._config.grpo
        device = self._policy.device
        before = _padded([answer.logprobs for answer in group.drawn], device)
        gains = torch.tensor(group.advantages, dtype=torch.float32, device=device)
        counts = [group.kept and (answer.ended or not config.drop_truncated) for answer in group.drawn]
        kept = torch.tensor(counts, device=device)
        answers = [answer.ids for answer in group.drawn]
        pulled = any(counts) and (bool(config.kl) or any(group.advantages))
        inputs = {} if group.prefix and not config.kl else self._policy.inputs(group.asked.prompt)
        reference = self._reference(inputs, answers) if config.kl and group.kept else None
        loss = weight = kl = entropy = gap = 0.0
        with self._watch("loss"), torch.set_grad_enabled(pulled), checkpointing_context(self._policy, self._config):
            first = 0
            for scores in self._scores(self._policy.model, inputs, answers, group.prefix):
                rows = slice(first, first := first + len(scores.mask))
                width = scores.mask.shape[1]
                then = before[rows, :width]
                share = group_loss(
                    scores,
                    gains[rows],
                    config,
                    old=then if old else None,
                    reference=None if reference is None else reference[rows, :width],
                    kept=kept[rows],
                )
                if pulled:
                    torch.autograd.backward(share.total)
                loss, kl = loss + float(share.total.detach()), kl + share.kl
                weight += share.weight if group.kept else 0.0
                entropy += float((scores.entropies * scores.mask).sum())
                if not old:  # else the policy has learned since, and should differ
                    gap = max(gap, float(((scores.logprobs.detach() - then) * scores.mask).abs().amax()))
        group.prefix = None
        facts = GroupMetrics(
            category=group.asked.category,
            task=group.asked.task,
            smooth=tuple(each.smooth for each in group.rewards),
            strict=tuple(each.strict for each in group.rewards),
            parsed=tuple(each.parsed for each in group.rewards),
            texts=tuple(group.texts),
            tokens=tuple(len(answer) for answer in answers),
            truncated=tuple(not answer.ended for answer in group.drawn),
            kept=group.kept,
            kl=kl,
            entropy=entropy,
        )
        load = load_of(group.asked.prompt, len(answers), max(map(len, answers)))
        return GroupResult(loss, weight, load, gap, pulled, sum(counts), facts)

    def imitate(self, asked: PreparedQuestion) -> GroupResult:
        """Adds the gradient of the gold answer's negated log-probability, summed over its tokens."""
        policy = self._policy
        gold = [policy.answer(asked.question.answer)]
        inputs = policy.inputs(asked.prompt)
        with checkpointing_context(policy, self._config):
            with self._watch("prefill"):
                prefix = read_prefix(policy.model, inputs) if self._shared else None
            with self._watch("loss"):
                (scores,) = (
                    full_scores(policy.model, inputs, gold, banned=self._banned)
                    if prefix is None
                    else [answer_scores(policy.model, prefix, gold, banned=self._banned)]
                )
                loss = -scores.logprobs.sum()
                torch.autograd.backward(loss)
        return GroupResult(float(loss.detach()), float(len(gold[0])), load_of(asked.prompt, 1, len(gold[0])))

    def _read(self, inputs: dict[str, torch.Tensor]) -> Iterator[SharedPrefix]:
        """One prefix where it is shared, else one for each answer, read `run.rows` at once."""
        if self._shared:
            yield read_prefix(self._policy.model, inputs)
            return
        left = self._config.grpo.rollouts
        while left:
            rows = min(left, self._config.run.rows)
            yield from read_prefix(self._policy.model, inputs, rows).rows()
            left -= rows

    def _scores(
        self, model: Any, inputs: dict[str, torch.Tensor], answers: list[list[int]], prefix: SharedPrefix | None = None
    ) -> Iterator[TokenScores]:
        """Of all answers at once where the prefix is shared, else of some at a time."""
        config = self._config
        how: dict[str, Any] = {"temperature": config.grpo.temperature, "banned": self._banned}
        if self._shared:
            yield answer_scores(model, prefix or read_prefix(model, inputs), answers, **how)
        else:
            yield from full_scores(model, inputs, answers, rows=config.run.rows, **how)

    def _reference(self, inputs: dict[str, torch.Tensor], answers: list[list[int]]) -> torch.Tensor:
        """Log-probabilities (G, A) under the model that the policy is held to."""
        with self._watch("reference"), self._policy.reference() as model:
            lots = list(self._scores(model, inputs, answers))
        return _padded(
            [row[there] for lot in lots for row, there in zip(lot.logprobs, lot.mask, strict=True)], self._policy.device
        )

    def _group(self, asked: PreparedQuestion, drawn: list[GeneratedAnswers], prefix: SharedPrefix | None) -> Rollout:
        config = self._config.grpo
        texts = [self._policy.checkpoint.text(answer.content) for answer in drawn]
        rewards = [score_text(asked.question, text) for text in texts]
        strict = [each.strict for each in rewards]
        values = [each.smooth for each in rewards] if config.reward == "smooth" else strict
        gains = advantages(values, config.scale)
        noise = config.drop_noise and is_uninformative(values, strict)
        cut = config.drop_truncated and not any(answer.ended for answer in drawn)
        kept = not noise and (config.dynamic_sampling == 1 or (any(gains) and not cut))
        return Rollout(asked, drawn, texts, rewards, gains, kept, prefix)


def score_text(question: Question, text: str) -> Rewards:
    """Score an answer to a question.

    Raises ScoringError where the scorer fails, or gives a reward that is no finite number.
    """
    where = f"question {question.id}: the scorer of {question.data_source}"
    answer = f"for the answer {text[:_QUOTED]!r}, where {question.answer[:_QUOTED]!r} is right"
    try:
        found = scorer(question.data_source)(text, question.answer)
        finite = math.isfinite(found.smooth) and math.isfinite(found.strict)
    except Exception as error:  # it may be another package's, and raise what it likes
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}, line {last.lineno}"
        raise ScoringError(f"{where} raised {type(error).__name__}: {error} ({place}) {answer}") from error
    if not finite:
        raise ScoringError(f"{where} gave {found.smooth} (strict: {found.strict}), no finite reward, {answer}")
    return found


def _padded(rows: Sequence[Any], device: torch.device) -> torch.Tensor:
    """Rows of unequal length (G, A) float32, with 0 behind."""
    tensors = [torch.as_tensor(row, dtype=torch.float32, device=device) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
