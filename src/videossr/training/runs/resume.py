"""Stop a run without loss, and decide whether the run in a folder may be resumed.

A run that is asked to stop finishes its step and writes a checkpoint. The same command later claims the folder, checks
that it asks for the same run, and goes on from that checkpoint. `videossr.training.session` calls all of this.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from videossr.errors import OutputError
from videossr.storage.paths import staging_dir, write_text
from videossr.training.batching import RunLength, run_length
from videossr.training.checkpoints.checkpoint import latest, remove_partial, step_of
from videossr.training.config import TrainConfig, as_table, flatten
from videossr.training.runs.records import CONFIG, MANIFEST, read_train_run

FREE = (
    "data.path",
    "data.corpus",
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
"""Settings that may change when a run resumes: where files lie, how the same is computed, and what is logged."""

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
    with ExitStack() as stack:
        begun = (folder / CONFIG).exists()
        fresh = not folder.exists()
        staging = stack.enter_context(staging_dir(folder, {"verb": "train"}, ours=begun))
        if not begun:
            stack.callback(_clear_unbegun, folder, staging, fresh)
            yield False
            return
        remove_partial(folder)
        yield is_same(folder, config, length, questions) and (folder / MANIFEST).exists()


def begin_run(folder: Path, config: TrainConfig) -> None:
    """Write the configuration, which makes the folder that of a run. Called once the model is loaded and checked."""
    if not (folder / CONFIG).exists():
        write_text(folder / CONFIG, tomli_w.dumps(as_table(config)))


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
    saved = flatten(run.config)
    asked = flatten(config)
    different = [
        name for name in {**saved, **asked} if not name.startswith(FREE) and saved.get(name) != asked.get(name)
    ]
    only_length = LENGTH.issuperset(different)
    if only_length and run_length(run.config.run, run.config.batches_per_step, questions) == length:
        return True
    if only_length and config.optim.schedule == "constant":
        checkpoint = latest(folder)
        made = step_of(checkpoint) if checkpoint else 0
        before = next((step.batches for step in run.steps if step.step == made - 1), 0)
        if made > length.steps or (made and before >= length.batches):
            raise OutputError(f"{folder} holds a run that has made {made} steps, more than are asked for now")
        return False
    differences = [
        f"{name} is {saved.get(name, 'not set')!s:.80} there, {asked.get(name, 'not set')!s:.80} here"
        for name in different
    ]
    why = f" The rate is {config.optim.schedule}: it depends on them." if only_length else ""
    raise OutputError(
        f"{folder} holds a run that was asked otherwise: {'; '.join(differences)}.{why} Choose another --out"
    )


def take_length(folder: Path, config: TrainConfig, length: RunLength, questions: int) -> None:
    """Give the run in a folder the length that is asked for now, even if it was complete."""
    saved = read_train_run(folder).config
    if run_length(saved.run, saved.batches_per_step, questions) != length:
        (folder / MANIFEST).unlink(missing_ok=True)
        write_text(folder / CONFIG, tomli_w.dumps(as_table(config)))


def _clear_unbegun(folder: Path, staging: Path, fresh: bool) -> None:
    """Remove what was made in the folder of a run that has not begun, and the folder if it is `fresh` and empty."""
    if (folder / CONFIG).exists():
        return
    shutil.rmtree(staging)
    if fresh and not any(folder.iterdir()):
        folder.rmdir()


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
