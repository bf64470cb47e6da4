"""Decide whether the run in a folder may be resumed.

The same command claims the folder, checks that it asks for the same run, and goes on from its last checkpoint.
`videossr.training.session` calls all of this.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tomli_w

from videossr.config import changes, plain
from videossr.errors import OutputError
from videossr.storage.output_dir import OutputDir
from videossr.storage.paths import write_text
from videossr.training.batching import RunLength, run_length
from videossr.training.checkpoints.checkpoint import latest, remove_partial, step_of
from videossr.training.config import TrainConfig
from videossr.training.runs.comparison import LENGTH, decisive
from videossr.training.runs.records import CONFIG, MANIFEST, read_train_run


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
    recorded = decisive(run.config)
    wanted = decisive(config)
    different = {name for name in {**recorded, **wanted} if recorded.get(name) != wanted.get(name)}
    only_length = LENGTH.issuperset(different)
    if only_length and run_length(run.config.run, run.config.batches_per_step, questions) == length:
        return True
    if not only_length or config.optim.schedule != "constant":
        allowed = LENGTH if config.optim.schedule == "constant" else set()
        old, new = (
            {name: value for name, value in table.items() if name not in allowed} for table in (recorded, wanted)
        )
        differences = changes(old, new)
        if only_length:
            differences.append(f"the rate is {config.optim.schedule}, which depends on them")
        _run_dir(folder).refuse_differences(differences)
    checkpoint = latest(folder)
    made = step_of(checkpoint) if checkpoint else 0
    before = next((step.batches or 0 for step in run.steps if step.step == made - 1), 0)
    if made > length.steps or (made and before >= length.batches):
        raise OutputError(f"{folder} holds a run that has made {made} steps, more than are asked for now")
    return False


def _run_dir(folder: Path) -> OutputDir:
    """Return the output folder of a training run."""
    return OutputDir(folder, "train", "run")


def take_length(folder: Path, config: TrainConfig, length: RunLength, questions: int) -> None:
    """Give the run in a folder the length that is asked for now, even if it was complete."""
    saved = read_train_run(folder).config
    if run_length(saved.run, saved.batches_per_step, questions) != length:
        (folder / MANIFEST).unlink(missing_ok=True)
        write_text(folder / CONFIG, tomli_w.dumps(plain(config)))
