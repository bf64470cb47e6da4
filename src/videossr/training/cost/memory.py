"""Plan the memory of a run before any weight is read, and say what to change where there is not enough.

    plan, shortage = plan_run(folder, config, load, device=device)    # shortage says what would fit
    print(plan.table())

The model is made without weights, from its configuration alone, and really runs, also without numbers: what it would
keep for the backward pass is counted as it comes. So the plan follows the model's code. Exercised by `videossr train`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import transformers

from videossr.config import override, parse
from videossr.engine.checkpoint import Checkpoint
from videossr.engine.model import VisionLanguageModel, base_model, delta_nets
from videossr.engine.shared_prefix import ATTENTION, SCORED_AT_ONCE, SHARED
from videossr.engine.vision_tower import optimize_vision_tower
from videossr.errors import ConfigError, DataError
from videossr.question_set import QuestionSet
from videossr.training.config import GrpoConfig, ModelConfig, RunSettings, TrainConfig, as_table
from videossr.training.cost.activations import activation_memory
from videossr.training.cost.flops import Load, load_of
from videossr.training.mixture import paths_of
from videossr.training.optim import PIECE
from videossr.training.policy import prepare_model

GIB = 2**30

When = Literal["always", "group", "sampling", "reference", "loss", "step", "host"]

USED = 0.95
"""Of the memory that there is: the rest goes to fragments, kernels and libraries."""

TRIES = 8
"""Questions of a kind that are tried, until one can be shown."""

CHANGES = (
    "run.sharding=fsdp",
    "run.recompute=true",
    "run.decode_groups=1",
    "run.offload_activations=true",
    "optim.moments=8bit",
    "optim.weights=stochastic",
    "optim.moments=offload",
    "grpo.kl=0",
    "model.train_vision=false",
    "model.lora.rank=64",
)
"""Settings that save memory, the least costly first."""


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """One thing that takes memory. `when` says in which part of a step, `host` that it lies in the machine's RAM."""

    name: str
    size: int
    when: When


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The memory that one process will need, in bytes."""

    rows: tuple[MemoryRow, ...]

    def sum(self, *when: When) -> int:
        """Return the bytes of these parts of a step together."""
        return sum(row.size for row in self.rows if row.when in when)

    @property
    def total(self) -> int:
        """The most that is needed on the device at once: what is always there, and the worst part of a step."""
        moments: tuple[tuple[When, ...], ...] = (
            ("group", "sampling"),
            ("group", "reference"),
            ("group", "loss"),
            ("step",),
        )
        return self.sum("always") + max(self.sum(*when) for when in moments)

    @property
    def host(self) -> int:
        """Return the bytes that are kept in the machine's RAM instead."""
        return self.sum("host")

    def table(self) -> str:
        """Format the plan, one line a row, in GiB, and the total."""
        lines = [f"{row.size / GIB:9.2f} GiB  {row.when:8}  {row.name}" for row in self.rows if row.size]
        return "\n".join([*lines, f"{self.total / GIB:9.2f} GiB  peak"])

    def facts(self) -> dict[str, float]:
        """Return the rows and the total in GiB, for a manifest."""
        sizes = {row.name: row.size / GIB for row in self.rows if row.size} | {"total": self.total / GIB}
        return {name: round(size, 3) for name, size in sizes.items()}


def largest_load(
    questions: QuestionSet,
    chosen: Sequence[int],
    categories: Sequence[str],
    source: Checkpoint,
    grpo: GrpoConfig | None,
) -> Load:
    """Find what the largest of the kinds of questions asks of the model, looking at one of each.

    Frames that cannot be read are no reason to stop: a run leaves such questions out and goes on.

    Args:
        questions: the dataset.
        chosen: indices of the questions that the run is trained on.
        categories: of all questions.
        source: makes the prompts.
        grpo: tells how many answers are sampled, and of how many tokens; None: the gold answer alone, as in SFT.

    Raises:
        DataError: the model's family cannot be shown one of the kinds, or none could be read.
    """
    loads, failed = [], None
    tries: dict[str, int] = defaultdict(int)
    refused: dict[str, ValueError] = {}
    for index in chosen:
        category = categories[index]
        if tries[category] >= TRIES:
            continue
        tries[category] += 1
        try:
            question, clips = questions.question(index), questions.clips(index)
        except Exception as error:  # whatever damaged rows and packs raise
            failed = error
            continue
        try:
            prompt = source.build(question, clips)
        except ValueError as error:
            refused[category] = error
            continue
        refused.pop(category, None)
        count, tokens = (grpo.rollouts, grpo.max_tokens) if grpo else (1, len(question.answer) + 1)
        loads.append(load_of(prompt, count, tokens))
        tries[category] = TRIES
    if refused:
        category, reason = next(iter(refused.items()))
        raise DataError(f"{paths_of(questions)}, category {category}: {reason}") from reason
    if not loads:
        raise DataError(f"{paths_of(questions)}: not one of its first questions can be shown: {failed}")
    return max(loads, key=lambda load: (load.prompt, load.patches))


def plan_run(
    folder: Path,
    config: TrainConfig,
    load: Load,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    processes: int = 1,
) -> tuple[MemoryPlan, str]:
    """Plan the memory of a run; return the plan, and what is wrong with it in words: empty where memory is enough.

    Args:
        folder: of the checkpoint; of its files, `config.json` alone is read.
        config: of the run, whole, since other settings are tried where memory is short.
        load: the largest question.
        device: where it will run; `run.memory_gib` overrides how much memory it has.
        dtype: of weights and arithmetic.
        processes: of the run.

    Raises:
        ConfigError: activations are to be offloaded from a CPU, or without recomputation.
    """
    shape = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)

    def plan(config: TrainConfig) -> MemoryPlan:
        check_offloading(config.run, device)
        return memory_plan(empty_model(shape, config.model, dtype), config, load, processes)

    first = plan(config)
    given = config.run.memory_gib
    room = int(given * GIB) if given else int(available_memory(device) * USED)
    return first, shortage_message(first, room, config, plan, processes)


def empty_model(shape: transformers.PretrainedConfig, config: ModelConfig, dtype: torch.dtype) -> VisionLanguageModel:
    """Build a model as it will learn, without weights, from a configuration of transformers."""
    with torch.device("meta"):
        model: VisionLanguageModel = transformers.AutoModelForImageTextToText.from_config(
            shape, dtype=dtype, attn_implementation=ATTENTION
        )
        optimize_vision_tower(model)
        return prepare_model(model.eval(), config)


def memory_plan(model: VisionLanguageModel, config: TrainConfig, load: Load, processes: int = 1) -> MemoryPlan:
    """Plan what a run needs in each process.

    Args:
        model: from `empty_model`.
        config: of the run.
        load: the largest question.
        processes: over which weights are sharded, where they are.

    Raises:
        ConfigError: what is to be offloaded is not there.
    """
    check_offloading(config.run)
    offload = config.run.offload_activations
    base = base_model(model)
    parts = processes if config.run.sharding == "fsdp" else 1
    weights = sum(_size(weight) for weight in model.parameters())
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    count = sum(weight.numel() for weight in trained)
    halves = sum(weight.numel() for weight in trained if weight.dtype == torch.bfloat16)
    away = config.optim.moments == "offload"
    grpo = config.run.method == "grpo"
    shared = config.run.share_prefix and base.config.model_type in SHARED
    groups = min(config.run.decode_groups, -(-config.run.batch // processes)) if grpo and shared else 1
    rows = 0 if shared else min(config.run.rows, load.answers)
    keeps = activation_memory(model, load, recompute=config.run.recompute, offload=offload, rows=rows)
    whole_keeps = activation_memory(model, load, recompute=True, rows=rows) if offload else keeps
    cache = cache_size(base, load, shared=shared) if grpo else 0
    kept = cache_size(base, replace(load, answers=0), shared=True) if shared else 0
    text = base.config.get_text_config()
    scored = load.answers * load.tokens
    scores = (min(scored, SCORED_AT_ONCE) if shared else scored) * text.vocab_size * 4
    whole = parts > 1  # within a step, see `videossr.training.parallel.FullyShardedParallel`
    state: When = "host" if away else "always"
    widest = max(weight.numel() for weight in trained)
    return MemoryPlan(
        (
            MemoryRow("weights", weights // parts, "always"),
            MemoryRow("reference", weights if config.needs_reference else 0, "always"),
            MemoryRow("gradients, float32", 4 * count // parts, "always"),
            MemoryRow("masters, float32", 4 * halves // parts if config.optim.weights == "master" else 0, state),
            MemoryRow(f"moments, {config.optim.moments}", _moments(config, count) // parts, state),
            MemoryRow("weights and gradients that are not sharded yet", weights + 4 * count if whole else 0, "group"),
            MemoryRow("activations of the prompts", groups * keeps.prompt, "group"),
            MemoryRow("activations of the prompts, offloaded", groups * (whole_keeps.prompt - keeps.prompt), "host"),
            # Of several groups, the others are still being sampled while one is learned from.
            MemoryRow("key-value cache of sampling", groups * cache, "group" if groups > 1 else "sampling"),
            MemoryRow(
                "logits of one token", 4 * groups * load.answers * text.vocab_size * 4 if grpo else 0, "sampling"
            ),
            MemoryRow("activations of the answers", keeps.answers, "loss"),
            MemoryRow("activations of the answers, offloaded", whole_keeps.answers - keeps.answers, "host"),
            MemoryRow("logits of the answers", 3 * scores, "loss"),
            MemoryRow("one layer, recomputed", keeps.layer, "loss"),
            MemoryRow("gradients of the prompt's keys and values", kept, "loss"),
            MemoryRow("gradient of one weight", 2 * widest * base.dtype.itemsize, "loss"),
            MemoryRow("key-value cache of the reference", cache if config.has_kl and not rows else 0, "reference"),
            MemoryRow("optimizer step", _stepping(config, base.dtype) * min(PIECE, widest), "step"),
        )
    )


def check_offloading(run: RunSettings, device: torch.device | None = None) -> None:
    """Raise ConfigError where activations are to be offloaded that are not there, or from a CPU to its own memory."""
    if run.offload_activations and not run.recompute:
        raise ConfigError("run.offload_activations needs run.recompute=true: it keeps in RAM what that leaves")
    if run.offload_activations and device is not None and device.type == "cpu":
        raise ConfigError("run.offload_activations moves states to RAM, where those of a CPU are: leave it out")


def available_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device, or in the machine where it is a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def shortage_message(
    plan: MemoryPlan, room: int, config: TrainConfig, plan_of: Callable[[TrainConfig], MemoryPlan], processes: int = 1
) -> str:
    """Say which settings would do where a plan needs more than `room` bytes; else return an empty text.

    Args:
        plan: of the run.
        room: bytes that may be used.
        config: of the run.
        plan_of: makes the plan of another configuration.
        processes: of the run: one cannot shard.
    """
    if plan.total <= room:
        return ""
    needs = f"the run needs about {plan.total / GIB:.2f} GiB of {room / GIB:.2f}"
    found = _cure(config, lambda other: plan_of(other).total <= room, processes)
    if found is None:
        return f"{needs}, and no setting makes it fit: take a smaller model, or more processes and --run.sharding=fsdp"
    changes, other = found
    best = plan_of(other)
    rest = f", and {best.host / GIB:.1f} GiB of the machine's own memory" if best.host else ""
    return f"{needs}; with {' '.join(f'--{change}' for change in changes)} about {best.total / GIB:.2f}{rest}"


def _cure(
    config: TrainConfig, fits: Callable[[TrainConfig], bool], processes: int
) -> tuple[list[str], TrainConfig] | None:
    """Find the settings that make a run fit, those that cost least first, and no more than are needed."""
    tried: list[str] = []
    for change in CHANGES:
        if change == "run.sharding=fsdp" and processes == 1:
            continue
        if _changed(config, [change]) == config:
            continue
        if change == "optim.moments=8bit" and processes > 1 and _changed(config, tried).run.sharding == "fsdp":
            continue  # these two do not go together
        more = [setting for setting in tried if setting.split("=")[0] != change.split("=")[0]] + [change]
        if (works := _works(config, more, fits)) is None:
            continue
        tried = more
        if works:
            break
    else:
        return None
    for change in tried[:-1]:
        fewer = [setting for setting in tried if setting != change]
        if _works(config, fewer, fits):
            tried = fewer
    return tried, _changed(config, tried)


def _works(config: TrainConfig, changes: list[str], fits: Callable[[TrainConfig], bool]) -> bool | None:
    """Tell whether a run would fit with these changes; None where they do not go together, or not with the device."""
    try:
        return fits(_changed(config, changes))
    except ConfigError:
        return None


def _changed(config: TrainConfig, changes: list[str]) -> TrainConfig:
    table: Mapping[str, Any] = as_table(config)
    for change in changes:
        table = override(table, *change.split("="))
    return parse(TrainConfig, table, "the configuration")


def _moments(config: TrainConfig, count: int) -> int:
    """Return the bytes of both moments: in blocks of 256 bytes with a factor each, or 4 bytes a weight."""
    return 2 * (count + count // 256 * 4) if config.optim.moments == "8bit" else 8 * count


def _stepping(config: TrainConfig, dtype: torch.dtype) -> int:
    """Return the bytes that a step of the optimizer needs beside its state for each weight that it steps at once.

    Measured: torchao unpacks moments of 8 bits; stochastic rounding draws an integer for each weight.
    """
    if config.optim.moments == "8bit":
        return 64
    return 8 if dtype == torch.float32 else {"master": 6, "plain": 10, "stochastic": 18}[config.optim.weights]


def cache_size(base: VisionLanguageModel, load: Load, *, shared: bool) -> int:
    """Return the bytes of the cache for a prompt and all answers to it, or for the rows sampled at once.

    An attention layer has keys and values of each token, a Gated DeltaNet layer has states for each answer.
    """
    text = base.config.get_text_config()
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    copies = 1 if shared else load.answers
    tokens = copies * load.prompt + load.answers * load.tokens
    dtype: torch.dtype = base.dtype
    mixers = [mixer for mixer in delta_nets(base) if mixer is not None]
    attention = len(base.model.language_model.layers) - len(mixers)
    keys = 2 * attention * int(text.num_key_value_heads) * int(width) * tokens * dtype.itemsize
    return keys + load.answers * sum(_states(mixer, dtype) for mixer in mixers)


def _states(mixer: Any, dtype: torch.dtype) -> int:
    """Return the bytes that a Gated DeltaNet layer keeps for one answer: inputs of its convolution, and its state."""
    inputs = mixer.conv_dim * (mixer.conv_kernel_size - 1) * dtype.itemsize
    return int(inputs + mixer.num_v_heads * mixer.head_k_dim * mixer.head_v_dim * torch.float32.itemsize)


def _size(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()
