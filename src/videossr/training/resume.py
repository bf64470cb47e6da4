"""Compare the training run in a folder with the one that is asked for now, which may differ in its length.

Exercised by `videossr train CONFIG --out RUN`, where RUN is there already.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w

from videossr.config import changes, flatten, plain
from videossr.errors import OutputError
from videossr.storage.output_dir import OutputDir
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
    """Return how many steps a run has at most, and with how many batches of questions one of them may begin."""
    if config.run.steps:
        return config.run.steps, config.run.steps * config.most_batches
    batches = steps_in(questions, config.run.batch, config.run.epochs)
    return batches, batches


def run_dir(folder: Path) -> OutputDir:
    """Return the output folder of a training run."""
    return OutputDir(folder, "train", "run")


def is_same(folder: Path, config: TrainConfig, questions: int) -> bool:
    """Compare the run in a folder with the one that is asked for now.

    Args:
        folder: of a run that has begun.
        config: of the run that is asked for.
        questions: number of questions that it trains on.

    Returns:
        True where both are the same but for `FREE`; False where only the length is another, and may be.

    Raises:
        OutputError: something else differs, which the message names, or the length may not be another.
    """
    run = read_train_run(folder)
    recorded, wanted = _decisive(run.config), _decisive(config)
    different = {name for name in {**recorded, **wanted} if recorded.get(name) != wanted.get(name)}
    is_length = LENGTH.issuperset(different)
    if is_length and length_of(run.config, questions) == length_of(config, questions):
        return True
    if not is_length or config.optim.schedule != "constant":
        differences = changes(recorded, wanted)
        if is_length:
            differences.append(f"the rate is {config.optim.schedule}, which depends on them")
        run_dir(folder).refuse_differences(differences)
    checkpoint = latest(folder)
    made = step_of(checkpoint) if checkpoint else 0
    before = next((step.batches for step in run.steps if step.step == made - 1), 0)
    steps, batches = length_of(config, questions)
    if made > steps or (made and before >= batches):
        raise OutputError(f"{folder} holds a run that has made {made} steps, more than are asked for now")
    return False


def _decisive(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that must be the same for a run to go on, by dotted names."""
    return {name: value for name, value in flatten(plain(config)).items() if not name.startswith(FREE)}


def take_length(folder: Path, config: TrainConfig, questions: int) -> None:
    """Make the run in a folder as long as it is asked for now; if it was complete, it no longer is."""
    if length_of(read_train_run(folder).config, questions) != length_of(config, questions):
        (folder / MANIFEST).unlink(missing_ok=True)
        write_text(folder / CONFIG, tomli_w.dumps(plain(config)))
