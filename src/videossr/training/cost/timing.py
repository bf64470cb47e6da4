"""Measure where the seconds of a step go.

Exercised by `videossr train CONFIG --out RUN`, whose steps tell them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from videossr.engine.model import VisionTower, as_module


class PhaseTimer:
    """Sum up seconds by phase. Inside another phase, a phase takes its time away from that one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._phases: list[str] = []
        self._since = time.perf_counter()
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Count the time of a block to a phase."""
        self.begin(phase)
        try:
            yield
        finally:
            self.end()

    def begin(self, phase: str) -> None:
        """Begin a phase; for hooks, which have no block."""
        self._turn()
        self._phases.append(phase)

    def end(self) -> None:
        """End the phase that began last."""
        self._turn()
        self._phases.pop()

    def read(self) -> dict[str, float]:
        """Return the seconds of each phase since the last call."""
        self._turn()
        seconds, self._seconds = dict(self._seconds), defaultdict(float)
        return seconds

    def vision(self, tower: VisionTower) -> None:
        """Count every forward pass of the vision tower to the phase `vision`."""
        module = as_module(tower)
        module.register_forward_pre_hook(lambda *_: self.begin("vision"))
        module.register_forward_hook(lambda *_: self.end(), always_call=True)

    def _turn(self) -> None:
        """Count the time since the last change of phase."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # it works behind our back
        now = time.perf_counter()
        if self._phases:
            self._seconds[self._phases[-1]] += now - self._since
        self._since = now
