"""Train with verl from a configuration of `videossr train`, and record the run as our own trainer does.

    RUN/config.toml, steps.jsonl, manifest.json, model      as `videossr.training.runs.records` describes them
    RUN/verl/train.parquet, agent_loop.yaml                 the rows
    RUN/verl/state.json                                     what the rows are of, and the seconds of earlier sessions
    RUN/verl/settings.txt                                   the settings that verl was started with, one a line
    RUN/verl/log.txt                                        what verl printed
    RUN/verl/steps.jsonl                                    what verl logged of the steps of the last session
    RUN/verl/checkpoints/                                   of verl, from which it goes on
    RUN/verl/hydra/                                         the configuration that Hydra composed of the settings

Exercised by `videossr train CONFIG --engine verl --out RUN`, in an environment that has verl.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol

import tomli_w

from videossr.config import changes, plain
from videossr.dataset.manifest import versions
from videossr.errors import ConfigError, OutputError, WorkerError
from videossr.export.trainer import Cluster, check_shares
from videossr.export.verl import chosen_rows, longest_prompt, write_rows
from videossr.question_set import QuestionSet, open_questions
from videossr.storage.identifiers import Count, Number, Sha256
from videossr.storage.jsonl import read_json
from videossr.storage.output_dir import OutputDir, local_folder
from videossr.storage.paths import AnyPath, write_text
from videossr.storage.provenance import installed_versions
from videossr.training.config import TrainConfig
from videossr.training.runs.comparison import LENGTH, decisive
from videossr.training.runs.records import CONFIG, MANIFEST, MODEL, Step, TrainManifest, TrainRun, read_train_run
from videossr.training.runs.signals import catch_signals
from videossr.training.runs.writer import RunWriter
from videossr.verl.process import run_module
from videossr.verl.rules import ROLLOUT
from videossr.verl.settings import Rows, check_own, settings_of, total_steps, word
from videossr.verl.steps import LogReader, step_of
from videossr.verl.translation import translate
from videossr.verl.versions import MADE_FOR, check_environment, check_installed

FOLDER = "verl"
LOG, STEPS, SETTINGS, STATE = "log.txt", "steps.jsonl", "settings.txt", "state.json"
CHECKPOINTS, LATEST = "checkpoints", "latest_checkpointed_iteration.txt"

LIBRARIES = ("verl", "vllm", "torch", "transformers", "ray", "peft")


class Watcher(Protocol):
    """What receives the progress: a part of `videossr.training.runs.observer.RunObserver`."""

    def on_step(self, step: Step, total: int) -> None:
        """Receive the figures of a finished step, and how many steps the run has."""

    def on_message(self, text: str) -> None:
        """Receive a sentence for the user."""


@dataclass(frozen=True, slots=True)
class State:
    """What the rows of a run were written of.

    Attributes:
        hash: of the questions.
        rows: how many there are.
        longest: tokens of a prompt, at most.
        cards: GPUs over which checkpoints are spread.
        own: settings of verl that were given, in any session, as `name=value`.
        seconds: of all sessions so far.
    """

    hash: Sha256
    rows: Count
    longest: Count
    cards: Count
    own: tuple[str, ...] = ()
    seconds: Number = 0.0


def train_with_verl(
    config: TrainConfig,
    out: str | AnyPath,
    cluster: Cluster,
    observer: Watcher,
    *,
    ray: str | None = None,
    own: Mapping[str, str] | None = None,
) -> TrainRun:
    """Make all steps of a run that are still to be made, with verl.

    Args:
        config: of the run.
        out: its folder, on this machine, and under the same path on all nodes.
        cluster: the machines.
        observer: receives each step, and sentences for the user.
        ray: address of a Ray cluster that verl is to use; by default it starts one on this machine.
        own: settings of verl that the configuration does not decide, by their names there, as Hydra reads them.

    Returns:
        The complete run, as its files describe it.

    Raises:
        MissingExtraError: verl is not installed here.
        VideoSSRError: a setting, the data or the environment does not fit, or verl has failed.
        KeyboardInterrupt: this process was asked to stop; verl has ended.
        OSError: a file cannot be read or written.
    """
    own = own or {}
    folder = local_folder(out).absolute()
    config = replace(config, run=replace(config.run, engine="verl"))
    translation = translate(config)
    if not config.model.path or not config.data.path:
        unset = "model.path" if not config.model.path else "data.path"
        raise ConfigError(f"{unset} is not set: give --{unset}=FOLDER")
    check_own(own, translation)
    check_installed()
    check_environment(own.get(f"{ROLLOUT}.name", "vllm"))
    if cluster.nodes > 1 and ray is None and "RAY_ADDRESS" not in os.environ:
        raise ConfigError(
            f"--nodes {cluster.nodes} needs a Ray cluster of them: name it with --ray ADDRESS or --ray auto"
        )
    questions = open_questions(config.data.path, corpus=config.data.corpus, anywhere=config.data.anywhere)
    chosen = chosen_rows(questions, config)
    check_shares(config, cluster, len(chosen), "verl")
    begun = (folder / CONFIG).exists()
    output = OutputDir(folder, "train", "run")
    with output.open(reopen=begun):
        run = _Run(folder, config, questions, cluster, total_steps(config, len(chosen)), observer)
        if begun and run.is_complete(output):
            observer.on_message(f"{folder} is complete: nothing is left to do")
            return read_train_run(folder)
        for note in translation.notes:
            observer.on_message(note)
        run.write_rows(chosen, own)
        model = Path(config.model.path)
        settings = settings_of(config, translation, cluster, run.rows, str(run.home))
        if model.exists():
            settings[f"{ROLLOUT.rpartition('.')[0]}.model.path"] = str(model.absolute())
        words = [*(word(name, value) for name, value in settings.items()), *(f"{name}={own[name]}" for name in own)]
        write_text(folder / CONFIG, tomli_w.dumps(plain(config)))
        run.make_steps(words, {} if ray is None else {"RAY_ADDRESS": ray})
        run.finish()
        return read_train_run(folder)


@dataclass
class _Run:
    """A run in its folder, while it is made."""

    folder: Path
    config: TrainConfig
    questions: QuestionSet
    cluster: Cluster
    total: int
    observer: Watcher
    _begun: float = field(default_factory=time.monotonic)

    @property
    def home(self) -> Path:
        return self.folder / FOLDER

    @property
    def state(self) -> State | None:
        return read_json(State, self.home / STATE)

    @property
    def rows(self) -> Rows:
        state = self._known_state()
        return Rows(state.rows, state.longest)

    @property
    def saved(self) -> int:
        """The step of the checkpoint from which verl goes on; 0 where there is none."""
        try:
            step = int((self.home / CHECKPOINTS / LATEST).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return 0
        return step if self._checkpoint(step).is_dir() else 0

    def _checkpoint(self, step: int) -> Path:
        return self.home / CHECKPOINTS / f"global_step_{step}"

    def _known_state(self) -> State:
        if (state := self.state) is None:
            raise OutputError(f"{self.home / STATE} is missing: choose another --out")
        return state

    def is_complete(self, output: OutputDir) -> bool:
        """Tell whether the run in the folder is complete. Raises OutputError where another one is asked for."""
        recorded = read_train_run(self.folder)
        old, new = decisive(recorded.config), decisive(self.config)
        different = {name for name in {**old, **new} if old.get(name) != new.get(name)}
        if different and (not LENGTH.issuperset(different) or self.config.optim.schedule != "constant"):
            output.refuse_differences(changes(old, new))
        state = self.state
        if state is not None and state.hash != self.questions.hash:
            raise OutputError(
                f"{self.folder} was trained on other questions than {self.questions.path} has now; choose another --out"
            )
        if self.saved > self.total:
            raise OutputError(
                f"{self.folder} holds a run that has made {self.saved} steps, more than are asked for now"
            )
        if self.saved and state is not None and state.cards != self.cluster.cards:
            raise OutputError(
                f"the checkpoints in {self.home} are spread over {state.cards} GPUs, and {self.cluster.cards} are "
                "asked for now: verl goes on with as many as before"
            )
        if recorded.manifest is not None and recorded.manifest.steps == self.total:
            return True
        (self.folder / MANIFEST).unlink(missing_ok=True)
        return False

    def write_rows(self, chosen: list[int], own: Mapping[str, str]) -> None:
        """Write the rows, and what they are of, unless they are there; and the settings of verl that are new."""
        state = self.state
        self.home.mkdir(exist_ok=True)
        if state is None:
            state = State(self.questions.hash, len(chosen), longest_prompt(self.questions, chosen), self.cluster.cards)
        write_rows(self.questions, chosen, self.home, self.config)
        given = dict.fromkeys((*state.own, *(f"{name}={value}" for name, value in own.items())))
        self._write_state(replace(state, cards=self.cluster.cards, own=tuple(given)))

    def make_steps(self, words: list[str], environment: Mapping[str, str]) -> None:
        """Let verl make the steps that are left, and record them.

        Raises:
            KeyboardInterrupt: this process was asked to stop.
            WorkerError: verl has failed.
        """
        if self.saved == self.total:
            with self._writer():  # for steps that verl made after this process was killed
                return
        if self.saved:
            self.observer.on_message(f"goes on from step {self.saved}: what was made behind it is made again")
        write_text(self.home / SETTINGS, "\n".join([*words, ""]))
        log = self.home / LOG
        self.observer.on_message(
            f"verl makes {self.total} steps on {self.cluster.nodes} x {self.cluster.gpus} GPUs; its output is in {log}"
        )
        with ExitStack() as stack:
            writer = stack.enter_context(self._writer())
            stop = stack.enter_context(catch_signals("stopping verl"))
            stack.callback(self._add_seconds)
            new_steps = LogReader(self.home / STEPS)

            def watch() -> bool:
                for number, logged in new_steps():
                    step = step_of(number, logged, self.config, self._known_state().rows)
                    writer.step(step)
                    self.observer.on_step(step, self.total)
                return stop.asked

            try:
                run_module("verl.trainer.main_ppo", words, log, environment, watch)
            except WorkerError as error:
                raise WorkerError(f"{error}\n{self._kept()}") from error
        if self.saved != self.total:
            raise WorkerError(
                f"verl has ended, and its last checkpoint is of step {self.saved} of {self.total}: see {log}"
            )

    def _writer(self) -> RunWriter:
        """Open the files of the run, with the steps up to the checkpoint; verl begins a new log."""
        old = self.home / STEPS
        made = {step.step for step in read_train_run(self.folder).steps}
        missed = [
            step_of(number, logged, self.config, self._known_state().rows)
            for number, logged in LogReader(old)()
            if number <= self.saved and number not in made
        ]
        old.unlink(missing_ok=True)
        writer = RunWriter(self.folder, self.saved)
        for step in missed:  # this process was killed, and verl went on
            writer.step(step)
        return writer

    def _kept(self) -> str:
        if not self.saved:
            return "There is no checkpoint yet: the same command begins again"
        return f"The same command goes on from its checkpoint of step {self.saved}"

    def _add_seconds(self) -> None:
        state = self._known_state()
        self._write_state(replace(state, seconds=round(state.seconds + time.monotonic() - self._begun, 1)))
        self._begun = time.monotonic()

    def _write_state(self, state: State) -> None:
        write_text(self.home / STATE, json.dumps(asdict(state), indent=1) + "\n")

    def finish(self) -> None:
        """Merge the last checkpoint into a model, and write the manifest, which makes the run complete."""
        state = self._known_state()
        self._merge()
        describe = {
            "trainer": f"verl {MADE_FOR['verl']}",
            "nodes": self.cluster.nodes,
            "GPUs a node": self.cluster.gpus,
        }
        if state.own:
            describe["settings of verl"] = " ".join(state.own)
        manifest = TrainManifest(
            steps=self.total,
            hash=state.hash,
            questions=str(self.questions.path),
            versions={**versions(()), **installed_versions((), optional=LIBRARIES)},
            describe=describe,
            seconds=state.seconds,
        )
        write_text(self.folder / MANIFEST, json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n")

    def _merge(self) -> None:
        """Let verl merge the last checkpoint; adapters stay beside the model, which is then not that of the run."""
        adapters = self.config.model.lora is not None
        target = self.home / "merged" if adapters else self.folder / MODEL
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        self.observer.on_message(f"verl merges its checkpoint of step {self.total} into {target}")
        words = ["merge", "--backend", "fsdp", "--local_dir", str(self._checkpoint(self.total) / "actor")]
        run_module("verl.model_merger", [*words, "--target_dir", str(partial)], self.home / LOG, {})
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
