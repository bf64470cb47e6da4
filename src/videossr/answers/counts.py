"""Counts: how many there are of each of several things, such as `3,1,4`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

import numpy as np

from videossr.answers.base import AnswerType, EntryForm, ExpectedScore, Guess, normalize
from videossr.answers.checks import Check, GoldAnswer, chi_square
from videossr.answers.panel import GivenAnswers, Heatmap, Mean, Panel
from videossr.clock import Clock
from videossr.question import Question
from videossr.rewards import Scorer, Scores, count_closeness, parse_counts, score_counts


def count_distribution(slots_max: int, instances_max: int) -> dict[int, float]:
    """Return the probability of each total of a shape: 1..slots_max slots with 1..instances_max instances, uniform.

    >>> max(count_distribution(3, 3).values())  # the best constant answer, paper's easy setting
    0.19753086419753085
    """
    one = np.full(instances_max, 1 / instances_max)
    probabilities = np.zeros(slots_max * instances_max + 1)
    total = np.ones(1)
    for slots in range(1, slots_max + 1):
        total = np.convolve(total, one)
        probabilities[slots : slots + len(total)] += total / slots_max
    return {count: float(probabilities[count]) for count in range(1, len(probabilities))}


@dataclass(frozen=True)
class CountDistribution:
    """Each of the counts has the same distribution; a uniform guess takes any from 1 to the most.

    Attributes:
        parts: how many counts an answer has.
        totals: the probability of each count.
        names: what is counted, one name for each part; their numbers where there are none.
    """

    parts: int
    totals: Mapping[int, float]
    names: tuple[str, ...] = ()

    @cached_property
    def _guesses(self) -> dict[Guess, dict[int, float]]:
        """For each guess, how probable it makes each count."""
        most = max(1, *self.totals)
        common = max(self.totals, key=lambda count: (self.totals[count], -count))
        closest = max(range(1, most + 1), key=lambda count: (self._expected_score({count: 1.0}).smooth, -count))
        uniform = dict.fromkeys(range(1, most + 1), 1 / most)
        return {"uniform": uniform, "prior": dict(self.totals), "constant": {common: 1.0}, "smooth": {closest: 1.0}}

    def _expected_score(self, probabilities: Mapping[int, float]) -> ExpectedScore:
        pairs = [(p * q, mine, true) for mine, p in probabilities.items() for true, q in self.totals.items()]
        return ExpectedScore(
            math.fsum(weight for weight, mine, true in pairs if mine == true),
            math.fsum(weight * count_closeness(mine, true) for weight, mine, true in pairs),
        )

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        """Guess an answer, see `AnswerDistribution.text`."""
        probabilities = self._guesses[guess]
        return ",".join(map(str, rng.choice(list(probabilities), size=self.parts, p=normalize(probabilities.values()))))

    def expected_score(self, guess: Guess) -> ExpectedScore:
        """Compute what a guess scores, see `AnswerDistribution.expected_score`."""
        return self._expected_score(self._guesses[guess])

    def checks(self, golds: Sequence[GoldAnswer]) -> Iterator[Check]:
        """Test each of the counts by itself."""
        for part, name in enumerate(self.names or map(str, range(1, self.parts + 1))):
            counts = Counter(int(gold.answer.split(",")[part]) for gold in golds)
            yield chi_square(f"distribution of counts, {name}", counts, self.totals)


@dataclass(frozen=True, slots=True)
class Confusion:
    """A confusion table of one part: how often each count was said for each gold count.

    Attributes:
        golds: the gold counts, the rows.
        table: for each row, how often 0, 1, ... `most` was said, then more than that, then no counts at all.
        exact: share of right counts.
        bias: mean of said less gold count, over what was said, where more than twice `most` counts as that.
    """

    golds: tuple[int, ...]
    most: int
    table: tuple[tuple[int, ...], ...]
    exact: float
    bias: Mean | None


@dataclass(frozen=True)
class Counts(AnswerType):
    """Several counts. Smooth: their mean closeness (paper, equation 7); strict: all right; metric: share of right ones.

    Attributes:
        names: what is counted, in the plural and in the order of the answer; used where an answer has as many parts.
    """

    name: str = "counts"
    score: Scorer = score_counts
    metric: str = "per_shape"
    slots: int | None = 24
    names: tuple[str, ...] = ()

    def parse(self, text: str, gold: str) -> tuple[int, ...] | None:
        """Read as many counts as `gold` has."""
        return parse_counts(text, gold.count(",") + 1)

    def value(self, scores: Scores) -> float:
        """Compute the share of the parts that are right."""
        return fmean(scores.parts) if scores.parts else scores.strict

    def describe(self, scores: Sequence[Scores]) -> str:
        """Write the means, also that of each part on its own."""
        return f"{super().describe(scores)}, each shape {fmean(map(self.value, scores)):.3f}"

    def distribution(self, questions: Sequence[Question]) -> CountDistribution:
        """Count how often each number occurs, whichever part it is of."""
        counts = Counter(int(count) for question in questions for count in question.answer.split(","))
        totals = {count: number / counts.total() for count, number in sorted(counts.items())}
        return CountDistribution(len(questions[0].answer.split(",")), totals)

    def form(self, gold: str) -> EntryForm:
        """Return a form with a number for each part."""
        return EntryForm("counts", gold.count(",") + 1)

    def confusions(self, answers: GivenAnswers) -> list[Confusion]:
        """Tabulate said against gold counts, for each part in the order of the answer."""
        asked = answers.known
        golds = [[int(part) for part in answer.gold.split(",")] for answer in asked]
        parsed = [[self.parse(text, answer.gold) for text in answer.texts] for answer in asked]
        found = []
        for part in range(min(map(len, golds), default=0)):
            most = max(gold[part] for gold in golds)
            tally: Counter[tuple[int, int]] = Counter()
            biases: dict[int, float] = {}
            for answer, gold, texts in zip(asked, golds, parsed, strict=True):
                counts = [min(parsed[part], 2 * most) for parsed in texts if parsed]
                tally.update((gold[part], min(count, most + 1)) for count in counts)
                tally[gold[part], most + 2] += len(texts) - len(counts)
                if counts:
                    biases[answer.index] = fmean(counts) - gold[part]
            rows = tuple(sorted({gold[part] for gold in golds}))
            table = tuple(tuple(tally[gold, count] for count in range(most + 3)) for gold in rows)
            exact = sum(tally[gold, gold] for gold in rows) / tally.total()
            found.append(Confusion(rows, most, table, exact, answers.means([biases])[0]))
        return found

    def panel(self, answers: GivenAnswers) -> Panel:
        """Show a table of said against gold counts for each part."""
        found = self.confusions(answers)
        names = self.names if len(found) == len(self.names) else [f"count {part + 1}" for part in range(len(found))]
        return Panel(
            lead="How often each count was said (across) for each gold count (down). Shades are shares of a row; "
            "framed cells are right.",
            data=found,
            heatmaps=tuple(_heatmap(name, confusion) for name, confusion in zip(names, found, strict=True)),
        )


def _heatmap(name: str, confusion: Confusion) -> Heatmap:
    bias = "" if confusion.bias is None else f", said minus gold {confusion.bias.value:+.2f}"
    return Heatmap(
        counts=confusion.table,
        rows=tuple(map(str, confusion.golds)),
        columns=(*map(str, range(confusion.most + 1)), f">{confusion.most}", "none"),
        right=confusion.golds,
        across="said",
        down="gold",
        title=name,
        note=f"right {100 * confusion.exact:.1f} %{bias}",
    )


COUNTS = Counts()
