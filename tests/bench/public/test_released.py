"""The rule `released` of the grounding benchmarks, by what the paper's script reads."""

from __future__ import annotations

import pytest

from videossr.bench.public.base import BENCHMARKS
from videossr.bench.public.grounding.gold import RELEASED, first_dashed
from videossr.bench.public.scoring import rules_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("24 - 30", 1.0),
        ("30-24", 1.0),
        ("from 24 - 27 or so", 0.5),
        ("24s - 30s", None),
        ("from 24 to 30", None),
        ("24 \u2013 30", None),
        ("00:24 - 00:30", 0.0),
        ("40 - 50, 24 - 30", 0.0),
        ("", None),
    ],
)
def test_released_rule_reads_the_first_pair_with_a_hyphen(text: str, value: float | None) -> None:
    assert first_dashed(text, "24-30, 0-10") == value


def test_the_four_grounding_benchmarks_of_the_paper_have_the_rule() -> None:
    names = [name for name in BENCHMARKS.names() if "released" in rules_of(BENCHMARKS.get(name)())]
    assert names == ["activitynet", "charades", "qvhighlights", "tacos"]
    assert not RELEASED.counts_unread
