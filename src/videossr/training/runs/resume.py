"""Stop a run without loss, and decide whether the run in a folder may be resumed.

A run that is asked to stop finishes its step and writes a checkpoint. The same command later claims the folder, checks
that it asks for the same run, and goes on from that checkpoint. `videossr.training.session` calls all of this.
"""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from videossr.config import changes, flatten, plain
from videossr.errors import OutputError
from videossr.storage.output_dir import OutputDir
from videossr.storage.paths import write_text
from videossr.training.batching import RunLength, run_length
from videossr.training.checkpoints.checkpoint import latest, remove_partial, step_of
from videossr.training.config import TrainConfig
from videossr.training.runs.records import CONFIG, MANIFEST, read_train_run

FREE = (
    "data.threads",
    "data.ahead_mb",
    "run.sharding",
    "run.recompute",
    "run.decode_groups",
    "run.rows",
    "run.device",
    "run.memory_gib",
    "run.peak_tflops",
    "log.",
)
"""Settings that may change when a run resumes: how the same is computed, and what is logged."""

PLACES = re.compile(r"data\.(sets\.[^.]+\.)?(path|corpus|anywhere)")
"""Settings that may change too: where files lie. The hash of the questions must be the same."""

LENGTH = {"run.steps", "run.epochs"}
"""Settings that may change too where the learning rate is constant: the run ends sooner or later, no step differs."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def claim_run(folder: Path, config: TrainConfig, length: RunLength, questions: int) -> Iterator[bool]:
    """Lock the folder of a run; yield whether the run in it is complete already.

    Where an error comes before the run has begun (see `begin_run`), nothing is left that was not there before.

    Args:
        folder: of the run; made where it is missing.
        config: what is asked for now.
        length: of the run that is asked for now.
        questions: how many questions the run is trained on.

    Raises:
        OutputError: the folder holds something else, or a run that was asked for otherwise.
    """
    begun = (folder / CONFIG).exists()
    with _run_dir(folder).open(reopen=begun):
        if not begun:
            yield False
            return
        remove_partial(folder)
        yield is_same(folder, config, length, questions) and (folder / MANIFEST).exists()


def begin_run(folder: Path, config: TrainConfig) -> None:
    """Write the configuration, which makes the folder that of a run. Called once the model is loaded and checked."""
    if not (folder / CONFIG).exists():
        write_text(folder / CONFIG, tomli_w.dumps(plain(config)))


def is_same(folder: Path, config: TrainConfig, length: RunLength, questions: int) -> bool:
    """Tell whether the run in a folder is the one that is asked for; False where only its length differs, and may.

    Args:
        folder: of a run that has begun.
        config: what is asked for now.
        length: of the run that is asked for now.
        questions: how many questions the run is trained on.

    Raises:
        OutputError: other settings differ, or the length does and may not.
    """
    run = read_train_run(folder)
    recorded = _decisive(run.config)
    wanted = _decisive(config)
    different = {name for name in {**recorded, **wanted} if recorded.get(name) != wanted.get(name)}
    only_length = LENGTH.issuperset(different)
    if only_length and run_length(run.config.run, run.config.batches_per_step, questions) == length:
        return True
    if not only_length or config.optim.schedule != "constant":
        differences = changes(recorded, wanted)
        if only_length:
            differences.append(f"the rate is {config.optim.schedule}, which depends on them")
        _run_dir(folder).refuse_differences(differences)
    checkpoint = latest(folder)
    made = step_of(checkpoint) if checkpoint else 0
    before = next((step.batches for step in run.steps if step.step == made - 1), 0)
    if made > length.steps or (made and before >= length.batches):
        raise OutputError(f"{folder} holds a run that has made {made} steps, more than are asked for now")
    return False


def _decisive(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that must be the same for a run to go on, by dotted names."""
    return {
        name: value
        for name, value in flatten(plain(config)).items()
        if not name.startswith(FREE) and not PLACES.fullmatch(name)
    }


def _run_dir(folder: Path) -> OutputDir:
    """Return the output folder of a training run."""
    return OutputDir(folder, "train", "run")


def take_length(folder: Path, config: TrainConfig, length: RunLength, questions: int) -> None:
    """Give the run in a folder the length that is asked for now, even if it was complete."""
    saved = read_train_run(folder).config
    if run_length(saved.run, saved.batches_per_step, questions) != length:
        (folder / MANIFEST).unlink(missing_ok=True)
        write_text(folder / CONFIG, tomli_w.dumps(plain(config)))


@dataclass(slots=True)
class StopRequest:
    """Hold whether this process was asked to stop."""

    asked: bool = False


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Turn the first Ctrl-C or SIGTERM into a request to stop after the step; a second one stops at once."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield stop
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def ask(*_event: object) -> None:
        stop.asked = True
        restore()

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        restore()
