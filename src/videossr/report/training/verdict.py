"""What became of a training run, in words: did it learn, against its own start and against the best constant answer?

Made for `videossr report TRAINING_RUN --out report.html`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal

from videossr.errors import DataError
from videossr.models.answer_distribution import answer_distributions
from videossr.question_set import open_questions
from videossr.report.training.figures import Ends, NamedRun, ends, last_steps, of_all
from videossr.storage.paths import to_path
from videossr.training.runs.records import Step, TrainRun

FEWEST = 20
"""Steps below which nothing can be said of noise: a tenth of fewer is a single step."""

SURE = 2.0
"""Standard errors by which the end must differ from the start."""

EQUAL = "in every group all rewards are equal"

Tone = Literal["good", "bad", "open"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement of a run.

    Attributes:
        tone: whether it learned, something is wrong, or nothing can be told yet.
        head: the judgement in a few words.
        reasons: sentences with the figures that it rests on.
    """

    tone: Tone
    head: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Constant:
    """What the answers earn that are best when nothing is looked at.

    Attributes:
        rewards: expected smooth reward of the best constant answer, by category.
        missing: why it is not known; empty where it is.
    """

    rewards: Mapping[str, float]
    missing: str = ""

    def over(self, steps: Sequence[Step]) -> float | None:
        """The mean over the groups of some steps; None where a category of theirs is not known."""
        worth = groups = 0.0
        for step in steps:
            for category, found in step.categories.items():
                if category not in self.rewards:
                    return None
                worth += found.groups * self.rewards[category]
                groups += found.groups
        return worth / groups if groups else None


def constant_of(run: TrainRun) -> Constant:
    """Find what constant answers earn, from the law of the answers in the run's dataset; no frame is read.

    A dataset that is not at hand, or is another one by now, costs the comparison and not the report.
    """
    where = run.manifest.questions if run.manifest else run.config.data.path
    if not where:
        return Constant({}, "the run does not name its dataset")
    try:
        questions = open_questions(to_path(where), corpus=run.config.data.corpus)
        if run.manifest and questions.hash != run.manifest.hash:
            return Constant({}, f"{where} holds other questions than the run was trained on")
        return Constant(
            {category: law.worth("smooth").smooth for category, law in answer_distributions(questions).items()}
        )
    except (OSError, ValueError) as error:
        return Constant({}, str(error))


def verdict(each: NamedRun, constant: Constant) -> Verdict:
    """Judge a run by its steps."""
    run, steps = each.run, each.run.steps
    if not steps:
        return Verdict("open", "No step is done yet")
    broken = [step for step in steps if not math.isfinite(step.loss)]
    told = [f"In {len(broken):,} of {len(steps):,} steps the loss is not a number."] if broken else []
    if all(step.all is None for step in steps):
        return _of_supervised(steps, told)
    groups = [step.all for step in steps if step.all is not None]
    if all(found.zero_variance == 1 for found in groups):
        smooth, parsed = fmean(found.smooth for found in groups), fmean(found.parsed for found in groups)
        return Verdict(
            "bad",
            f"Nothing could be learned: {EQUAL}",
            (
                *told,
                f"Equal rewards have no advantage, so no answer was preferred to another. The mean reward is "
                f"{smooth:.1%}, and {parsed:.1%} of the answers have the asked form.",
                "A longer supervised start, or questions that the model sometimes answers (videossr bench probe), "
                "would help.",
            ),
        )
    return _of_rewards(run, constant, told)


def _of_supervised(steps: Sequence[Step], told: list[str]) -> Verdict:
    found = ends([step for step in steps if math.isfinite(step.loss)], lambda step: step.loss)
    if found is None:
        return Verdict("bad", "It broke down: the loss is never a number", tuple(told))
    told.append(f"The loss went from {found.first:.3f} to {found.last:.3f} (first and last tenth of the steps).")
    told.append("A supervised run has no rewards; videossr bench run measures what its model answers.")
    change = _change([step.loss for step in steps if math.isfinite(step.loss)], found)
    if change is None:
        return Verdict("open", f"{len(steps)} steps are too few to tell whether it learned", tuple(told))
    if change < -SURE:
        return Verdict("good", "It learned the answers that it was shown", tuple(told))
    return Verdict("bad", "It did not learn: the loss did not fall by more than noise", tuple(told))


def _of_rewards(run: TrainRun, constant: Constant, told: list[str]) -> Verdict:
    reward = run.config.grpo.reward
    steps = [step for step in run.steps if step.all is not None]
    value = of_all(reward)
    found = ends(steps, value)
    equal = ends(steps, of_all("zero_variance"))
    form = ends(steps, of_all("parsed"))
    if found is None or equal is None or form is None:  # the caller has steps with rewards
        raise DataError(f"{run.path} has no rewards")
    told.append(
        f"The {reward} reward went from {found.first:.1%} to {found.last:.1%} "
        "(first and last tenth of the steps; the first is about what the model began with)."
    )
    values = [each for step in steps if (each := value(step)) is not None]
    change, error = _change(values, found), _error(values)
    above = None
    if reward == "smooth":
        worth = constant.over(last_steps(steps))
        if worth is None:
            why = constant.missing or "its dataset does not have all categories of the run"
            told.append(f"What the best constant answers would earn is not known: {why}.")
        else:
            above = found.last > worth + SURE * error
            less = "" if above else "not "
            noise = " by more than noise" if found.last > worth and not above else ""
            told.append(
                f"The best constant answers, given without looking, would earn {worth:.1%}: "
                f"the end is {less}above that{noise}."
            )
    if equal.last == 1:
        told.append(f"At the end {EQUAL}: there is nothing more to learn from.")
    elif equal.last > 0:
        told.append(f"At the end all rewards are equal in {equal.last:.0%} of the groups: those teach nothing.")
    if form.last < 0.9:
        told.append(f"At the end {1 - form.last:.0%} of the answers do not have the asked form.")
    if change is None:
        return Verdict("open", f"{len(steps)} steps are too few to tell whether it learned", tuple(told))
    if change > SURE:
        return Verdict("open" if above is False else "good", _LEARNED[above], tuple(told))
    if change < -SURE:
        return Verdict("bad", "It became worse", tuple(told))
    return Verdict("bad", "It did not learn: the reward changed by no more than noise", tuple(told))


_LEARNED = {
    None: "It learned",
    True: "It learned, and is above the best constant answers",
    False: "It learned, but is not above the best constant answers",
}


def _change(values: Sequence[float], found: Ends) -> float | None:
    """The last tenth minus the first one in standard errors; None where there are too few steps."""
    if len(values) < FEWEST:
        return None
    change, error = found.last - found.first, math.sqrt(2) * _error(values)
    return change / error if error else math.copysign(math.inf, change) if change else 0.0


def _error(values: Sequence[float]) -> float:
    """Standard error of the mean of a tenth of the steps.

    The noise of a step is taken from what neighbouring steps differ by, which a slow change hardly adds to.
    """
    if len(values) < 2:
        return math.inf
    noise = math.sqrt(fmean((after - before) ** 2 for before, after in pairwise(values)) / 2)
    return noise / math.sqrt(max(1, len(values) // 10))
