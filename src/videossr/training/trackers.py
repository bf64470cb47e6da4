"""The figures of a run for those who watch many: whatever trackers accelerate knows.

Exercised by `videossr train CONFIG --log.trackers='["tensorboard"]' --out RUN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import accelerate
from accelerate.tracking import get_available_trackers

from videossr.config import flatten, plain
from videossr.errors import MissingExtraError
from videossr.training.config import TrainConfig


def check_trackers(config: TrainConfig) -> None:
    """Raises ValueError for a tracker that is not there: accelerate would leave it out without a word."""
    there = sorted(each.value for each in get_available_trackers())
    if missing := sorted(set(config.log.trackers) - set(there)):
        raise MissingExtraError(f"log.trackers: {missing[0]} is not installed. Installed: {', '.join(there) or 'none'}")


@contextmanager
def tracking(config: TrainConfig, folder: Path) -> Iterator[Callable[[Mapping[str, float], int], None]]:
    """What hands the figures of a step, and its number, to the trackers that are asked for."""
    if not config.log.trackers:
        yield lambda values, step: None
        return
    accelerator = accelerate.Accelerator(
        cpu=config.run.device == "cpu", log_with=list(config.log.trackers), project_dir=str(folder)
    )
    settings = {name: str(value) for name, value in flatten(plain(config)).items()}
    accelerator.init_trackers(config.log.project, config=settings)
    try:
        yield lambda values, step: accelerator.log(dict(values), step)
    finally:
        for tracker in accelerator.trackers:  # `end_training` would end the other processes' talk as well
            tracker.finish()
