"""Make a training run, from its configuration to its last checkpoint: `videossr train CONFIG --out RUN`.

The files of a run are described in `videossr.training.runs.records`. After a stop or a kill, the same call resumes
from the last checkpoint.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from videossr.errors import ConfigError, DataError, MissingExtraError, OutputError, ScoringError

try:
    import torch  # noqa: F401 (everything below needs it)
except ImportError as missing:
    raise MissingExtraError(f"training needs more libraries: pip install 'videossr[train]' ({missing})") from missing

from videossr.config import flatten, plain
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import is_benchmark, versions
from videossr.engine.checkpoint import device_name, out_of_memory
from videossr.question_set import QuestionSet
from videossr.storage.output_dir import UNFINISHED, local_folder
from videossr.storage.paths import AnyPath, write_text
from videossr.storage.provenance import installed_versions
from videossr.training.batching import set_sizes
from videossr.training.checkpoints.checkpoint import latest, link, model_card, restore, save, step_of
from videossr.training.config import TrainConfig, load_config
from videossr.training.cost.memory import GIB
from videossr.training.loader import QuestionLoader
from videossr.training.mixture import open_data, paths_of, sets_of, shares_of
from videossr.training.parallel import World, join_processes
from videossr.training.plan import RunContext, RunPlan, prepare_run, resolve_plan
from videossr.training.process_checks import check_equal, check_reach, check_shared, weights_fingerprint
from videossr.training.runs.health import REFUSED, RunHealth
from videossr.training.runs.observer import RunObserver, SilentObserver, tracking
from videossr.training.runs.records import MANIFEST, MODEL, STEPS, Step, TrainManifest, TrainRun, read_train_run
from videossr.training.runs.resume import begin_run, claim_run, take_length
from videossr.training.runs.signals import catch_signals
from videossr.training.runs.writer import RunWriter
from videossr.training.trainer import StepResult, Trainer

LIBRARIES = ("torch", "transformers", "accelerate", "peft", "torchao")

SHOWN = 5
"""Questions that cannot be asked, of which the reason is printed before the start."""

LOWER = "Try a lower --optim.lr, or --run.dtype=float32, in a new run"


def train(
    config: str | Path | TrainConfig,
    out: str | AnyPath,
    settings: Mapping[str, object] | None = None,
    *,
    observer: RunObserver | None = None,
) -> TrainRun:
    """Make all steps of a run that are still to be made.

    Args:
        config: name of a shipped recipe, path of a TOML file, or what `load_config` returned.
        out: folder of the run, on this machine.
        settings: values that replace those of a recipe or file, by dotted name: ``{"optim.lr": 1e-6}``.
        observer: receives each step, the progress within it, and sentences for the user.

    Returns:
        The complete run, as its files describe it.

    Raises:
        VideoSSRError: something in the configuration, the data or the model does not fit; or the run cannot go on, and
            then its last checkpoint is named.
        OSError: a file cannot be read or written.
    """
    folder = local_folder(out)
    if not isinstance(config, TrainConfig):
        config = load_config(config, settings)
    elif settings:
        raise ValueError("settings replace values of a recipe or a file; change those of a TrainConfig itself")
    if config.run.engine == "verl":
        raise ConfigError("run.engine is verl: such a run is made by videossr.verl.run.train_with_verl")
    if not config.model.path:
        raise ConfigError("model.path is not set: give --model.path=FOLDER")
    with join_processes() as world, ExitStack() as stack:
        observer = SilentObserver() if observer is None or world.rank else observer
        questions = open_data(config.data)
        for one in sets_of(questions):
            if isinstance(one, VideoSSRDataset) and is_benchmark(one.manifest):
                observer.on_message(f"{one.path} is a benchmark: it cannot measure a model that was trained on it")
        plan = resolve_plan(config, questions, world)
        check_equal(world, partial(_facts, questions, plan))
        check_reach(world, plan.device)
        claim = claim_run(folder, config, plan.length, len(plan.chosen))
        if world.on_main(lambda: stack.enter_context(claim)):
            return _complete_run(folder, questions, observer)
        check_shared(world, folder / UNFINISHED)
        _announce(config, plan, questions, observer)
        context = prepare_run(folder, config, plan, questions, observer, world)
        world.on_main(partial(begin_run, folder, config))
        session = Session(context)
        session.resume()
        world.on_main(partial(take_length, folder, config, plan.length, len(plan.chosen)))
        session.make_steps()
        return read_train_run(folder)


def _versions() -> dict[str, str]:
    """Return the versions of the libraries that decide the frames of a run and its weights."""
    return {**versions(()), **installed_versions((), optional=LIBRARIES)}


def _facts(questions: QuestionSet, plan: RunPlan) -> dict[str, str]:
    """Return what must be the same in all processes of a run."""
    return {**_versions(), "dataset": questions.hash, "weights": weights_fingerprint(plan.checkpoint.folder)}


def _announce(config: TrainConfig, plan: RunPlan, questions: QuestionSet, observer: RunObserver) -> None:
    """Tell the observer how long the run is, and what memory it will need."""
    length = plan.length
    bound = "at most " if length.batches < length.steps * config.batches_per_step else ""
    steps = f"{bound}{length.steps} steps of {config.run.batch}"
    low, high = config.data.share
    why = f" (data.share {low:g} to {high:g})" if (low, high) != (0, 1) else ""
    observer.on_message(f"{len(plan.chosen)} of {len(questions)} questions{why}, {steps}, on {plan.device}")
    if shares := shares_of(questions, config.data.sets):
        sizes = set_sizes(plan.chosen, shares)
        known = Counter(shares.names[index] for index in plan.chosen)
        parts = (f"{name} {size} (of {known[name]})" for name, size in sizes.items())
        observer.on_message(f"questions a pass, by set: {', '.join(parts)}")
    if unreadable := list(plan.unreadable.values()):
        observer.on_message(f"questions that cannot be asked and are left out: {len(unreadable)}")
        for reason in unreadable[:SHOWN]:
            observer.on_message(reason)
    observer.on_message(
        f"memory for groups of {plan.load.answers} answers behind {plan.load.prompt} tokens, as planned:"
    )
    for line in plan.memory.table().splitlines():  # each by itself, since a message is printed on one line
        observer.on_message(line)


def _complete_run(folder: Path, questions: QuestionSet, observer: RunObserver) -> TrainRun:
    """Return a run that is complete already. Raises OutputError where it was trained on other questions."""
    done = read_train_run(folder)
    if done.manifest is not None:
        _check_questions(folder, done.manifest.hash, questions)
    observer.on_message(f"{folder} is complete: nothing is left to do")
    return done


def _check_questions(trained: AnyPath, dataset: str, questions: QuestionSet) -> None:
    """Raise OutputError where a run or checkpoint was trained on other questions, by the dataset's hash."""
    if dataset != questions.hash:
        raise OutputError(
            f"{trained} was trained on other questions than there are in {paths_of(questions)} now; "
            "choose another --out"
        )


@dataclass
class Session:
    """Make the steps of a run that are left, write them down, and save checkpoints.

    Attributes:
        context: of the run.
        step: the last step that was made, 0 before the first.
        batches: of questions that were asked so far.
        seconds: of earlier sessions of the run.
        last: the last step of this session.
    """

    context: RunContext
    step: int = 0
    batches: int = 0
    seconds: float = 0.0
    last: Step | None = None
    health: RunHealth = field(default_factory=RunHealth)
    _started: float = field(default_factory=time.monotonic)

    @property
    def _world(self) -> World:
        return self.context.parallel.world

    def resume(self) -> None:
        """Restore the last checkpoint, where there is one. Raises OutputError where it is of other questions."""
        context = self.context
        checkpoint = latest(context.folder)
        if checkpoint is None:
            if (context.folder / STEPS).exists():
                context.observer.on_message("there is no checkpoint yet: it begins again with step 1")
            return
        state = restore(context.policy.model, checkpoint)
        _check_questions(checkpoint, state["hash"], context.questions)
        context.optimizer.load_state_dict(state["optimizer"])
        self.step = step_of(checkpoint)
        self.batches = state["batches"]
        self.seconds = state["seconds"]
        self._world.on_main(partial(link, context.folder, checkpoint))
        context.observer.on_message(f"goes on from {checkpoint}: what was made behind it is made again")

    def make_steps(self) -> None:
        """Make the steps that are left. Raises DataError or ConfigError where that cannot go on."""
        context = self.context
        with ExitStack() as stack:
            writer = None if self._world.rank else self._open_writer(stack)
            earlier = [step for step in read_train_run(context.folder).steps if step.step <= self.step]
            self.health = RunHealth.after(earlier)
            trainer = self._open_trainer(stack)
            stop = stack.enter_context(catch_signals("stopping after this step; once more stops at once"))
            saving = 0.0
            for made in self._explain_failures(trainer):
                last = replace(made.step, seconds={**made.step.seconds, "save": saving}, wall=made.step.wall + saving)
                made = replace(made, step=last)
                self.step = last.step
                self.last = last
                if writer is not None:
                    self._write(writer, made)
                context.observer.on_step(last, last.step if made.last else context.plan.length.steps)
                self.health.record(last, asked=made.asked, failed=len(made.failures), is_last=made.last)
                saving = self._save_if_due(made, stop_asked=self._world.sum([stop.asked])[0] > 0)
                self._raise_if_hopeless(made)
        self._world.on_main(self._finish)

    def _open_writer(self, stack: ExitStack) -> RunWriter:
        """Open the files of the run, and the trackers."""
        context = self.context
        cpu = context.config.run.device == "cpu"
        track = tracking(context.config.log, context.folder, flatten(plain(context.config)), cpu=cpu)
        return stack.enter_context(RunWriter(context.folder, self.step, stack.enter_context(track)))

    def _open_trainer(self, stack: ExitStack) -> Trainer:
        """Begin to read questions ahead, and make the trainer."""
        context, config = self.context, self.context.config
        loader = QuestionLoader(
            context.questions,
            context.plan.chosen,
            context.policy,
            config.run,
            config.data,
            batches=range(self.batches + 1, context.plan.length.batches + 1),
            batches_per_step=config.batches_per_step,
            answer_tokens=config.grpo.max_tokens if config.run.method == "grpo" else None,
            world=self._world,
        )
        return Trainer(
            context.policy,
            context.optimizer,
            stack.enter_context(loader),
            config.run,
            config.grpo,
            steps=range(self.step + 1, context.plan.length.steps + 1),
            parallel=context.parallel,
            idle_gib=context.idle_gib,
            on_group=context.observer.on_group,
        )

    def _write(self, writer: RunWriter, made: StepResult) -> None:
        """Write down a step, its failures, and sample answers where they are due."""
        writer.step(made.step)
        for failure in made.failures:
            writer.failure(failure)
        every = self.context.config.log.samples_every
        if every and (made.step.step % every == 0 or made.step.step == 1 or made.last):
            for shown in made.shown:
                writer.shown(shown, self.context.questions.clips(shown.index))

    def _save_if_due(self, made: StepResult, *, stop_asked: bool) -> float:
        """Save a checkpoint where it is due; return the seconds it took. Raises KeyboardInterrupt if asked to stop."""
        begun = time.monotonic()
        every = self.context.config.log.save_every
        if self.health.rewards_never_differed:
            self.context.observer.on_message(
                f"in every group of the first {REFUSED} steps all rewards are equal: there is nothing to learn "
                "from; a longer supervised start, or easier questions (videossr bench probe), would help"
            )
        is_due = stop_asked or self.health.is_hopeless or made.last or (every and made.step.step % every == 0)
        if is_due and not self.health.is_spoilt:
            self._save(made.step)
        if stop_asked and not made.last:
            raise KeyboardInterrupt
        return time.monotonic() - begun

    def _raise_if_hopeless(self, made: StepResult) -> None:
        """Raise DataError where nothing could be shown, or the gradient was no number, in too many steps in a row."""
        health = self.health
        if health.lost == REFUSED:
            raise DataError(
                f"step {self.step}: for {REFUSED} steps not one question could be shown: "
                f"{made.failures[0].error}. {self._kept()}"
            )
        if health.is_spoilt or health.is_hopeless:
            kept = self._kept_sound() if health.is_spoilt else self._kept()
            raise DataError(f"step {self.step}: the gradient is no number for {health.refused} steps. {LOWER}. {kept}")

    def _explain_failures(self, trainer: Trainer) -> Iterator[StepResult]:
        """Yield the steps; where one cannot be made, say why, and which checkpoint there is."""
        size = self._world.size
        try:
            yield from trainer
        except FloatingPointError as error:
            raise DataError(f"{error}: the weights are spoilt. {LOWER}. {self._kept_sound()}") from error
        except ScoringError as error:
            if self.last is not None and size == 1:  # with others it could not be agreed on
                self._save(self.last)
            raise DataError(f"{error}. {self._kept()}") from error
        except (MemoryError, RuntimeError) as error:
            if out_of_memory(error):
                raise ConfigError(
                    f"memory has ended: go on with --run.recompute=true or --run.decode_groups=1. {self._kept()}"
                ) from error
            if size == 1:
                raise
            raise DataError(
                f"process {self._world.rank} cannot go on, most likely since another one has ended: {error}. "
                f"{self._kept()}"
            ) from error

    def _kept(self) -> str:
        """Name the last checkpoint."""
        checkpoint = latest(self.context.folder)
        return f"The last checkpoint is {checkpoint}" if checkpoint else "There is no checkpoint yet"

    def _kept_sound(self) -> str:
        """Name the last checkpoint whose weights have given a loss that is a number, and let `RUN/model` be that one.

        Step N reads with the weights of checkpoint N - 1.
        """
        folder = self.context.folder
        checkpoint = latest(folder, before=self.health.sound)
        if not self._world.rank:
            (folder / MODEL).unlink(missing_ok=True)
            if checkpoint:
                link(folder, checkpoint)
        return f"Its --model.path may be {checkpoint}" if checkpoint else "There is no checkpoint from before that"

    def _save(self, step: Step) -> None:
        """Save a checkpoint after a step. All processes call this."""
        context = self.context
        state = {
            "hash": context.questions.hash,
            "batches": step.batches,
            "optimizer": context.optimizer.state_dict(),
            "seconds": self.seconds + time.monotonic() - self._started,
        }
        card = model_card(context.config, context.questions.hash, step)
        policy, keep = context.policy, context.config.log.keep
        save(context.folder, step.step, policy.model, policy.checkpoint, state, card, keep=keep)

    def _finish(self) -> None:
        """Write the manifest, which makes the run complete."""
        context = self.context
        weights = list(context.policy.model.parameters())
        used = max((step.memory_gib or 0.0 for step in read_train_run(context.folder).steps), default=0.0)
        describe = {
            "device": device_name(context.plan.device),
            "dtype": str(context.policy.model.dtype).removeprefix("torch."),
            "family": str(context.policy.checkpoint.config["model_type"]),
            "parameters": sum(weight.numel() for weight in weights),
            "trained": sum(weight.numel() for weight in weights if weight.requires_grad),
            "processes": self._world.size,
            "full forward passes": context.policy.unshared or "none: prefixes are shared",
            "GiB used": round(used, 3),
            "GiB planned": round(context.plan.memory.total / GIB, 3),
        }
        manifest = TrainManifest(
            steps=self.step,
            hash=context.questions.hash,
            questions=paths_of(context.questions),
            versions=_versions(),
            describe=describe,
            seconds=round(self.seconds + time.monotonic() - self._started, 1),
        )
        write_text(context.folder / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")
