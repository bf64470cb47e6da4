"""Code that does not end, or fills the memory, is stopped in its own process."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from videossr.runners.deadline import OverrunError, run_within

HERE = "tests.runners.test_deadline"


def reverse(items: Sequence[int]) -> list[int]:
    return [*reversed(items)]


def loop(_: object) -> None:
    while True:
        pass


def fill(size: int) -> int:
    return len(bytearray(size))


def fail(text: str) -> None:
    raise KeyError(text)


def test_what_a_function_returns_comes_back() -> None:
    assert run_within(60, f"{HERE}:reverse", [1, 2, 3]) == [3, 2, 1]
    assert run_within(60, f"{HERE}:fill", 1 << 20) == 1 << 20


def test_what_does_not_end_is_stopped() -> None:
    begun = time.monotonic()
    with pytest.raises(OverrunError, match="has not ended after 3 s"):
        run_within(3, f"{HERE}:loop", None)
    assert time.monotonic() - begun < 60


def test_what_wants_all_memory_is_stopped() -> None:
    with pytest.raises(OverrunError, match="wants more than 2 GiB"):
        run_within(60, f"{HERE}:fill", 1 << 40)


def test_another_error_is_quoted() -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'which'"):
        run_within(60, f"{HERE}:fail", "which")
