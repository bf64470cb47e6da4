"""Whether the run in a folder is the one that is asked for now, or the same but for its length.

Exercised by `videossr train CONFIG --out RUN`, where RUN is there already.
"""

from __future__ import annotations

from pathlib import Path

import tomli_w

from videossr.config import flatten, plain
from videossr.errors import OutputError
from videossr.storage.paths import write_text
from videossr.training.batching import steps_in
from videossr.training.checkpoint import latest, step_of
from videossr.training.config import TrainConfig
from videossr.training.records import CONFIG, MANIFEST, read_train_run

FREE = (
    *("data.path", "data.corpus", "data.threads", "data.ahead_mb"),
    *("run.sharding", "run.recompute", "run.decode_groups", "run.rows"),
    *("run.device", "run.memory_gib", "run.peak_tflops"),
    "log.",
)
"""What may be otherwise when a run goes on: where things lie, how the same is computed, and what is kept."""

LENGTH = {"run.steps", "run.epochs"}
"""What may be otherwise too where the rate is constant: the run ends sooner or later, and each step is the same."""


def length_of(config: TrainConfig, questions: int) -> tuple[int, int]:
    """Steps that a run has, at most, and batches of questions with which one of them may begin."""
    if config.run.steps:
        return config.run.steps, config.run.steps * config.most_batches
    batches = steps_in(questions, config.run.batch, config.run.epochs)
    return batches, batches


def is_same(folder: Path, config: TrainConfig, questions: int) -> bool:
    """Whether the run that is there was asked for as this one; False where only its length is another, and may be.

    Raises ValueError that says what else was asked otherwise, or why the length may not be another.
    """
    run = read_train_run(folder)
    there, here = flatten(plain(run.config)), flatten(plain(config))
    different = [name for name in {**there, **here} if not name.startswith(FREE) and there.get(name) != here.get(name)]
    length = LENGTH.issuperset(different)
    if length and length_of(run.config, questions) == length_of(config, questions):
        return True
    if length and config.optim.schedule == "constant":
        found = latest(folder)
        made = step_of(found) if found else 0
        before = next((step.batches for step in run.steps if step.step == made - 1), 0)
        steps, batches = length_of(config, questions)
        if made > steps or (made and before >= batches):
            raise OutputError(f"{folder} holds a run that has made {made} steps, more than are asked for now")
        return False
    told = [
        f"{name} is {there.get(name, 'not set')!s:.80} there, {here.get(name, 'not set')!s:.80} here"
        for name in different
    ]
    why = f" The rate is {config.optim.schedule}: it depends on them." if length else ""
    raise OutputError(f"{folder} holds a run that was asked otherwise: {'; '.join(told)}.{why} Choose another --out")


def take_length(folder: Path, config: TrainConfig, questions: int) -> None:
    """From here on the run is as long as it is asked for now, even if it was complete."""
    if length_of(read_train_run(folder).config, questions) != length_of(config, questions):
        (folder / MANIFEST).unlink(missing_ok=True)
        write_text(folder / CONFIG, tomli_w.dumps(plain(config)))
