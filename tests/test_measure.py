"""Measures of gates: the first failure, alternative gates, and rounding that never changes a decision."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videossr.measure import Measure, measured, rejected, weakest
from videossr.sample import Rejection


def either(gate: str, value: float, threshold: float = 1) -> Measure:
    return Measure(gate, value, threshold, setting=f"limits.{gate}", either="seen")


def test_rejected_gives_the_first_failure_and_computes_no_further_measure() -> None:
    def gates() -> Iterator[Measure]:
        yield Measure("too_brief", 0.5, 0.2)
        yield Measure("still", 1, 5, setting="motion")
        raise AssertionError

    assert rejected(gates()) == Rejection("still", 1, 5)
    assert rejected([Measure("still", 5, 5), Measure("shaken", 5, 5, least=False)]) is None
    assert rejected([]) is None


def test_rejected_needs_one_of_several_alternative_gates() -> None:
    dark, dull = [either("dark", 0.1), either("dark", 3)], [either("dull", 0.5), either("dull", 0.4)]
    assert rejected([*dark, *dull]) == Rejection("dull", 0.4, 1)
    assert rejected([*dark, either("dull", 1)]) is None
    assert rejected([either("dark", 1), *dull]) is None
    assert rejected([either("dark", 1), *dull, Measure("still", 0, 1)]) == Rejection("still", 0, 1)


def test_measured_goes_on_after_a_failure_with_a_setting() -> None:
    still, small, last = Measure("still", 0, 1, setting="motion"), Measure("small", 0, 1), Measure("last", 1, 1)
    assert measured([still, last]) == [still, last]
    assert measured([still, small, last]) == [still, small]
    assert measured([either("dark", 0), last]) == [either("dark", 0), last]


def test_weakest_is_taken_over_the_best_alternative() -> None:
    measures = [Measure("still", 8, 2), either("dark", 3), either("dull", 0.2), Measure("cut", 2, 8, least=False)]
    assert weakest(measures) == either("dark", 3)
    assert weakest([]) is None


@pytest.mark.parametrize("least", [True, False])
@given(st.floats(0, 1e6), st.integers(0, 10**6), st.integers(0, 6))
def test_measure_rounding_never_changes_passed(least: bool, value: float, digits: int, places: int) -> None:
    threshold = digits / 10**places
    assert Measure("any", value, threshold, least).passed == (value >= threshold if least else value <= threshold)
    stored = Measure("any", value, 1, least).value
    assert stored <= value if least else stored >= value
    assert math.isclose(stored, value, rel_tol=1e-5)
    assert Measure("any", stored, 1, least).value == stored


def test_measure_refuses_nan() -> None:
    with pytest.raises(ValueError, match="gate still: measured nan"):
        Measure("still", math.nan, 1)
    assert Measure("still", math.inf, 1).passed
