"""The configuration of a training run: every choice by its name, checked, with the paper's value as the default.

The paper's run is GRPO as verl does it, with the values of its script and verl's defaults for the rest. Exercised by
`videossr train train-paper --model.path=CHECKPOINT --data.path=DATASET --out RUN`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from videossr.config import override, parse, plain
from videossr.dataset.published.shown import VideoSettings
from videossr.errors import ConfigError
from videossr.registry import suggest
from videossr.storage.parsing import read_toml

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class Lora:
    """Low-rank adapters, by peft. The reference is then the model with the adapters off.

    Without dropout, which would make of the model that samples another than the one that learns.
    """

    rank: Annotated[int, Field(ge=1)] = 64
    alpha: Annotated[int | None, Field(ge=1, description="adapters are scaled by alpha / rank; none: 2 * rank")] = None
    targets: Annotated[str, Field(description="regular expression of module names, or all-linear")] = "all-linear"


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class ModelConfig:
    """The checkpoint that is trained, and which of its weights."""

    path: Annotated[str, Field(description="folder of a checkpoint, or ORGANIZATION/NAME on the Hub")] = ""
    layout: Annotated[str | None, Field(description="of the video's tokens; by default the released weights'")] = None
    train_vision: Annotated[bool, Field(description="whether the vision tower learns, as in the paper")] = True
    lora: Lora | None = None


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class QuestionsConfig:
    """One set of questions: a dataset, or labelled rows."""

    path: Annotated[str, Field(description="folder or address of a dataset, or file or folder of labelled rows")] = ""
    corpus: Annotated[
        str | None, Field(description="where its frame packs or videos are, if not where the dataset or the rows say")
    ] = None
    source: Annotated[
        str | None, Field(description="the data_source of rows that have none, or one that is not known")
    ] = None
    anywhere: Annotated[
        bool, Field(description="show files wherever published rows say that they are, not only below their folder")
    ] = False
    video: VideoSettings = Field(default_factory=VideoSettings)


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class SetConfig(QuestionsConfig):
    """One of several sets of questions, and its share of them."""

    weight: Annotated[float, Field(gt=0, description="its share of the questions, over the sum of all weights")] = 1.0


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class DataConfig(QuestionsConfig):
    """The questions that it is trained on."""

    sets: Annotated[
        dict[Annotated[str, Field(pattern=r"^[\w-]+$")], SetConfig],
        Field(description="several sets by names of your choice, instead of the one of data.path"),
    ] = Field(default_factory=dict)
    categories: Annotated[tuple[str, ...], Field(description="those it is trained on; none named: all")] = ()
    share: Annotated[
        tuple[float, float], Field(description="of the shuffled questions, from and to: (0, 0.1) is the first tenth")
    ] = (0.0, 1.0)
    mix: Annotated[
        Literal["shuffled", "even", "single"],
        Field(
            description="of the categories in a batch: as they fall, in equal shares of each, or one category a batch"
        ),
    ] = "shuffled"
    threads: Annotated[int, Field(ge=1, le=256, description="that render frames ahead of the model")] = 4
    ahead_mb: Annotated[int, Field(ge=1, description="MiB that frames made ready may take")] = 2048

    @model_validator(mode="after")
    def _check_sets(self) -> DataConfig:
        """With `data.sets`, their paths and what belongs to them are set for each, and `mix` cannot be `single`."""
        if not self.sets:
            return self
        names = [field.name for field in fields(QuestionsConfig)]
        if own := [name for name in names if getattr(self, name) != getattr(_UNSET, name)]:
            raise ValueError(f"data.{own[0]} is of one set, and there are data.sets: set data.sets.NAME.{own[0]}")
        if missing := [name for name, one in self.sets.items() if not one.path]:
            raise ValueError(f"data.sets.{missing[0]}.path is not set")
        if self.mix == "single":
            raise ValueError("data.mix=single fills a batch with one category, and data.sets gives each set its share")
        return self

    @property
    def paths(self) -> str:
        """Where the questions are, for people."""
        return self.path or ", ".join(one.path for one in self.sets.values())


_UNSET = QuestionsConfig()


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class GrpoConfig:
    """Group relative policy optimization.

    Answers are drawn from the whole distribution, whatever the checkpoint's generation settings say: nothing is cut off
    by top_p or top_k and nothing is penalized, so that the log-probabilities of sampling are those of the loss.
    """

    rollouts: Annotated[int, Field(ge=2, le=1024, description="answers a question, the size of a group")] = 8
    max_tokens: Annotated[int, Field(ge=1, le=65536, description="tokens of an answer, at most")] = 64
    temperature: Annotated[float, Field(gt=0, le=10, description="of sampling, and in the log-probabilities")] = 1.0
    reward: Annotated[Literal["smooth", "strict"], Field(description="see `videossr.rewards`")] = "smooth"
    scale: Annotated[
        Literal["group", "none"],
        Field(description="advantages over the unbiased deviation of their group, or as they are (Dr.GRPO)"),
    ] = "group"
    aggregate: Annotated[
        Literal["token", "answer", "constant"],
        Field(
            description="the loss is a mean over all tokens of the batch (verl, DAPO), over answers of their means "
            "(GRPO), or the sum over the answers of groups that count, times max_tokens (Dr.GRPO)"
        ),
    ] = "token"
    clip_low: Annotated[float, Field(ge=0, lt=1, description="the ratio is not rewarded below 1 - this")] = 0.2
    clip_high: Annotated[float, Field(ge=0, description="nor above 1 + this (DAPO: 0.28)")] = 0.2
    updates: Annotated[
        int,
        Field(
            ge=1,
            description="optimizer steps a batch, each on its part of the questions; above 1 the later parts are off "
            "policy, only then the clip acts, and prompts are read once more",
        ),
    ] = 1
    kl: Annotated[float, Field(ge=0, description="weight of the KL to the reference in the loss; 0: none is kept")] = (
        1e-3
    )
    kl_estimator: Annotated[
        Literal["low_variance", "plain", "squared"],
        Field(description="k3, at most 10 a token; k1; k2, of Schulman's note"),
    ] = "low_variance"
    drop_noise: Annotated[
        bool, Field(description="leave out groups in which no answer is right and yet smooth rewards differ")
    ] = False
    drop_truncated: Annotated[bool, Field(description="leave out answers that were cut off (DAPO)")] = False
    dynamic_sampling: Annotated[
        int,
        Field(
            ge=1,
            description="batches of questions that a step asks, at most, until run.batch groups count: those whose "
            "rewards differ, and that are not dropped (DAPO: 10); 1: one batch, where equal rewards count too",
        ),
    ] = 1


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class OptimConfig:
    """AdamW and its precision. Gradients of the groups of a batch are always summed in float32."""

    lr: Annotated[float, Field(ge=0)] = 1e-6
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: Annotated[float, Field(gt=0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0, description="on all weights, as verl does")] = 0.01
    clip_norm: Annotated[float, Field(gt=0, description="of the gradient of all weights")] = 1.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Annotated[int, Field(ge=0, description="steps until the full rate")] = 0
    weights: Annotated[
        Literal["master", "stochastic", "plain"],
        Field(
            description="where weights are bfloat16: float32 masters beside them, or rounded by chance to one of the "
            "two neighbours, or to the nearest, where steps of 1e-6 vanish"
        ),
    ] = "master"
    moments: Annotated[
        Literal["float32", "8bit", "offload"], Field(description="of AdamW: as they are, in blocks of bytes, or in RAM")
    ] = "float32"


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class RunSettings:
    """The method, the length and the means of a run."""

    engine: Annotated[Literal["videossr", "verl"], Field(description="which trainer runs the steps")] = "videossr"
    method: Literal["grpo", "sft"] = "grpo"
    batch: Annotated[int, Field(ge=1, description="questions a step, over all processes")] = 64
    epochs: Annotated[float, Field(gt=0)] = 1.0
    steps: Annotated[int | None, Field(ge=1, description="stop after this many, whatever the epochs")] = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: Annotated[str, Field(description="as torch names it; auto: an accelerator if there is one")] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Field(description="of weights and arithmetic; auto: bfloat16, on a CPU float32"),
    ] = "auto"
    share_prefix: Annotated[bool, Field(description="compute what a group shares once; off: for comparison")] = True
    rows: Annotated[int, Field(ge=1, description="answers at once where the prefix is not shared")] = 1
    decode_groups: Annotated[
        int, Field(ge=1, description="groups whose answers are written at once; one that is complete makes place")
    ] = 1
    recompute: Annotated[
        bool, Field(description="keep one state a layer and compute the rest again: less memory, a third more work")
    ] = False
    offload_activations: Annotated[
        bool, Field(description="with recompute: keep these states in RAM, for prompts of many thousand tokens")
    ] = False
    sharding: Annotated[
        Literal["none", "fsdp"],
        Field(description="over several processes: every one has it all (DDP), or between steps its part (FSDP2)"),
    ] = "none"
    memory_gib: Annotated[float | None, Field(gt=0, description="that may be used, if not what the device has")] = None
    peak_tflops: Annotated[float | None, Field(gt=0, description="of the device, for MFU, where it is not known")] = (
        None
    )


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class LogConfig:
    """Checkpoints, samples and trackers of a run."""

    save_every: Annotated[int, Field(ge=0, description="steps between checkpoints; 0: only the last")] = 50
    keep: Annotated[int, Field(ge=1, description="checkpoints")] = 2
    samples_every: Annotated[int, Field(ge=0, description="steps between sample answers with frames; 0: none")] = 10
    trackers: Annotated[tuple[str, ...], Field(description="that accelerate knows: tensorboard, wandb, …")] = ()
    project: Annotated[str, Field(description="what trackers call it")] = "videossr"


@dataclass(frozen=True, config=_STRICT, kw_only=True)
class TrainConfig:
    """A whole run. Saved, every default written out, as `config.toml` in its folder."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    run: RunSettings = Field(default_factory=RunSettings)
    grpo: GrpoConfig = Field(default_factory=GrpoConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    log: LogConfig = Field(default_factory=LogConfig)

    @property
    def batches_per_step(self) -> int:
        """Batches of questions that a step asks, at most."""
        return self.grpo.dynamic_sampling if self.run.method == "grpo" else 1

    @property
    def has_kl(self) -> bool:
        """Tell whether the loss has a KL to a reference."""
        return self.run.method == "grpo" and self.grpo.kl > 0

    @property
    def needs_reference(self) -> bool:
        """Tell whether the reference is a copy of the model; with adapters it is the model without them."""
        return self.has_kl and self.model.lora is None


def names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(entry.name.removesuffix(".toml") for entry in (files("videossr.training") / "recipes").iterdir())


def keys() -> dict[str, str]:
    """Describe every key that can be set, by its dotted name: its default, and what it is."""
    hints = get_type_hints(TrainConfig)
    tables = {field.name: hints[field.name] for field in fields(TrainConfig)}
    tables |= {"model.lora": Lora, "data.video": VideoSettings, "data.sets.NAME": SetConfig}
    return {
        f"{name}.{field.name}": f"{field.default!r}" + "".join(f", {words}" for words in _described(table, field.name))
        for name, table in tables.items()
        for field in fields(table)
        if not isinstance(field.default, FieldInfo)  # a table, whose keys are listed by themselves
    }


def _described(table: type, name: str) -> list[str]:
    """Return the descriptions in the annotation of a field."""
    notes = getattr(get_type_hints(table, include_extras=True)[name], "__metadata__", ())
    return [note.description for note in notes if getattr(note, "description", None)]


def load_config(name: str | Path, settings: Mapping[str, object] | None = None) -> TrainConfig:
    """Read a configuration, and replace values in it.

    Args:
        name: of a shipped recipe, or the path of a TOML file.
        settings: values that replace those of the file, by dotted name: ``{"optim.lr": 1e-6}``. Text is parsed as TOML.

    Raises:
        ConfigError: the recipe, a key or a value is unknown.
        NotFoundError: there is no such file.
    """
    name = str(name)
    shipped = files("videossr.training") / "recipes" / f"{name}.toml"
    if Path(name).suffix == ".toml":
        table, where = read_toml(Path(name)), name
    elif name in names():
        table, where = read_toml(Path(str(shipped))), f"recipe {name}"
    else:
        raise ConfigError(f"no recipe {name!r}{suggest(name, names())}; or give the path of a .toml file")
    for dotted, text in (settings or {}).items():
        table = override(table, dotted, text)
    return parse(TrainConfig, table, where)


def as_table(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as TOML can hold it, see `videossr.config.plain`."""
    return plain(config)
