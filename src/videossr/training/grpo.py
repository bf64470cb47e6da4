"""The formulas of GRPO: advantages, the clipped loss, and the KL to the reference.

The paper's run is verl's GRPO (DeepSeekMath, arXiv 2402.03300, section 4.1); `videossr.training.config.GrpoConfig`
names the variants. `videossr.training.trainer` shows the step that they are part of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from videossr.engine.shared_prefix import TokenScores
from videossr.training.config import GrpoConfig

EPSILON = 1e-6
"""Added to the standard deviation of a group's rewards, as in verl."""

LARGEST = 10.0
"""Bound of the KL estimate of one token: a token that the reference thinks impossible must not decide the step."""


def group_advantages(rewards: Sequence[float], scale: str) -> list[float]:
    """Compute the advantage of each answer of a group (DeepSeekMath, section 4.1.2).

    The advantage is the reward less the group's mean. It is exactly 0 for all where no two rewards differ: the computed
    deviation of equal numbers need not be exactly 0, and to divide by it would blow rounding up.

    Args:
        rewards: of each of the G answers.
        scale: "group" divides by the unbiased standard deviation of the group, "none" does not (Dr.GRPO).

    Raises:
        ValueError: a reward is not finite.
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
    """The share of one group, or of some of its answers, in the loss of its batch, as scalars on the device.

    Attributes:
        total: what is to be summed over the batch and divided by the sum of `weight`.
        weight: what it counts for: tokens, answers, or answers times the most tokens.
        kl: to the reference, summed over the tokens that count, without gradient.
    """

    total: torch.Tensor
    weight: torch.Tensor
    kl: torch.Tensor


def group_loss(
    scores: TokenScores,
    advantage: torch.Tensor,
    config: GrpoConfig,
    *,
    old: torch.Tensor | None = None,
    reference: torch.Tensor | None = None,
    kept: torch.Tensor | None = None,
) -> GroupLoss:
    """Compute the loss of a group, G answers of at most A tokens: the negated clipped objective, plus the weighted KL.

    DeepSeekMath, equation 3; the ratio is clipped on both sides as `config.clip_low` and `clip_high` say.

    Args:
        scores: of the policy, with gradient.
        advantage: (G,) float32.
        config: weight and estimator of the KL, clip range, aggregation.
        old: (G, A) log-probabilities under the policy that sampled; None where that is this one, so that the ratio is
            exactly 1 and only its gradient counts.
        reference: (G, A) log-probabilities under the reference; None at KL 0.
        kept: (G,) bool, which answers count; None: all.
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
    return GroupLoss(total, weight, torch.where(mask, kl.detach(), 0.0).sum())


def _aggregate(loss: torch.Tensor, mask: torch.Tensor, config: GrpoConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum a loss (G, A) over a group; return the sum, and the group's share in the divisor of the batch."""
    masked = torch.where(mask, loss, 0.0)
    if config.aggregate == "token":
        return masked.sum(), mask.sum()
    if config.aggregate == "answer":
        return (masked.sum(1) / mask.sum(1).clamp(min=1)).sum(), mask.any(1).sum()
    return masked.sum(), mask.new_tensor(len(mask) * config.max_tokens, dtype=torch.int64)


def _low_variance(difference: torch.Tensor) -> torch.Tensor:
    """Estimate the KL by Schulman's k3: never negative, and of little variance where the two are near each other.

    Above `LARGEST`, for a token that is over exp(2.6) = 13.9 times as probable under the reference as under the policy,
    it is constant and has no gradient, as in verl. A larger difference is cut before `exp`, whose gradient would not be
    finite.
    """
    difference = difference.clamp(max=20)
    return (difference.exp() - difference - 1).clamp(max=LARGEST)


KL: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "low_variance": _low_variance,
    "plain": lambda difference: -difference,
    "squared": lambda difference: difference.square() / 2,
}
"""Estimators of a token's KL: functions of the reference's log-probability less the policy's."""
