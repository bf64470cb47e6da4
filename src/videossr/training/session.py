"""A training run, from its configuration to its last checkpoint: `videossr train CONFIG --out RUN`.

The files of a run are described in `videossr.training.records`. After a stop or a kill, the same call resumes from the
last checkpoint.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import tomli_w

from videossr.errors import ConfigError, DataError, MissingExtraError, OutputError, ScoringError

try:
    import torch  # noqa: F401 (everything below needs it)
except ImportError as missing:
    raise MissingExtraError(f"training needs more libraries: pip install 'videossr[train]' ({missing})") from missing

from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import is_benchmark, versions
from videossr.engine.checkpoint import device_name, find_device, open_checkpoint, out_of_memory
from videossr.engine.kv_cache import base_model
from videossr.question_set import QuestionSet, open_questions
from videossr.storage.paths import AnyPath, is_local, to_path, write_text
from videossr.storage.provenance import installed_versions
from videossr.training.batching import choose_questions
from videossr.training.checkpoint import latest, link, model_card, remove_partial, restore, save, step_of
from videossr.training.config import TrainConfig, as_table, load_config
from videossr.training.cost.memory import GIB, MemoryPlan, largest_load, plan_run
from videossr.training.interrupt import catch_signals
from videossr.training.model_files import peculiarities
from videossr.training.optim import Optimizer
from videossr.training.parallel import Parts, World, join_processes, parallelize
from videossr.training.policy import Policy, load_policy
from videossr.training.records import (
    CONFIG,
    MANIFEST,
    MODEL,
    STEPS,
    Step,
    TrainManifest,
    TrainRun,
    read_train_run,
    rewards_are_equal,
)
from videossr.training.resume import is_same, length_of, run_dir, take_length
from videossr.training.trackers import check_trackers, tracking
from videossr.training.trainer import NO_ANSWER, NOT_FINITE, StepResult, Trainer, used_gib
from videossr.training.writer import RunWriter

LOWER = "Try a lower --optim.lr, or --run.dtype=float32, in a new run"

REFUSED = 3
"""Steps in a row whose gradient is no number, or that nothing could be shown in, after which a run ends."""

LIBRARIES = ("torch", "transformers", "accelerate", "peft", "torchao")


def train(
    config: str | TrainConfig,
    out: str | AnyPath,
    settings: Mapping[str, str] | None = None,
    *,
    show: Callable[[Step, int], None] = lambda step, total: None,
    within: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
) -> TrainRun:
    """Makes all steps of a run that are still to be made.

    Args:
        config: name of a shipped recipe, path of a TOML file, or what `load_config` returned.
        out: folder of the run, on this machine.
        settings: values that replace those of a recipe or file, by dotted name: ``{"optim.lr": "1e-6"}``.
        show: told each step and how many there will be.
        within: told how many groups of the step that goes on are done, and of how many.
        say: told in words what is worth knowing.

    Raises:
        VideoSSRError: something in the configuration, the data or the model does not fit; or the run cannot go on, and
            then its last checkpoint is named.
        OSError: a file cannot be read or written.
    """
    folder = to_path(out)
    if not is_local(folder):
        raise OutputError(
            f"{folder}: a run is written line by line, which only a local folder allows; copy it afterwards"
        )
    config = load_config(config, settings) if isinstance(config, str) else config
    if not config.model.path or not config.data.path:
        missing = "model.path" if not config.model.path else "data.path"
        raise ConfigError(f"{missing} is not set: give --{missing}=FOLDER")
    with join_processes() as world:
        if world.rank:
            show, within, say = _silent, _silent, _silent
        questions = open_questions(config.data.path, corpus=config.data.corpus)
        if isinstance(questions, VideoSSRDataset) and is_benchmark(questions.manifest):
            say(f"{config.data.path} is a benchmark: it cannot measure a model that was trained on it")
        categories = [questions.category(index) for index in range(len(questions))]
        chosen = choose_questions(categories, config.data.categories, config.data.share, config.run.seed)
        total, batches = length_of(config, len(chosen))
        check_trackers(config)
        device = find_device(config.run.device)
        source = open_checkpoint(config.model.path, config.model.layout)
        load = largest_load(questions, chosen, categories, source, config)
        plan, short = plan_run(source.folder, config, load, device, world.size)
        if short:
            raise ConfigError(short)
        with _ours(folder, config, len(chosen), world) as complete:
            if complete:
                done = read_train_run(folder)
                if done.manifest is not None:
                    _check_questions(folder, done.manifest.hash, questions)
                say(f"{folder} is complete: nothing is left to do")
                return done
            bound = "at most " if batches < total * config.most_batches else ""
            steps = f"{bound}{total} steps of {config.run.batch}"
            say(f"{len(chosen)} of {len(questions)} questions, {steps}, on {device}")
            say(f"memory for groups of {load.answers} answers behind {load.prompt} tokens, as planned:\n{plan.table()}")
            idle = used_gib(device)  # of libraries, before there is a model
            policy = load_policy(source, config, device)
            for sentence in peculiarities(source, base_model(policy.model)):
                say(sentence)
            if policy.unshared:
                say(f"full forward passes, answer by answer: {policy.unshared}")
            parts = parallelize(policy, config, world)
            optimizer = Optimizer(
                policy.model.named_parameters(), config.optim, steps=total * config.grpo.updates, seed=config.run.seed
            )
            world.first(partial(_begin, folder, config))
            run = _Sitting(folder, config, questions, policy, optimizer, parts, plan, idle, total, batches, show, say)
            run.go_on()
            world.first(partial(take_length, folder, config, len(chosen)))
            run.make_steps(chosen, within)
            return read_train_run(folder)


@contextmanager
def _ours(folder: Path, config: TrainConfig, questions: int, world: World) -> Iterator[bool]:
    """Lock the folder for this run, in the first process; yield whether the run in it is complete already.

    Where an error comes before the run has begun (see `_begin`), nothing is left that was not there before.
    """
    with ExitStack() as opened:

        def take() -> bool:
            begun = (folder / CONFIG).exists()
            opened.enter_context(run_dir(folder).open(reopen=begun))
            if not begun:
                return False
            remove_partial(folder)
            return is_same(folder, config, questions) and (folder / MANIFEST).exists()

        yield world.first(take)


def _check_questions(trained: AnyPath, dataset: str, questions: QuestionSet) -> None:
    """Check that a run or checkpoint was trained on these questions, by the dataset's hash. Raises ValueError."""
    if dataset != questions.hash:
        raise OutputError(
            f"{trained} was trained on other questions than {questions.path} has now; choose another --out"
        )


def _begin(folder: Path, config: TrainConfig) -> None:
    """Write the configuration, which makes the folder that of a run; once the model is loaded and checked."""
    if not (folder / CONFIG).exists():
        write_text(folder / CONFIG, tomli_w.dumps(as_table(config)))


def _silent(*_told: object) -> None:
    """What all processes but the first tell."""


class _Sitting:
    """What one call adds to a run."""

    def __init__(
        self,
        folder: Path,
        config: TrainConfig,
        questions: QuestionSet,
        policy: Policy,
        optimizer: Optimizer,
        parts: Parts,
        plan: MemoryPlan,
        idle: float,
        total: int,
        batches: int,
        show: Callable[[Step, int], None],
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._config, self._questions = folder, config, questions
        self._policy, self._optimizer, self._parts = policy, optimizer, parts
        self._plan = plan
        self._total, self._batches, self._show, self._say = total, batches, show, say
        self._done, self._asked, self._before = 0, 0, 0.0
        self._last: Step | None = None  # made in this sitting
        self._sound = 0  # the last step whose loss was a number
        self._idle = idle
        self._started = time.monotonic()

    def go_on(self) -> None:
        """Takes up the last checkpoint, where there is one. Raises ValueError where it is of other questions."""
        found = latest(self._folder)
        if found is None:
            if (self._folder / STEPS).exists():
                self._say("there is no checkpoint yet: it begins again with step 1")
            return
        state = restore(self._policy.model, found)
        _check_questions(found, state["hash"], self._questions)
        self._optimizer.load_state_dict(state["optimizer"])
        self._done, self._asked, self._before = step_of(found), state["batches"], state["seconds"]
        self._parts.world.first(partial(link, self._folder, found))
        self._say(f"goes on from {found}: what was made behind it is made again")

    def make_steps(self, chosen: Sequence[int], within: Callable[[int, int], None]) -> None:
        """Makes the steps that are left, and writes down each. Raises ValueError where that cannot go on."""
        refused = lost = 0
        saving = 0.0
        steps = range(self._done + 1, self._total + 1)
        with ExitStack() as open_:
            log = None
            if not self._parts.world.rank:
                track = open_.enter_context(tracking(self._config, self._folder))
                log = open_.enter_context(RunWriter(self._folder, self._done, track))
            earlier = [step for step in read_train_run(self._folder).steps if step.step <= self._done]
            first = earlier[:REFUSED]
            self._sound = max((step.step for step in earlier if _is_sound(step)), default=0)
            trainer = open_.enter_context(
                Trainer(
                    self._config,
                    self._questions,
                    chosen,
                    self._policy,
                    self._optimizer,
                    steps=steps,
                    batches=range(self._asked + 1, self._batches + 1),
                    parts=self._parts,
                    idle=self._idle,
                    within=within,
                )
            )
            stop = open_.enter_context(catch_signals())
            for made in self._telling(trainer):
                step = made.step
                self._done = step.step
                last = replace(step, seconds={**step.seconds, "save": saving}, wall=step.wall + saving)
                self._last = last
                self._sound = last.step if _is_sound(last) else self._sound
                if log is not None:
                    self._write(log, made, last)
                self._show(last, last.step if made.last else self._total)
                first += [last] if last.step <= REFUSED else []
                lost = lost + 1 if len(made.failures) == made.asked else 0
                refused = refused + 1 if last.skipped == NOT_FINITE else 0
                spoilt = refused > 0 and self._sound < last.step and (refused == REFUSED or made.last)
                stops = REFUSED in (lost, refused)
                begun = time.monotonic()
                if last.step == REFUSED and rewards_are_equal(first):
                    self._say(
                        f"in every group of the first {REFUSED} steps all rewards are equal: there is nothing to learn "
                        "from; a longer supervised start, or easier questions (videossr bench probe), would help"
                    )
                every = self._config.log.save_every
                asked = self._parts.world.sum([stop.asked])[0] > 0
                if not spoilt and (asked or stops or made.last or (every and last.step % every == 0)):
                    self._save(last)
                saving = time.monotonic() - begun
                if asked and not made.last:
                    raise KeyboardInterrupt
                if lost == REFUSED:
                    raise DataError(
                        f"step {last.step}: for {REFUSED} steps not one question could be shown: "
                        f"{made.failures[0].error}. {self._kept()}"
                    )
                if spoilt or refused == REFUSED:
                    kept = self._kept_sound() if spoilt else self._kept()
                    raise DataError(f"step {last.step}: the gradient is no number for {refused} steps. {LOWER}. {kept}")
        self._parts.world.first(self._finish)

    def _write(self, log: RunWriter, made: StepResult, step: Step) -> None:
        log.step(step)
        for failure in made.failures:
            log.failure(failure)
        every = self._config.log.samples_every
        if every and (step.step % every == 0 or step.step == 1 or made.last):
            for shown in made.shown:
                log.shown(shown, self._questions.clips(shown.index))

    def _telling(self, trainer: Trainer) -> Iterator[StepResult]:
        """The steps; where one cannot be made, why, and what is kept."""
        try:
            yield from trainer
        except FloatingPointError as error:
            raise DataError(f"{error}: the weights are spoilt. {LOWER}. {self._kept_sound()}") from error
        except ScoringError as error:
            if self._last is not None and self._parts.world.size == 1:  # with others it could not be agreed on
                self._save(self._last)
            raise DataError(f"{error}. {self._kept()}") from error
        except (MemoryError, RuntimeError) as error:
            if out_of_memory(error):
                raise ConfigError(
                    f"memory has ended: go on with --run.recompute=true or --run.decode_groups=1. {self._kept()}"
                ) from error
            if self._parts.world.size == 1:
                raise
            raise DataError(
                f"process {self._parts.world.rank} cannot go on, most likely since another one has ended: {error}. "
                f"{self._kept()}"
            ) from error

    def _kept(self) -> str:
        found = latest(self._folder)
        return f"The last checkpoint is {found}" if found else "There is no checkpoint yet"

    def _kept_sound(self) -> str:
        """Name the last checkpoint whose weights have given a loss that is a number, and let `RUN/model` be that one.

        Step N reads with the weights of checkpoint N - 1.
        """
        found = latest(self._folder, before=self._sound)
        if not self._parts.world.rank:
            (self._folder / MODEL).unlink(missing_ok=True)
            if found:
                link(self._folder, found)
        return f"Its --model.path may be {found}" if found else "There is no checkpoint from before that"

    def _save(self, step: Step) -> None:
        state = {
            "hash": self._questions.hash,
            "batches": step.batches,
            "optimizer": self._optimizer.state_dict(),
            "seconds": self._before + time.monotonic() - self._started,
        }
        card = model_card(self._config, self._questions.hash, step)
        save(
            self._folder,
            step.step,
            self._policy.model,
            self._policy.checkpoint,
            state,
            card,
            keep=self._config.log.keep,
        )

    def _finish(self) -> None:
        parameters = list(self._policy.model.parameters())
        describe = {
            "device": device_name(self._policy.device),
            "dtype": str(self._policy.model.dtype).removeprefix("torch."),
            "family": str(self._policy.checkpoint.config["model_type"]),
            "parameters": sum(each.numel() for each in parameters),
            "trained": sum(each.numel() for each in parameters if each.requires_grad),
            "processes": self._parts.world.size,
            "full forward passes": self._policy.unshared or "none: prefixes are shared",
            "GiB used": round(max((step.memory_gib for step in read_train_run(self._folder).steps), default=0.0), 3),
            "GiB planned": round(self._plan.total / GIB, 3),
        }
        manifest = TrainManifest(
            steps=self._done,
            hash=self._questions.hash,
            questions=str(self._questions.path),
            versions={**versions(()), **installed_versions((), optional=LIBRARIES)},
            describe=describe,
            seconds=round(self._before + time.monotonic() - self._started, 1),
        )
        write_text(self._folder / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")


def _is_sound(step: Step) -> bool:
    """Whether the weights that a step began with have given a loss that is a number."""
    return math.isfinite(step.loss) and step.skipped != NO_ANSWER
