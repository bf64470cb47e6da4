"""Decide from the figures of its steps whether a run can still learn. `videossr.training.session` acts on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from videossr.training.runs.records import SkipReason, Step

REFUSED = 3
"""Steps in a row whose gradient is no number, or in which nothing could be shown, after which a run ends."""


@dataclass
class RunHealth:
    """Count the signs that a run cannot learn.

    Attributes:
        sound: the last step whose loss was a number: the weights that it began with work.
        refused: steps in a row, up to the last one, whose gradient was no number.
        lost: steps in a row, up to the last one, in which no question could be shown.
        first: the first steps of the run.
    """

    sound: int = 0
    refused: int = 0
    lost: int = 0
    first: list[Step] = field(default_factory=list)
    _step: int = 0
    _is_last: bool = False

    @classmethod
    def after(cls, steps: Sequence[Step]) -> Self:
        """Begin after the steps of earlier sessions."""
        return cls(sound=max((step.step for step in steps if is_sound(step)), default=0), first=list(steps[:REFUSED]))

    def record(self, step: Step, *, asked: int, failed: int, is_last: bool) -> None:
        """Take in a step, in which `failed` of the `asked` questions could not be shown."""
        self._step = step.step
        self._is_last = is_last
        if is_sound(step):
            self.sound = step.step
        if step.step <= REFUSED:
            self.first.append(step)
        self.lost = self.lost + 1 if failed == asked else 0
        self.refused = self.refused + 1 if step.skipped == SkipReason.NOT_FINITE else 0

    @property
    def is_hopeless(self) -> bool:
        """Tell whether the run must end: nothing was learned, or shown, in too many steps in a row."""
        return REFUSED in (self.lost, self.refused)

    @property
    def is_spoilt(self) -> bool:
        """Tell whether the weights are of no use; the run ends before another step could show it."""
        return self.refused > 0 and self.sound < self._step and (self.refused == REFUSED or self._is_last)

    @property
    def rewards_never_differed(self) -> bool:
        """Tell, at the end of the first steps, whether all rewards of each group were equal in all of them."""
        return self._step == REFUSED and rewards_are_equal(self.first)


def is_sound(step: Step) -> bool:
    """Tell whether the weights that a step began with have given a loss that is a number."""
    return math.isfinite(step.loss) and step.skipped != SkipReason.NO_ANSWER


def rewards_are_equal(steps: Sequence[Step]) -> bool:
    """Tell whether in every group of these steps all rewards are equal: then there was nothing to learn from.

    False where no answers were sampled at all, as in supervised steps.
    """
    sampled = [step.all for step in steps if step.all is not None]
    return bool(sampled) and all(means.zero_variance == 1 for means in sampled)
