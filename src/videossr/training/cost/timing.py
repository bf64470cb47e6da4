"""Measure where the seconds of a step go.

Exercised by `videossr train CONFIG --out RUN`, whose steps tell them.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch

from videossr.engine.model import VisionTower, as_module


class PhaseTimer:
    """Sum up seconds by phase. Inside another phase, a phase takes its time away from that one.

    On a GPU, times are events in its queue, so that the program does not wait for the GPU between phases.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._phases: list[str] = []
        self._changes = [("", self._now())]

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
        self._change()
        self._phases.append(phase)

    def end(self) -> None:
        """End the phase that began last."""
        self._change()
        self._phases.pop()

    def read(self) -> dict[str, float]:
        """Return the seconds of each phase since the last call. Waits for a GPU."""
        self._change()
        seconds: dict[str, float] = defaultdict(float)
        for (_, begin), (phase, end) in pairwise(self._changes):
            if phase:
                seconds[phase] += _seconds_between(begin, end)
        self._changes = self._changes[-1:]
        return dict(seconds)

    def vision(self, tower: VisionTower) -> None:
        """Count every forward pass of the vision tower to the phase `vision`."""
        module = as_module(tower)
        module.register_forward_pre_hook(lambda *_: self.begin("vision"))
        module.register_forward_hook(lambda *_: self.end(), always_call=True)

    def _change(self) -> None:
        """Note the phase that ends now; no phase has an empty name."""
        self._changes.append((self._phases[-1] if self._phases else "", self._now()))

    def _now(self) -> float | torch.cuda.Event:
        """Return the time in seconds, or an event that a GPU reaches when it has done what it was given so far."""
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


def _seconds_between(begin: float | torch.cuda.Event, end: float | torch.cuda.Event) -> float:
    """Return the seconds from one time to a later one."""
    if isinstance(begin, torch.cuda.Event):
        assert isinstance(end, torch.cuda.Event)
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000
    assert isinstance(end, float)
    return end - begin
