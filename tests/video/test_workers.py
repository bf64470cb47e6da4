"""Jobs in worker processes, one of which dies."""

from __future__ import annotations

import os

from videossr.video.workers import DIED, spread


def half_or_die(number: int) -> float:
    if number == 7:
        os._exit(3)
    return number / 2


def test_a_job_that_kills_its_worker_costs_nobody_else() -> None:
    results = dict(spread(half_or_die, {str(number): (number,) for number in range(12)}, 2))
    assert results == {str(number): DIED if number == 7 else number / 2 for number in range(12)}
