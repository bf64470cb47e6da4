"""Choose the questions of each batch: a pure function of the seed, whatever the number of processes.

Torch-free. `videossr.training.loader` asks for the batches.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from videossr.errors import ConfigError
from videossr.training.config import RunSettings

Mix = Literal["shuffled", "even", "single"]


@dataclass(frozen=True, slots=True)
class SetShares:
    """The sets of a mixture.

    Attributes:
        names: the set of each question.
        weights: the share of each set in the questions that are asked, over the sum of all.
    """

    names: Sequence[str]
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunLength:
    """The length of a run.

    Attributes:
        steps: of the optimizer, at most; with several updates a batch, one step is all of them.
        batches: with how many batches of questions a step may begin.
    """

    steps: int
    batches: int


def run_length(run: RunSettings, batches_per_step: int, questions: int) -> RunLength:
    """Return the length of a run on so many questions; `batches_per_step` are asked by one step, at most."""
    if run.steps:
        return RunLength(run.steps, run.steps * batches_per_step)
    batches = steps_in(questions, run.batch, run.epochs)
    return RunLength(batches, batches)


def choose_questions(
    categories: Sequence[str], wanted: Sequence[str], share: tuple[float, float], seed: int
) -> list[int]:
    """Choose what a run is trained on: of each wanted category, the same share of its shuffled questions.

    Shares that do not overlap hold different questions, whatever the categories.

    Args:
        categories: of all questions.
        wanted: categories to take; none named: all.
        share: from where to where in the shuffled questions of a category, within 0 and 1.
        seed: of the run.

    Returns:
        The indices of the chosen questions, sorted.

    Raises:
        ConfigError: a category does not exist, the share is none, or nothing is left.
    """
    start, end = share
    if not 0 <= start < end <= 1:
        raise ConfigError(f"data.share: expected 0 <= from < to <= 1, got {start}, {end}")
    if unknown := sorted(set(wanted) - set(categories)):
        raise ConfigError(f"data.categories: there is no {unknown[0]!r}. Known: {', '.join(sorted(set(categories)))}")
    members = _members(range(len(categories)), categories)
    chosen: list[int] = []
    for name in sorted(members):
        if not wanted or name in wanted:
            shuffled = _generator(_sequence(seed, 0, name)).permutation(members[name]).tolist()
            chosen += shuffled[round(start * len(shuffled)) : round(end * len(shuffled))]
    if not chosen:
        raise ConfigError(
            f"data.share: nothing is left of {len(categories)} questions between {start:g} and {end:g} of each "
            "category. For all of them set --data.share='[0, 1]'"
        )
    return sorted(chosen)


def steps_in(questions: int, batch: int, epochs: float) -> int:
    """Return the number of batches in so many passes, at least one; the last of a pass may be smaller."""
    whole, part = divmod(epochs, 1)
    return max(1, int(whole) * math.ceil(questions / batch) + math.ceil(round(part * questions, 6) / batch))


def epochs_at(number: int, questions: int, batch: int) -> float:
    """Return how many passes through the data are complete after a batch, counted from 1."""
    whole, place = divmod(number, math.ceil(questions / batch))
    return whole + min(place * batch, questions) / questions


def batch_for_step(
    number: int,
    chosen: Sequence[int],
    categories: Sequence[str],
    batch: int,
    mix: Mix,
    seed: int,
    shares: SetShares | None = None,
) -> list[int]:
    """Return the questions of one batch. Every pass shows each question once, in an order of its own.

    With several sets, a pass has as many questions, and each set has its share of them, spread evenly over the batches.
    A set goes on through its own questions from pass to pass, in a new order each time it begins again: of one that is
    larger than its share the rest comes in the next pass, and one that is smaller begins again within the pass.

    Args:
        number: of the batch, from 1.
        chosen: indices of the questions of the run, see `choose_questions`.
        categories: of all questions.
        batch: questions a batch.
        mix: shuffled: as they fall; even: each batch has of every category its share of the pass; single: a batch has
            one category, where it is full.
        seed: of the run.
        shares: sets and their weights; None for a single set.

    Raises:
        ConfigError: a set has no question, or its weight is too small for one question in a pass.
    """
    batches_a_pass = math.ceil(len(chosen) / batch)
    epoch, place = divmod(number - 1, batches_a_pass)
    if shares is not None:
        order = _mixed(epoch, chosen, categories, mix, seed, shares)
    else:
        order = _order(chosen, categories, batch, mix, np.random.SeedSequence([seed, 1 + epoch]))
    return order[place * batch : (place + 1) * batch]


def set_sizes(chosen: Sequence[int], shares: SetShares) -> dict[str, int]:
    """Return how many questions of each set a pass has: its share of them, rounded so that the sum is theirs.

    Args:
        chosen: indices of the questions of the run.
        shares: sets and their weights.

    Raises:
        ConfigError: a set has no question, or its weight is too small for one question in a pass.
    """
    present = {shares.names[index] for index in chosen}
    if empty := sorted(shares.weights.keys() - present):
        raise ConfigError(f"data.sets.{empty[0]}: data.categories and data.share leave nothing of it")
    largest = max(shares.weights.values())  # so that no sum of weights is too large for a float
    weights = {name: weight / largest for name, weight in sorted(shares.weights.items())}
    total = math.fsum(weights.values())
    exact = {name: len(chosen) * weight / total for name, weight in weights.items()}
    sizes = {name: math.floor(size) for name, size in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (sizes[name] - exact[name], name))
    for name in by_remainder[: len(chosen) - sum(sizes.values())]:
        sizes[name] += 1
    if none := [name for name, size in sizes.items() if not size]:
        raise ConfigError(
            f"data.sets.{none[0]}.weight is {shares.weights[none[0]]:g}, too small for one of the {len(chosen)} "
            "questions of a pass"
        )
    return sizes


def _mixed(
    epoch: int, chosen: Sequence[int], categories: Sequence[str], mix: Mix, seed: int, shares: SetShares
) -> list[int]:
    """Order the questions of one pass through several sets: the k-th of a set of n stands at (k + 1/2) / n of it."""
    members = _members(chosen, shares.names)
    keyed: list[tuple[float, str, int]] = []
    for name, size in set_sizes(chosen, shares).items():
        own = members[name]
        first = epoch * size
        rounds = range(first // len(own), (first + size - 1) // len(own) + 1)
        order = [
            index
            for number in rounds
            for index in _order(own, categories, len(own), mix, _sequence(seed, 1 + number, name))
        ]
        start = first - rounds.start * len(own)
        keyed += [((k + 0.5) / size, name, index) for k, index in enumerate(order[start : start + size])]
    return [index for _, _, index in sorted(keyed, key=lambda entry: entry[:2])]


def _order(
    chosen: Sequence[int], categories: Sequence[str], batch: int, mix: Mix, seed: np.random.SeedSequence
) -> list[int]:
    """Order the questions of one pass: consecutive stretches of it are the batches."""
    generator = _generator(seed)
    shuffled: list[int] = generator.permutation(np.asarray(chosen)).tolist()
    if mix == "shuffled":
        return shuffled
    members = _members(shuffled, categories)
    if mix == "even":
        # The k-th of a category of n stands at (k + chance) / n of the pass.
        places = {name: generator.random() for name in sorted(members)}
        keyed = [
            ((k + places[name]) / len(indices), name, index)
            for name, indices in members.items()
            for k, index in enumerate(indices)
        ]
        return [index for _, _, index in sorted(keyed)]
    full: list[list[int]] = []
    rest: list[int] = []
    for _, indices in sorted(members.items()):
        whole = len(indices) // batch * batch
        full += [indices[first : first + batch] for first in range(0, whole, batch)]
        rest += indices[whole:]
    return [index for position in generator.permutation(len(full)) for index in full[position]] + rest


def _members(indices: Sequence[int] | range, categories: Sequence[str]) -> dict[str, list[int]]:
    """Group indices by their category."""
    members: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        members[categories[index]].append(index)
    return members


def _sequence(seed: int, *words: int | str) -> np.random.SeedSequence:
    """Return a seed sequence of its own for each seed and words."""
    numbers = [
        word if isinstance(word, int) else int.from_bytes(word.encode()[:64].ljust(64, b"\0"), "big") for word in words
    ]
    return np.random.SeedSequence([seed, *numbers])


def _generator(seed: np.random.SeedSequence) -> np.random.Generator:
    """Return the generator of a seed."""
    return np.random.Generator(np.random.PCG64DXSM(seed))
