"""Order: a permutation of the digits 1..n, n <= 9, such as `341562`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from videossr.answers.base import AnswerType, EntryForm, ExpectedScore, Guess
from videossr.answers.checks import LEAST, Check, GoldAnswer, judge
from videossr.answers.panel import Drawing, GivenAnswer, GivenAnswers, Heatmap, Histogram, Panel
from videossr.clock import Clock
from videossr.question import Question
from videossr.rewards import Scorer, parse_order, score_order


@dataclass(frozen=True)
class OrderDistribution:
    """Every order of the pieces is as probable; the identity 1..n is never drawn unless `identity` says that it is.

    A uniform guess may be the identity. The best constant is the reverse one: all others are as good in the metric, and
    it shares nothing with the order that is never drawn.
    """

    pieces: int
    identity: bool = False

    def text(self, guess: Guess, rng: np.random.Generator, clock: Clock) -> str:
        """Guess an answer, see `AnswerDistribution.text`."""
        order = list(range(1, self.pieces + 1))
        if guess in ("constant", "smooth"):
            return "".join(map(str, reversed(order)))
        while True:
            drawn = rng.permutation(order).tolist()
            if guess == "uniform" or self.identity or drawn != order:
                return "".join(map(str, drawn))

    def expected_score(self, guess: Guess) -> ExpectedScore:
        """Compute it in closed form: a digit is (n*n - 1) / 3n places apart in two random orders, and there are n."""
        n, count = self.pieces, math.factorial(self.pieces)
        mean = 1 - (n * n - 1) / 3 / (n * n // 2)
        if guess == "uniform" or self.identity:
            return ExpectedScore(1 / count, mean)
        if guess == "prior":  # of all pairs, without those in which either is the identity
            return ExpectedScore(1 / (count - 1), (count * count * mean - 2 * count * mean + 1) / (count - 1) ** 2)
        return ExpectedScore(1 / (count - 1), count * mean / (count - 1))

    def checks(self, golds: Sequence[GoldAnswer]) -> Iterator[Check]:
        """Test that every piece is at every position equally often, as far as the identity is left out."""
        n = self.pieces
        placed = np.zeros((n, n))
        for gold in golds:
            placed[[int(digit) - 1 for digit in gold.answer], np.arange(n)] += 1
        stays = 1 / n if self.identity else (math.factorial(n - 1) - 1) / (math.factorial(n) - 1)
        expected = np.where(np.eye(n, dtype=bool), stays, (1 - stays) / (n - 1)) * len(golds)
        if len(golds) < LEAST * n:
            yield Check("distribution of permutations", None, f"{len(golds)} samples are too few to test")
            return
        # Rows and columns of a sum of permutation matrices are bound, which leaves (n - 1)^2 degrees of freedom.
        statistic = float((n - 1) / n * ((placed - expected) ** 2 / expected).sum())
        yield judge("distribution of permutations", statistic, (n - 1) ** 2)


@dataclass(frozen=True, slots=True)
class Displacement:
    """Where pieces were put against where they belong.

    Attributes:
        matrix: for each true place, how often a piece of it was put at each place.
        steps: how many pieces were put 1 - n ... n - 1 places behind their own.
        none: answers that are no order.
    """

    matrix: tuple[tuple[int, ...], ...]
    steps: tuple[int, ...]
    none: int


@dataclass(frozen=True)
class Order(AnswerType):
    """An order. Smooth: how near each digit is to its place (paper, equation 8); strict and metric: all in place."""

    name: str = "order"
    score: Scorer = score_order
    slots: int | None = 3

    def parse(self, text: str, gold: str) -> tuple[int, ...] | None:
        """Read a permutation of as many digits as `gold` has."""
        return parse_order(text, len(gold.strip()))

    def distribution(self, questions: Sequence[Question]) -> OrderDistribution:
        """Assume that all orders are as probable; the identity counts where one of the answers is it."""
        first = questions[0].answer.strip()
        return OrderDistribution(len(first), "".join(sorted(first)) in [question.answer for question in questions])

    def form(self, gold: str) -> EntryForm:
        """Return a form with a digit for each piece."""
        return EntryForm("order", len(gold.strip()))

    def displacement(self, answers: GivenAnswers) -> Displacement:
        """Count where pieces were put; the matrix has the size of the longest order of the category."""
        n = max((len(answer.gold.strip()) for answer in answers.asked), default=0)
        matrix = np.zeros((n, n), int)
        steps = np.zeros(max(0, 2 * n - 1), int)
        none = 0
        for answer in answers.known:
            gold = [int(digit) for digit in answer.gold.strip()]
            for text in answer.texts:
                order = self.parse(text, answer.gold)
                if order is None:
                    none += 1
                    continue
                place_of = {piece: place for place, piece in enumerate(order)}
                for true, piece in enumerate(gold):
                    matrix[true, place_of[piece]] += 1
                    steps[place_of[piece] - true + n - 1] += 1
        return Displacement(
            tuple(tuple(int(count) for count in row) for row in matrix), tuple(int(count) for count in steps), none
        )

    def panel(self, answers: GivenAnswers) -> Panel:
        """Show how far pieces are from their places, and a table of true and answered places."""
        found = self.displacement(answers)
        n = len(found.matrix)
        places = tuple(str(place + 1) for place in range(n))
        heatmap = Heatmap(
            counts=found.matrix,
            rows=places,
            columns=places,
            right=tuple(range(n)),
            across="where it was put",
            down="true place",
            note=f"{found.none} answers are no order",
        )
        return Panel(
            lead="Where the pieces were put against where they belong: 0 is right, −1 one place too early.",  # noqa: RUF001
            data=found,
            noun="pieces",
            histogram=Histogram(
                title="Displacement of the pieces",
                names=tuple(f"{step:+d}" if step else "0" for step in range(1 - n, n)),
                counts=found.steps,
                xlabel="places behind its own",
                ylabel="pieces, %",
            ),
            heatmaps=(heatmap,) if found.matrix else (),
        )

    def draw(self, text: str, question: GivenAnswer) -> Drawing:
        """Tell for each clip the place at which it was put."""
        order = self.parse(text, question.gold) or ()
        return Drawing(places=tuple(order.index(clip) + 1 for clip in range(1, len(order) + 1)))


ORDER = Order()
