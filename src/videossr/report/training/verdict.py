"""Judge in words whether a training run learned, against its own start and against the best constant answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from statistics import fmean
from typing import Literal

from videossr.errors import DataError
from videossr.models.answer_distribution import answer_distributions
from videossr.report.recorded import recorded_place
from videossr.report.training.figures import Ends, NamedRun, ends, last_steps, of_all
from videossr.training.mixture import open_data
from videossr.training.runs.records import Step, TrainRun

FEWEST = 20
"""Number of steps below which the noise cannot be estimated: a tenth of fewer is a single step."""

SURE = 2.0
"""Number of standard errors by which the end must differ from the start."""

EQUAL = "in every group all rewards are equal"

Tone = Literal["good", "bad", "open"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement of a run.

    Attributes:
        tone: `good` where it learned, `bad` where something is wrong, `open` where nothing can be told yet.
        head: the judgement in a few words.
        reasons: sentences with the figures that it rests on.
    """

    tone: Tone
    head: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Constant:
    """Rewards of the best constant answers, which need no video.

    Attributes:
        rewards: expected smooth reward of the best constant answer, by category.
        missing: why it is not known; empty where it is.
    """

    rewards: Mapping[str, float]
    missing: str = ""

    def over(self, steps: Sequence[Step]) -> float | None:
        """Average the rewards over the groups of some steps; None where a category of theirs is not known."""
        total = groups = 0.0
        for step in steps:
            for category, rollouts in step.categories.items():
                if category not in self.rewards:
                    return None
                total += rollouts.groups * self.rewards[category]
                groups += rollouts.groups
        return total / groups if groups else None


def constant_of(run: TrainRun, place: str | None = None) -> Constant:
    """Compute the rewards of the best constant answers from the answer distribution of the run's dataset.

    No frame is read. Where the dataset cannot be opened or has changed, `missing` of the result gives the reason.

    Args:
        run: a training run.
        place: where its dataset is; by default where the run found it, see `recorded_place`.
    """
    data = run.config.data
    address = run.manifest.questions if run.manifest else data.paths
    if not address:
        return Constant({}, "the run does not name its dataset")
    if place or not data.sets:
        data = replace(data, path=place or address, corpus=None if place else data.corpus, sets={})
    try:
        questions = open_data(data, str if place else partial(recorded_place, run.path), trusted=False)
        if run.manifest and questions.hash != run.manifest.hash:
            return Constant({}, f"{place or address} holds other questions than the run was trained on")
        return Constant(
            {
                category: probabilities.expected_score("smooth").smooth
                for category, probabilities in answer_distributions(questions).items()
            }
        )
    except (OSError, ValueError) as error:
        return Constant({}, str(error))


def verdict(named_run: NamedRun, constant: Constant) -> Verdict:
    """Judge a run by its steps.

    Args:
        named_run: the run.
        constant: what `constant_of` returned for it.
    """
    run = named_run.run
    steps = run.steps
    if not steps:
        return Verdict("open", "No step is done yet")
    broken = [step for step in steps if not math.isfinite(step.loss)]
    reasons = [f"In {len(broken):,} of {len(steps):,} steps the loss is not a number."] if broken else []
    if all(step.all is None for step in steps):
        return _of_supervised(steps, reasons)
    groups = [step.all for step in steps if step.all is not None]
    if all(rollouts.zero_variance == 1 for rollouts in groups):
        smooth = fmean(rollouts.smooth for rollouts in groups)
        parsed = fmean(rollouts.parsed for rollouts in groups)
        return Verdict(
            "bad",
            f"Nothing could be learned: {EQUAL}",
            (
                *reasons,
                f"Equal rewards have no advantage, so no answer was preferred to another. The mean reward is "
                f"{smooth:.1%}, and {parsed:.1%} of the answers can be parsed.",
                "A longer supervised start, or questions that the model sometimes answers (videossr bench probe), "
                "would help.",
            ),
        )
    return _of_rewards(run, constant, reasons)


def _of_supervised(steps: Sequence[Step], reasons: list[str]) -> Verdict:
    """Judge a supervised run by its loss."""
    loss = ends([step for step in steps if math.isfinite(step.loss)], lambda step: step.loss)
    if loss is None:
        return Verdict("bad", "It broke down: the loss is never a number", tuple(reasons))
    reasons.append(f"The loss went from {loss.first:.3f} to {loss.last:.3f} (first and last tenth of the steps).")
    reasons.append("A supervised run has no rewards; videossr bench run measures what its model answers.")
    change = _change([step.loss for step in steps if math.isfinite(step.loss)], loss)
    if change is None:
        return Verdict("open", f"{len(steps)} steps are too few to tell whether it learned", tuple(reasons))
    if change < -SURE:
        return Verdict("good", "It learned the answers that it was shown", tuple(reasons))
    return Verdict("bad", "It did not learn: the loss did not fall by more than noise", tuple(reasons))


def _of_rewards(run: TrainRun, constant: Constant, reasons: list[str]) -> Verdict:
    """Judge a run of GRPO by its rewards."""
    reward = run.config.grpo.reward
    steps = [step for step in run.steps if step.all is not None]
    value = of_all(reward)
    rewards = ends(steps, value)
    equal = ends(steps, of_all("zero_variance"))
    form = ends(steps, of_all("parsed"))
    if rewards is None or equal is None or form is None:  # the caller has steps with rewards
        raise DataError(f"{run.path} has no rewards")
    reasons.append(
        f"The {reward} reward went from {rewards.first:.1%} to {rewards.last:.1%} "
        "(first and last tenth of the steps; the first is about what the model began with)."
    )
    values = [reward_of_step for step in steps if (reward_of_step := value(step)) is not None]
    change = _change(values, rewards)
    error = _error(values)
    above = None
    if reward == "smooth":
        baseline = constant.over(last_steps(steps))
        if baseline is None:
            why = constant.missing or "its dataset does not have all categories of the run"
            reasons.append(f"What the best constant answers would earn is not known: {why}.")
        else:
            above = rewards.last > baseline + SURE * error
            less = "" if above else "not "
            noise = " by more than noise" if rewards.last > baseline and not above else ""
            reasons.append(
                f"The best constant answers, given without looking, would earn {baseline:.1%}: "
                f"the end is {less}above that{noise}."
            )
    if equal.last == 1:
        reasons.append(f"At the end {EQUAL}: there is nothing more to learn from.")
    elif equal.last > 0:
        reasons.append(f"At the end all rewards are equal in {equal.last:.0%} of the groups: those teach nothing.")
    if form.last < 0.9:
        reasons.append(f"At the end {1 - form.last:.0%} of the answers cannot be parsed.")
    if change is None:
        return Verdict("open", f"{len(steps)} steps are too few to tell whether it learned", tuple(reasons))
    if change > SURE:
        return Verdict("open" if above is False else "good", _LEARNED[above], tuple(reasons))
    if change < -SURE:
        return Verdict("bad", "It became worse", tuple(reasons))
    return Verdict("bad", "It did not learn: the reward changed by no more than noise", tuple(reasons))


_LEARNED = {
    None: "It learned",
    True: "It learned, and is above the best constant answers",
    False: "It learned, but is not above the best constant answers",
}


def _change(values: Sequence[float], figure: Ends) -> float | None:
    """Return the last tenth minus the first one in standard errors; None where there are too few steps."""
    if len(values) < FEWEST:
        return None
    change = figure.last - figure.first
    error = math.sqrt(2) * _error(values)
    if error:
        return change / error
    return math.copysign(math.inf, change) if change else 0.0


def _error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of a tenth of the steps.

    The noise of a step is estimated from the differences between neighbouring steps, to which a slow trend hardly adds.
    """
    if len(values) < 2:
        return math.inf
    noise = math.sqrt(fmean((after - before) ** 2 for before, after in pairwise(values)) / 2)
    return noise / math.sqrt(max(1, len(values) // 10))
