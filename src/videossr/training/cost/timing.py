"""Where the seconds of a step go.

Exercised by `videossr train CONFIG --out RUN`, whose steps tell them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class PhaseTimer:
    """Seconds by phase. Inside another phase, a phase takes its time away from that one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._phases: list[str] = []
        self._since = time.perf_counter()
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """What happens inside belongs to this phase."""
        self.begin(phase)
        try:
            yield
        finally:
            self.end()

    def begin(self, phase: str) -> None:
        """The phase begins; for hooks, which have no inside."""
        self._turn()
        self._phases.append(phase)

    def end(self) -> None:
        """The phase that began last is over."""
        self._turn()
        self._phases.pop()

    def read(self) -> dict[str, float]:
        """All so far, and forgets it."""
        self._turn()
        seconds, self._seconds = dict(self._seconds), defaultdict(float)
        return seconds

    def vision(self, tower: torch.nn.Module) -> None:
        """From now on, what the tower computes forward has the phase `vision`."""
        tower.register_forward_pre_hook(lambda *_: self.begin("vision"))
        tower.register_forward_hook(lambda *_: self.end(), always_call=True)

    def _turn(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # it works behind our back
        now = time.perf_counter()
        if self._phases:
            self._seconds[self._phases[-1]] += now - self._since
        self._since = now
