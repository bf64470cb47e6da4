"""Summarize the groups of a batch: metrics of each group, and the means that a step records.

Metrics of several processes are put together by joining their lists. `videossr.training.trainer` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from math import fsum
from statistics import fmean
from typing import Literal

from videossr.training.runs.records import Rollouts


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """The metrics of one question's group of answers.

    Attributes:
        category, task, set: of the question; the set is empty where there is only one.
        smooth, strict, parsed: of each answer, see `videossr.rewards`.
        texts: of each answer.
        tokens: of each answer, how many.
        truncated: of each answer, whether it was cut off.
        counted: of each answer, whether it counts in the loss; none given: all do.
        kl: to the reference, the sum over the tokens of the answers that count.
        entropy: of the next token, in nats, the sum over all tokens.
    """

    category: str
    task: str
    smooth: tuple[float, ...]
    strict: tuple[float, ...]
    parsed: tuple[bool, ...]
    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    truncated: tuple[bool, ...]
    counted: tuple[bool, ...] = ()
    kl: float = 0.0
    entropy: float = 0.0
    set: str = ""

    @property
    def counted_tokens(self) -> int:
        """The tokens of the answers that count in the loss."""
        return sum(compress(self.tokens, self.counted)) if self.counted else sum(self.tokens)

    @property
    def noise(self) -> bool:
        """Tell whether no answer is right and yet smooth rewards differ; the advantages are then mostly noise."""
        return is_uninformative(self.smooth, self.strict)


def is_uninformative(rewards: Sequence[float], strict: Sequence[float]) -> bool:
    """Tell whether no answer of a group is right and yet its rewards differ: mostly by how near a guess was."""
    return max(strict) < 1 and min(rewards) != max(rewards)


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """Means over all groups, and over those of each task, category and set, by name."""

    all: Rollouts
    tasks: dict[str, Rollouts]
    categories: dict[str, Rollouts]
    sets: dict[str, Rollouts]


def summarize(groups: Sequence[GroupMetrics], reward: Literal["smooth", "strict"] = "smooth") -> MetricSummary:
    """Return the means of a step; `reward` is the one that it learns from. Raises ValueError for no groups."""

    def by(name: Callable[[GroupMetrics], str]) -> dict[str, Rollouts]:
        return {
            value: rollout_metrics([group for group in groups if name(group) == value], reward)
            for value in sorted({name(group) for group in groups} - {""})
        }

    return MetricSummary(
        rollout_metrics(groups, reward),
        by(lambda group: group.task),
        by(lambda group: group.category),
        by(lambda group: group.set),
    )


def rollout_metrics(groups: Sequence[GroupMetrics], reward: Literal["smooth", "strict"] = "smooth") -> Rollouts:
    """Return means over groups, as `Rollouts` defines them, whatever their order. Raises ValueError for no groups."""
    if not groups:
        raise ValueError("no groups, so they have no means")
    tokens = sum(sum(group.tokens) for group in groups)
    return Rollouts(
        groups=len(groups),
        smooth=fmean(value for group in groups for value in group.smooth),
        strict=fmean(value for group in groups for value in group.strict),
        parsed=fmean(value for group in groups for value in group.parsed),
        zero_variance=fmean(len(set(group.smooth if reward == "smooth" else group.strict)) == 1 for group in groups),
        noise=fmean(group.noise for group in groups),
        distinct=fmean(len(set(group.texts)) for group in groups),
        tokens=tokens / sum(len(group.tokens) for group in groups),
        truncated=fmean(value for group in groups for value in group.truncated),
        kl=fsum(group.kl for group in groups) / max(1, sum(group.counted_tokens for group in groups)),
        entropy=fsum(group.entropy for group in groups) / max(1, tokens),
    )
