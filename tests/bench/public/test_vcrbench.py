"""VCRBench: rows, figures against values worked out by hand, and the official reader of orders."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.public.scored import figures, load, rows_of
from videossr.bench.public.base import BadRow
from videossr.bench.public.reasoning.vcrbench import first_permutation


def test_orders_count_from_one(tmp_path: Path) -> None:
    rows = rows_of("vcrbench", tmp_path)
    assert [(row.id, row.answer) for row in rows] == [("1", "3,1,2"), ("2", "1,2,4,3"), ("3", "2,3,1")]
    assert {row.template for row in rows} == {"order"}
    assert (rows[0].question, rows[0].category) == ("Mend a Sock", "Mend a Sock")
    (bad,) = (row for row in load("vcrbench", tmp_path) if isinstance(row, BadRow))
    assert "order" in bad.error


def test_figures_count_orders_and_places(tmp_path: Path) -> None:
    rows = rows_of("vcrbench", tmp_path)
    found = figures("vcrbench", rows, {"1": "Correct order: 3, 1, 2", "2": "Clip 1, clip 2, clip 3, clip 4", "3": "?"})
    # Of ten clips, three and two are in their place.
    assert list(found)[:2] == ["accuracy", "step accuracy"]
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["step accuracy"] == pytest.approx(5 / 10)
    assert found["mean of goals: accuracy"] == pytest.approx((0.5 + 0) / 2)
    assert (found["3 clips: accuracy"], found["4 clips: accuracy"]) == (0.5, 0)
    assert (found["Mend a Sock: accuracy"], found["Plant a Bulb: accuracy"]) == (0.5, 0)


def test_official_rule_counts_the_first_list(tmp_path: Path) -> None:
    rows = rows_of("vcrbench", tmp_path)
    answers = {
        "1": "First clip 1, then clip 2, then clip 3.\nCorrect order: 3, 1, 2",
        "2": "**1, 2, 4, 3**",
        "3": "2->3->1",
    }
    ours = figures("vcrbench", rows, answers)
    official = figures("vcrbench", rows, answers, "official")
    assert (ours["accuracy"], ours["step accuracy"]) == pytest.approx((1, 1))
    # 1,2,3 has no clip in the place that 3,1,2 gives it, and the arrows are not read.
    assert (official["accuracy"], official["step accuracy"]) == pytest.approx((1 / 3, 4 / 10))


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("Correct order: 3, 1, 2", (3, 1, 2)),
        ("I think. Step 2, well, step 1, step 3!", (2, 1, 3)),
        ("231", None),
        ("2 -> 3 -> 1", None),
        ("The 3 clips, in order: 2, 3, 1", None),
        ("1, 1, 2\n*2*, 1, 3", (2, 1, 3)),
        ("1, 2", None),
        ("", None),
    ],
)
def test_official_reader(text: str, order: tuple[int, ...] | None) -> None:
    assert first_permutation(text, 3) == order
