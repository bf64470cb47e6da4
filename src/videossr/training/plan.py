"""Resolve the configuration of a run once, and prepare what its steps need.

Each part of training gets what was resolved here, and its own table of the configuration, never the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from videossr.engine.checkpoint import Checkpoint, find_device, open_checkpoint
from videossr.engine.model import base_model
from videossr.errors import ConfigError
from videossr.question_set import QuestionSet
from videossr.training.batching import RunLength, choose_questions, run_length, set_sizes
from videossr.training.checkpoints.model_files import peculiarities
from videossr.training.config import TrainConfig
from videossr.training.cost.flops import Load
from videossr.training.cost.memory import MemoryPlan, check_offloading, largest_load, plan_run
from videossr.training.mixture import find_unreadable, shares_of
from videossr.training.optim import Optimizer
from videossr.training.parallel import Parallelism, World, parallelize
from videossr.training.policy import Policy, load_policy
from videossr.training.runs.observer import RunObserver, check_trackers
from videossr.training.trainer import used_gib


@dataclass(frozen=True)
class RunPlan:
    """A configuration resolved for these questions and this machine, once, before any weight is read.

    Attributes:
        checkpoint: that is trained.
        device: of the model in this process.
        dtype: of weights and arithmetic.
        chosen: indices of the questions that the run is trained on.
        unreadable: why some of the others can never be asked, by index.
        length: how many steps and batches there are, at most.
        load: the largest question.
        memory: that the run will need.
    """

    checkpoint: Checkpoint
    device: torch.device
    dtype: torch.dtype
    chosen: tuple[int, ...]
    unreadable: Mapping[int, str]
    length: RunLength
    load: Load
    memory: MemoryPlan


@dataclass(frozen=True)
class RunContext:
    """All that the steps of a run need.

    Attributes:
        folder: of the run.
        config: of the run, as it is saved; each part gets its own table of it.
        plan: what it comes to.
        questions: the dataset.
        policy: the model that learns.
        optimizer: of its weights.
        parallel: how it lies over the processes.
        observer: receives the progress.
        idle_gib: memory in use by libraries before the model was loaded.
    """

    folder: Path
    config: TrainConfig
    plan: RunPlan
    questions: QuestionSet
    policy: Policy
    optimizer: Optimizer
    parallel: Parallelism
    observer: RunObserver
    idle_gib: float


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the precision of weights and arithmetic; "auto": bfloat16, on a CPU float32."""
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def resolve_plan(config: TrainConfig, questions: QuestionSet, world: World) -> RunPlan:
    """Resolve a configuration: device, precision, questions, length and memory.

    Raises:
        ConfigError: settings do not fit together or to this machine, such as its memory.
        DataError: the checkpoint cannot be opened, or none of the questions of a set can be shown.
        MissingExtraError: a tracker is not installed.
    """
    categories = [questions.category(index) for index in range(len(questions))]
    chosen = choose_questions(categories, config.data.categories, config.data.share, config.run.seed)
    unreadable = find_unreadable(questions, chosen)
    chosen = [index for index in chosen if index not in unreadable]
    if shares := shares_of(questions, config.data.sets):
        set_sizes(chosen, shares)
    check_trackers(config.log)
    device = find_device(config.run.device)
    dtype = resolve_dtype(config.run.dtype, device)
    if world.size > 1 and config.run.sharding == "fsdp" and config.optim.moments == "8bit":
        raise ConfigError("--optim.moments=8bit is for weights that are not sharded: use --run.sharding=none")
    check_offloading(config.run, device)
    checkpoint = open_checkpoint(config.model.path, config.model.layout)
    load = largest_load(questions, chosen, categories, checkpoint, config.grpo if config.run.method == "grpo" else None)
    memory, shortage = plan_run(checkpoint.folder, config, load, device=device, dtype=dtype, processes=world.size)
    if shortage:
        raise ConfigError(shortage)
    length = run_length(config.run, config.batches_per_step, len(chosen))
    return RunPlan(checkpoint, device, dtype, tuple(chosen), unreadable, length, load, memory)


def prepare_run(
    folder: Path,
    config: TrainConfig,
    plan: RunPlan,
    questions: QuestionSet,
    observer: RunObserver,
    world: World,
) -> RunContext:
    """Load the policy, lay it over the processes, and make its optimizer."""
    idle_gib = used_gib(plan.device)
    policy = load_policy(
        plan.checkpoint,
        config.model,
        device=plan.device,
        dtype=plan.dtype,
        needs_reference=config.needs_reference,
        share_prefix=config.run.share_prefix,
        seed=config.run.seed,
    )
    for sentence in peculiarities(plan.checkpoint, base_model(policy.model)):
        observer.on_message(sentence)
    if policy.unshared:
        observer.on_message(f"full forward passes, answer by answer: {policy.unshared}")
    parallel = parallelize(policy, world, config.run.sharding)
    updates = plan.length.steps * config.grpo.updates
    optimizer = Optimizer(policy.model.named_parameters(), config.optim, steps=updates, seed=config.run.seed)
    return RunContext(folder, config, plan, questions, policy, optimizer, parallel, observer, idle_gib)
