"""VCRBench (Sarkar and Etemad, 2025): put the shuffled clips of a task, such as making tea, in the right order.

It has nothing to do with VCR-Bench, which is about chains of thought.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from videossr.bench.public.annotations import Data, Record
from videossr.bench.public.base import Benchmark, Facts, Footage, NoSettings, Row, Rule
from videossr.bench.public.figures import Figure, Marked, by_category, macro_figure, mean_figure, weighted_figure


def first_permutation(text: str, n: int) -> tuple[int, ...] | None:
    """Read an order as the official script does: the first sentence or line that lists 1..n counts.

    Each is split at commas, and of each part the first number counts. So `2 -> 3 -> 1` is no order, while
    `First clip 1, then clip 2.` is one, even if the right order follows.
    """
    for piece in re.split(r"(?<=[.!?])\s+|\n+", text.replace("*", "")):
        runs = [match[0] for part in piece.split(",") if (match := re.search(r"\d+", part))]
        if len(runs) == n and all(len(run) < 7 for run in runs):
            order = tuple(map(int, runs))
            if sorted(order) == list(range(1, n + 1)):
                return order
    return None


def first_permutation_exact(text: str, gold: str) -> float | None:
    """Tell whether the first order that a text lists is the gold one."""
    truth = _order(gold)
    order = first_permutation(text, len(truth))
    return None if order is None else float(order == truth)


def _order(gold: str) -> tuple[int, ...]:
    """Read a gold answer."""
    return tuple(map(int, gold.split(",")))


class VCRBench(Benchmark[NoSettings]):
    """VCRBench: each video is a row of clips with a numbered title before each."""

    facts = Facts(
        title="VCRBench",
        domain="reasoning",
        questions=365,
        videos=None,
        metric="accuracy",
        licence="MIT",
        source="https://huggingface.co/datasets/pritamqu/VCRBench",
        layout="data.json\nvideos/<video_file>",
        column="VCR",
        tokens=128,
    )
    rules: ClassVar[Mapping[str, Rule]] = {
        "official": Rule("The first sentence or line that lists all clips with commas counts.", first_permutation_exact)
    }
    fields = frozenset(["qid", "goal", "video_file", "ground_truth"])

    def records(self, data: Data, settings: NoSettings) -> Iterator[Record]:
        """Yield the rows."""
        yield from data.json_rows(data.find("data.json"))

    def row(self, record: Record, settings: NoSettings) -> Row:
        """Read a question; the published order counts from 0, and the titles from 1."""
        order = record.fields.get("ground_truth")
        if (
            not isinstance(order, list)
            or any(isinstance(clip, bool) or not isinstance(clip, int) for clip in order)
            or len(order) < 2
            or sorted(order) != list(range(len(order)))
        ):
            raise record.fault(f"ground_truth must be an order of 0, 1, …, got {order!r:.80}")
        goal = record.text("goal").strip()
        return Row(
            id=record.text("qid"),
            template="order",
            question=goal,
            answer=",".join(str(clip + 1) for clip in order),
            answer_type="sequence",
            footage=(Footage((f"videos/{record.text('video_file')}",)),),
            category=goal,
            groups={"clips": len(order)},
        )

    def figures(self, marked: Sequence[Marked], rule: str) -> Iterator[Figure]:
        """Average exact orders; then clips in their place, the mean of the goals, and each number of clips and goal."""
        yield mean_figure("accuracy", marked)

        def placed(mark: Marked) -> float:
            parts = _official_parts(mark) if rule == "official" else mark.parts
            return sum(parts) / len(_order(mark.answer))

        yield weighted_figure("step accuracy", marked, placed, lambda mark: len(_order(mark.answer)))
        yield macro_figure("accuracy", list(by_category(marked).values()), "mean of goals")
        for clips in sorted({len(_order(mark.answer)) for mark in marked}):
            yield mean_figure(
                "accuracy", [mark for mark in marked if len(_order(mark.answer)) == clips], f"{clips} clips"
            )
        yield from self.breakdown(marked)


def _official_parts(mark: Marked) -> tuple[float, ...]:
    """Compare the order that the official script reads with the gold one, clip by clip."""
    truth = _order(mark.answer)
    order = first_permutation(mark.text, len(truth)) or (0,) * len(truth)
    return tuple(float(mine == right) for mine, right in zip(order, truth, strict=True))
