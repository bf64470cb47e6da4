"""Choose the categories in which a model succeeds about half the time, as a recipe: there groups vary the most.

The rule, which docs/how-to/probing.md gives in words, is `choose_categories`. Exercised by
`videossr bench probe demo/dataset --model chance --out demo/runs/probe --recipe half.toml`.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tomli_w

from videossr.bench.pass_rates import Figures, PassRates
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import RecipeTable
from videossr.errors import ConfigError
from videossr.question_set import QuestionSet

Verdict = Literal["near", "nearest", "far", "flat", "unmeasured"]
WORDS: Mapping[Verdict, str] = {
    "near": "about half the time",
    "nearest": "not near half the time, but nearest to it in its task",
    "far": "too far from half the time",
    "flat": "every question always or never: no group varies",
    "unmeasured": "no question has all its answers",
}


@dataclass(frozen=True, slots=True)
class CategoryChoice:
    """The decision about one category: `count` samples, none where it is left out; `figures` is what was measured."""

    category: str
    task: str
    verdict: Verdict
    figures: Figures | None
    count: int = 0

    @property
    def distance(self) -> float:
        """Return the distance of its success rate from one half."""
        return 0.5 if self.figures is None else abs(self.figures.success.rate.value - 0.5)


def recipe_behind(questions: QuestionSet) -> RecipeTable:
    """Return the recipe that the questions were built by. Raises ValueError where they were not built by one."""
    if not isinstance(questions, VideoSSRDataset):
        raise ConfigError(
            f"{questions.path}: these questions come from no recipe, so there are no settings to choose for a new one: "
            "leave out --recipe, or probe what `videossr build ladder` makes"
        )
    return questions.manifest["recipe"]


def choose_categories(probe: PassRates, recipe: RecipeTable, within: float, count: int) -> list[CategoryChoice]:
    """Choose the categories of `recipe` to build for the model of `probe`.

    A category whose success rate is no more than `within` from one half is taken. Where a task has none, its nearest
    one is, and is marked. A category of which every question has 0 or n successes is never taken. Each task gets
    `count` samples, its categories equal parts; what is left over goes to the nearest of them.
    """
    tasks: dict[str, list[CategoryChoice]] = defaultdict(list)
    for category, table in sorted(recipe["categories"].items()):
        figures = probe.categories.get(category)
        verdict: Verdict = "far"
        if figures is None:
            verdict = "unmeasured"
        elif figures.success.flat.value == 1:
            verdict = "flat"
        elif abs(figures.success.rate.value - 0.5) <= within:
            verdict = "near"
        tasks[table["task"]].append(CategoryChoice(category, table["task"], verdict, figures))
    return [choice for choices in tasks.values() for choice in _share_out(choices, count)]


def _share_out(choices: list[CategoryChoice], count: int) -> list[CategoryChoice]:
    """Share `count` samples out among the choices of one task; they come nearest to one half first."""
    ordered = sorted(choices, key=lambda choice: choice.distance)
    taken = [choice for choice in ordered if choice.verdict == "near"]
    if not taken:
        taken = [replace(choice, verdict="nearest") for choice in ordered if choice.verdict == "far"][:1]
    names = [choice.category for choice in taken]
    whole, rest = divmod(count, len(taken)) if taken else (0, 0)
    counted = [replace(choice, count=whole + (place < rest)) for place, choice in enumerate(taken)]
    return counted + [choice for choice in ordered if choice.category not in names]


def recipe_text(choices: list[CategoryChoice], probe: PassRates, recipe: RecipeTable, path: Path) -> str:
    """Write the recipe, which `videossr build PATH` takes; what was measured stands in its comments.

    Raises ValueError where no category is left.
    """
    taken = [choice for choice in choices if choice.count]
    if not taken:
        raise ConfigError(f"{path}: no category is left to write: each question always succeeds or never (or failed)")
    name = re.sub(r"[^\w.-]", "_", path.stem)
    summary = f"Where {probe.model} succeeds nearest to half the time."
    parts = [
        f"# Measured by `videossr bench probe`: {probe.n} answers a question, model {json.dumps(probe.model)},\n"
        f"# questions {probe.hash}.\n",
        tomli_w.dumps({"name": name, "summary": summary, "max_pixels": recipe["max_pixels"]}),
    ]
    for choice in choices:
        if choice.count:
            table = recipe["categories"][choice.category]
            category = {"task": choice.task, "count": choice.count, "config": table["config"]}
            parts.append(_comment(choice, probe) + tomli_w.dumps({"categories": {choice.category: category}}))
    left_out = "".join(_comment(choice, probe) for choice in choices if not choice.count)
    return "\n".join([*parts, "# Left out:\n" + left_out] if left_out else parts)


def _comment(choice: CategoryChoice, probe: PassRates) -> str:
    return f"# {choice.category}: {describe(choice, probe)}\n"


def describe(choice: CategoryChoice, probe: PassRates) -> str:
    """Describe what was measured of a category, and what follows, in one line."""
    if choice.figures is None:
        return WORDS[choice.verdict]
    success, rate = choice.figures.success, choice.figures.success.rate
    what = f"IoU >= {probe.success_iou:g}" if choice.figures.overlap else "exact"
    return (
        f"success ({what}) {rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f}) of {choice.figures.questions} "
        f"questions, {success.flat.value:.0%} without variance; {WORDS[choice.verdict]}"
    )
