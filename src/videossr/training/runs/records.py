"""Read a training run from disk: its configuration, steps, samples and failures.

    config.toml       the whole configuration, every default written out
    steps.jsonl       one `Step` a line, as soon as the step is done
    failures.jsonl    questions that could not be shown to the model, and why
    samples.jsonl     answers of some steps, with `samples/STEP-INDEX.jpg`: frames of one size, `ACROSS` in a row; each
                      clip begins a row
    checkpoints/      step-000050: a folder that transformers loads, with trainer/, from which a run goes on
    model             a link to the last checkpoint
    manifest.json     written last: its presence means that the run is complete

Torch-free. Exercised by `videossr report RUN --out report.html`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from videossr.config import parse
from videossr.errors import DataError, NotFoundError
from videossr.storage.identifiers import Count, Line, Number, Sha256
from videossr.storage.jsonl import read_json, read_jsonl
from videossr.storage.parsing import load_toml
from videossr.storage.paths import AnyPath, to_path
from videossr.training.config import TrainConfig

CONFIG = "config.toml"
STEPS = "steps.jsonl"
FAILURES = "failures.jsonl"
SAMPLES = "samples.jsonl"
PICTURES = "samples"
CHECKPOINTS = "checkpoints"
MODEL = "model"
MANIFEST = "manifest.json"

ACROSS = 8
"""Frames in a row of a picture of samples."""

PHASES = ("wait", "vision", "prefill", "decode", "reference", "loss", "optimizer", "save")
"""Phases of a step, for its seconds: `wait` is for frames, `loss` holds the answers' pass and the backward pass."""

VERL_PHASES = ("gen", "old_log_prob", "ref", "adv", "update_actor", "update_weights", "save_checkpoint")
"""Phases of a step of verl, as it calls them: `gen` is from the frames to the rewards, `update_weights` brings the
weights to the engine that samples."""


@dataclass(frozen=True, slots=True)
class Rollouts:
    """Means over the groups of a batch, of one task, or of one category.

    Attributes:
        groups: how many.
        smooth, strict, parsed: mean over all answers.
        zero_variance: share of groups whose rewards are all equal.
        noise: share of groups in which no answer is right and yet smooth rewards differ.
        distinct: different answers a group.
        tokens: of an answer.
        truncated: share of answers that were cut off.
        kl: to the reference, a token, of answers that are not left out; 0 where no reference is kept; None where it is
            not reported, as by verl for a part of a batch.
        entropy: of the next token, in nats; None where it is not reported.
    """

    groups: Count
    smooth: Number
    strict: Number
    parsed: Number
    zero_variance: Number
    noise: Number
    distinct: Number
    tokens: Number
    truncated: Number
    kl: Number | None = None
    entropy: Number | None = None


class SkipReason(StrEnum):
    """The reason why the optimizer made no step. With NOT_FINITE there was something to learn."""

    EQUAL = "in every group that counts all rewards are equal"
    LEFT_OUT = "every answer is left out"
    NO_ANSWER = "there is no answer to learn from"
    NOT_FINITE = "the gradient is not finite"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the optimizer. What the trainer does not report is None, see `videossr.verl.steps`.

    Attributes:
        step: from 1.
        batches: of questions, that were asked so far: one a step, more with dynamic sampling.
        epoch: passes through the data so far.
        loss: of the batch.
        lr, grad_norm: of the step; the norm before it was clipped.
        changed: share of the weights whose stored value changed.
        skipped: why no step was made, a `SkipReason`; empty where one was.
        failed: questions that could not be shown.
        gap: the certificate: largest difference of a token's log-probability between sampling and loss, in nats.
        seconds: by phase, see `PHASES` and `VERL_PHASES`, of the slowest process.
        wall: seconds of the step.
        prompts_per_second: over all processes.
        mfu: share of the device's peak, by counted operations; None where its peak is not known.
        memory_gib: most memory in use so far, in GiB, of the process that used most, without what libraries used before
            the model was loaded. The largest of all steps is the manifest's `GiB used` and the report's peak memory.
        all: over all groups, those left out among them; None for supervised steps.
        tasks, categories, sets: the same by task, by category, and by set where there are several.
    """

    step: Count
    batches: Count | None
    epoch: Number
    loss: Number
    lr: Number
    grad_norm: Number
    changed: Number | None
    skipped: str = ""
    failed: Count = 0
    gap: Number | None = 0.0
    seconds: Mapping[str, Number] = field(default_factory=dict)
    wall: Number = 0.0
    prompts_per_second: Number = 0.0
    mfu: Number | None = None
    memory_gib: Number | None = 0.0
    all: Rollouts | None = None
    tasks: Mapping[str, Rollouts] = field(default_factory=dict)
    categories: Mapping[str, Rollouts] = field(default_factory=dict)
    sets: Mapping[str, Rollouts] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShownSample:
    """One question with the answers that were sampled, to be looked at.

    Attributes:
        step, index, category, prompt, gold: of the question.
        texts, rewards, advantages: of each answer.
        frames: name of the picture in the run's `samples` folder; empty where there is none.
        slots: for each clip, when each of its frames in the picture begins and ends, in milliseconds.
    """

    step: Count
    index: Count
    category: str
    prompt: str
    gold: str
    texts: tuple[str, ...]
    rewards: tuple[Number, ...]
    advantages: tuple[Number, ...]
    frames: str = ""
    slots: tuple[tuple[tuple[Count, Count], ...], ...] = ()

    def __post_init__(self) -> None:
        if not len(self.texts) == len(self.rewards) == len(self.advantages):
            counts = f"{len(self.texts)} texts, {len(self.rewards)} rewards and {len(self.advantages)} advantages"
            raise DataError(f"question {self.index} of step {self.step} has {counts}")


@dataclass(frozen=True, slots=True)
class Failure:
    """A question that could not be shown to the model."""

    step: Count
    index: Count
    error: str


@dataclass(frozen=True, slots=True)
class TrainManifest:
    """The manifest of a complete run.

    Attributes:
        steps: that were made.
        hash, questions: of the dataset, and where it lay.
        versions: of the libraries.
        describe: device, parameters, sharing, the memory plan and what was used, and the like.
        seconds: over all sessions of the run.
        kind: what the folder is.
    """

    steps: int
    hash: Sha256
    questions: str
    versions: dict[Line, Line]
    describe: dict[str, Any]
    seconds: float
    kind: Literal["train"] = "train"


@dataclass(frozen=True)
class TrainRun:
    """A training run as it lies on disk. `manifest` is None while it is not complete."""

    path: AnyPath
    config: TrainConfig
    steps: tuple[Step, ...]
    shown: tuple[ShownSample, ...]
    failures: tuple[Failure, ...]
    manifest: TrainManifest | None

    def __repr__(self) -> str:
        state = "complete" if self.manifest else "not complete"
        return f"TrainRun({str(self.path)!r}, {self.config.run.method}: {len(self.steps)} steps, {state})"

    @property
    def name(self) -> str:
        """The name of its folder, which pages show."""
        return self.path.name


def is_training(path: str | AnyPath) -> bool:
    """Tell whether a folder holds a training run, or the beginning of one."""
    try:
        table = load_toml(to_path(path) / CONFIG)
    except (OSError, ValueError):
        return False
    return "run" in table and "optim" in table


def read_train_run(path: str | AnyPath) -> TrainRun:
    """Read the training run in a folder, complete or not.

    A last line that was cut off in the middle is left out. A step that is there twice, since the run resumed from a
    checkpoint before it, counts as it was made last, and steps that it had made beyond are left out.

    Raises:
        NotFoundError: the folder holds no run.
        DataError: a file is damaged; the error names the line.
    """
    folder = to_path(path)
    try:
        table = load_toml(folder / CONFIG)
    except FileNotFoundError as error:
        way_out = (
            f"there is no {CONFIG} in it; name the folder that `videossr train … --out FOLDER` wrote"
            if folder.is_dir()
            else f"make one with `videossr train … --out {folder}`"
        )
        raise NotFoundError(f"{folder} is no run: {way_out}") from error
    except ValueError as error:
        raise DataError(f"{folder / CONFIG}: not valid TOML: {error}") from error
    steps: list[Step] = []
    for step in read_jsonl(Step, folder / STEPS):
        while steps and steps[-1].step >= step.step:
            steps.pop()
        steps.append(step)
    shown = {(sample.step, sample.index): sample for sample in read_jsonl(ShownSample, folder / SAMPLES)}
    failures = {(failure.step, failure.index): failure for failure in read_jsonl(Failure, folder / FAILURES)}
    return TrainRun(
        folder,
        parse(TrainConfig, table, str(folder / CONFIG)),
        tuple(steps),
        tuple(shown[key] for key in sorted(shown)),
        tuple(failures[key] for key in sorted(failures)),
        read_json(TrainManifest, folder / MANIFEST),
    )
