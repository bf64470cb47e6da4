"""Watch a training run: the observer that `train` reports to, and the experiment trackers that accelerate knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import accelerate
from accelerate.tracking import get_available_trackers

from videossr.errors import MissingExtraError
from videossr.training.config import LogConfig
from videossr.training.runs.records import Step


class RunObserver(Protocol):
    """Receive the progress of a training run, in its first process. `SilentObserver` is one to derive from."""

    def on_step(self, step: Step, total: int) -> None:
        """Receive the figures of a finished step, and how many steps the run has."""

    def on_group(self, done: int, total: int) -> None:
        """Receive how many groups of the current step this process has learned from, and how many it has in all."""

    def on_message(self, text: str) -> None:
        """Receive a sentence for the user."""


class SilentObserver:
    """Ignore all progress."""

    def on_step(self, step: Step, total: int) -> None:
        """Ignore a finished step."""

    def on_group(self, done: int, total: int) -> None:
        """Ignore the progress within a step."""

    def on_message(self, text: str) -> None:
        """Ignore a sentence for the user."""


def check_trackers(log: LogConfig) -> None:
    """Raise MissingExtraError for a tracker that is not installed; accelerate would silently leave it out."""
    installed = sorted(tracker.value for tracker in get_available_trackers())
    if missing := sorted(set(log.trackers) - set(installed)):
        raise MissingExtraError(
            f"log.trackers: {missing[0]} is not installed. Installed: {', '.join(installed) or 'none'}"
        )


@contextmanager
def tracking(
    log: LogConfig, folder: Path, settings: Mapping[str, object], *, cpu: bool
) -> Iterator[Callable[[Mapping[str, float], int], None]]:
    """Start the trackers of a run; yield a function that hands them the figures of a step, and its number.

    Args:
        log: names the trackers and the project.
        folder: of the run, into which trackers write.
        settings: of the run by dotted names, shown beside its figures.
        cpu: the run uses the CPU even where there is an accelerator.
    """
    if not log.trackers:
        yield lambda values, step: None
        return
    accelerator = accelerate.Accelerator(cpu=cpu, log_with=list(log.trackers), project_dir=str(folder))
    accelerator.init_trackers(log.project, config={name: str(value) for name, value in settings.items()})
    try:
        yield lambda values, step: accelerator.log(dict(values), step)
    finally:
        for tracker in accelerator.trackers:  # `end_training` would end the process group of torch as well
            tracker.finish()
