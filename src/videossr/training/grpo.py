"""Group relative policy optimization, as formulas: advantages, the clipped loss, the KL to the reference.

The paper's run is verl's GRPO; what can be chosen otherwise is named in
`videossr.training.config.GrpoConfig`. Exercised by
`videossr train train-paper --model.path=CHECKPOINT --data.path=DATASET --out RUN`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from videossr.engine.shared_prefix import TokenScores
from videossr.training.config import GrpoConfig

EPSILON = 1e-6
"""Added to a group's deviation, as verl does it."""

LARGEST = 10.0
"""Of one token's estimate of the KL, either way: one token that the reference thinks impossible decides nothing."""


def advantages(rewards: Sequence[float], scale: str) -> list[float]:
    """What each answer of a group is worth against the others.

    The reward less the group's mean, over its unbiased deviation where `scale` is group. Exactly 0 for all where no two
    rewards differ: the deviation of equal numbers need not be exactly 0, and an optimizer would blow the rest up.

    Raises ValueError for a reward that is not finite: what compares with nothing has no place in a group.
    """
    if not all(map(math.isfinite, rewards)):
        raise ValueError(f"rewards of a group must be finite numbers, and these are {list(rewards)}")
    if min(rewards) == max(rewards):
        return [0.0] * len(rewards)
    values = torch.tensor(rewards, dtype=torch.float64)
    centered = values - values.mean()
    if scale == "group":
        centered = centered / (values.std() + EPSILON)
    result: list[float] = centered.tolist()
    return result


@dataclass(frozen=True)
class GroupLoss:
    """The share of one group in the loss of its batch.

    Attributes:
        total: what is to be summed over the batch and divided by the sum of `weight`.
        weight: what it counts for: tokens, answers, or answers times the most tokens.
        kl: summed over tokens, without gradient.
    """

    total: torch.Tensor
    weight: float
    kl: float


def group_loss(
    scores: TokenScores,
    advantage: torch.Tensor,
    config: GrpoConfig,
    *,
    old: torch.Tensor | None = None,
    reference: torch.Tensor | None = None,
    kept: torch.Tensor | None = None,
) -> GroupLoss:
    """The clipped objective of a group (G answers of at most A tokens), negated, with the KL to the reference in it.

    Args:
        scores: of the policy, with gradient.
        advantage: (G,) float32.
        config: the weights and choices.
        old: (G, A) log-probabilities under the policy that has sampled; None where that is this one, so that the ratio
            is exactly 1 and only its gradient counts.
        reference: (G, A) log-probabilities under the reference; None at KL 0.
        kept: (G,) bool, answers that count; None: all.
    """
    mask = scores.mask if kept is None else scores.mask & kept[:, None]
    before = scores.logprobs.detach() if old is None else old
    ratio = (scores.logprobs - before).exp()
    clipped = ratio.clamp(1 - config.clip_low, 1 + config.clip_high)
    gain = torch.minimum(ratio * advantage[:, None], clipped * advantage[:, None])
    loss = -gain
    kl = torch.zeros_like(loss)
    if reference is not None:
        kl = KL[config.kl_estimator](reference - scores.logprobs)
        loss = loss + config.kl * kl
    total, weight = _aggregate(loss, mask, config)
    return GroupLoss(total, weight, float((kl.detach() * mask).sum()))


def _aggregate(loss: torch.Tensor, mask: torch.Tensor, config: GrpoConfig) -> tuple[torch.Tensor, float]:
    """The sum over a group (G, A), and what it is divided by once it was summed over the batch."""
    masked = torch.where(mask, loss, 0.0)
    if config.aggregate == "token":
        return masked.sum(), float(mask.sum())
    if config.aggregate == "answer":
        present = mask.any(1)
        return (masked.sum(1) / mask.sum(1).clamp(min=1)).sum(), float(present.sum())
    return masked.sum(), float(len(mask) * config.max_tokens)


def _low_variance(gap: torch.Tensor) -> torch.Tensor:
    """k3: never negative, and of little variance where the two are near each other.

    A large gap is cut before `exp`, whose gradient would not be finite.
    """
    gap = gap.clamp(max=20)
    return (gap.exp() - gap - 1).clamp(max=LARGEST)


KL: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "low_variance": _low_variance,
    "plain": lambda gap: -gap,
    "squared": lambda gap: gap.square() / 2,
}
"""Estimates of a token's KL from the reference's log-probability less the policy's."""
