"""Which questions make up a batch: a pure function of the seed, whatever the number of processes.

Torch-free. Exercised by `videossr train CONFIG --out RUN`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from videossr.errors import ConfigError

Mix = Literal["shuffled", "even", "single"]


def choose_questions(
    categories: Sequence[str], wanted: Sequence[str], share: tuple[float, float], seed: int
) -> list[int]:
    """Choose what a run is trained on: of each wanted category, the same share of its shuffled questions.

    Shares that do not overlap hold different questions, whatever the categories.

    Raises ValueError for a category that is not there, a share that is none, or where nothing is left.
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
            shuffled = _generator(seed, 0, name).permutation(members[name]).tolist()
            chosen += shuffled[round(start * len(shuffled)) : round(end * len(shuffled))]
    if not chosen:
        raise ConfigError(f"data.share: nothing is left of {len(categories)} questions between {start} and {end}")
    return sorted(chosen)


def steps_in(questions: int, batch: int, epochs: float) -> int:
    """How many batches there are in so many passes, at least one; the last of a pass may be smaller than the others."""
    whole, part = divmod(epochs, 1)
    return max(1, int(whole) * math.ceil(questions / batch) + math.ceil(round(part * questions, 6) / batch))


def epochs_at(step: int, questions: int, batch: int) -> float:
    """Passes through the data behind a step."""
    whole, place = divmod(step, math.ceil(questions / batch))
    return whole + min(place * batch, questions) / questions


def batch_for_step(
    step: int, chosen: Sequence[int], categories: Sequence[str], batch: int, mix: Mix, seed: int
) -> list[int]:
    """The questions of one step, from 1. Every pass shows each question once, in an order of its own.

    Args:
        step: of the run.
        chosen: see `choose_questions`.
        categories: of all questions.
        batch: questions a step.
        mix: shuffled: as they fall; even: each batch has of every category its share of the pass; single: a batch has
            one category, where it is full.
        seed: of the run.
    """
    a_pass = math.ceil(len(chosen) / batch)
    epoch, place = divmod(step - 1, a_pass)
    order = _order(chosen, categories, batch, mix, np.random.SeedSequence([seed, 1 + epoch]))
    return order[place * batch : (place + 1) * batch]


def _order(
    chosen: Sequence[int], categories: Sequence[str], batch: int, mix: Mix, seed: np.random.SeedSequence
) -> list[int]:
    """One pass: consecutive stretches of it are the batches."""
    generator = np.random.Generator(np.random.PCG64DXSM(seed))
    shuffled: list[int] = generator.permutation(np.asarray(chosen)).tolist()
    if mix == "shuffled":
        return shuffled
    members = _members(shuffled, categories)
    if mix == "even":
        # The k-th of a category of n stands at (k + chance) / n of the pass.
        places = {name: generator.random() for name in sorted(members)}
        keyed = [
            ((k + places[name]) / len(those), name, index)
            for name, those in members.items()
            for k, index in enumerate(those)
        ]
        return [index for _, _, index in sorted(keyed)]
    full: list[list[int]] = []
    rest: list[int] = []
    for _, those in sorted(members.items()):
        whole = len(those) // batch * batch
        full += [those[first : first + batch] for first in range(0, whole, batch)]
        rest += those[whole:]
    return [index for at in generator.permutation(len(full)) for index in full[at]] + rest


def _members(indices: Sequence[int] | range, categories: Sequence[str]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        members[categories[index]].append(index)
    return members


def _generator(seed: int, *words: int | str) -> np.random.Generator:
    numbers = [
        word if isinstance(word, int) else int.from_bytes(word.encode()[:64].ljust(64, b"\0"), "big") for word in words
    ]
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence([seed, *numbers])))
