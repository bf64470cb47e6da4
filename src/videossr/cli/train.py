"""`videossr train`: train a checkpoint on questions whose answers are known."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from cyclopts import App

from videossr.cli.console import console
from videossr.cli.settings import Setting, parse_settings
from videossr.cli.train_table import Live
from videossr.errors import ConfigError
from videossr.training.config import TrainConfig, keys, load_config, names
from videossr.training.runs.records import TrainRun

app = App(
    name="train",
    help_epilogue="Example: videossr train train-nano --model.path=demo/tiny --data.path=demo/dataset "
    "--run.steps=1 --out demo/runs/train\n\n"
    "With verl, in an environment that has it and GPUs: videossr train train-paper --data.path=demo/dataset "
    "--engine verl --gpus 8 --out demo/runs/verl\n\n"
    f"Recipes: {', '.join(names())}.\n\nKeys, each as --optim.lr=1e-6, with their "
    "defaults (a recipe may have others):\n\n" + "\n\n".join(f"{name}: {words}" for name, words in keys().items()),
)

_OWN = "verl."
"""Begins the names of settings that are for verl itself."""

Engine = Literal["videossr", "verl"]


@app.default
def command(
    config: str,
    /,
    *settings: Setting,
    out: str,
    engine: Engine | None = None,
    ray: str | None = None,
    nodes: int | None = None,
    gpus: int | None = None,
) -> None:
    """Train a checkpoint with GRPO, or with supervision, on datasets, labelled rows, or a mixture of them.

    A run that was stopped continues from its last checkpoint when the same command is run again.

    Args:
        config: Name of a shipped recipe, or the path of a TOML file.
        settings: A key of the configuration and its value, such as `--optim.lr=1e-6`. With verl also a setting of its
            own that the configuration does not decide, such as
            `--verl.actor_rollout_ref.rollout.gpu_memory_utilization=0.4`.
        out: Folder of the run.
        engine: Who makes the steps: our own trainer, or verl, which must be installed. The same as --run.engine.
        ray: For verl, address of the Ray cluster to train on, or "auto"; by default verl starts Ray on this machine.
        nodes: For verl, machines to train on; by default 1.
        gpus: For verl, GPUs of each machine; by default 8.
    """
    given = parse_settings(settings, command, "--optim.lr=1e-6")
    own = {name.removeprefix(_OWN): text for name, text in given.items() if name.startswith(_OWN)}
    ours = {name: text for name, text in given.items() if not name.startswith(_OWN)}
    asked = load_config(config, ours if engine is None else ours | {"run.engine": engine})
    if asked.run.engine == "verl":
        done = _train_with_verl(asked, out, ray, 1 if nodes is None else nodes, 8 if gpus is None else gpus, own)
    else:
        options = [name for name, value in (("ray", ray), ("nodes", nodes), ("gpus", gpus)) if value is not None]
        if options or own:
            wrong = options[0] if options else f"{_OWN}{next(iter(own))}"
            raise ConfigError(f"--{wrong} is for --engine verl; our own trainer runs on several cards with torchrun")
        done = _train(asked, out)
    if int(os.environ.get("RANK", "0")):  # torchrun's name for which of several processes this is
        return
    last = done.steps[-1]
    if done.manifest is not None and "GiB planned" in done.manifest.describe:
        planned, used = (done.manifest.describe[name] for name in ("GiB planned", "GiB used"))
        console.print(f"peak memory: {used:.2f} GiB (on a CPU, of the whole process), {planned:.2f} planned")
    trained = f"the model is {out}/model" if (done.path / "model").exists() else "its checkpoints have adapters"
    console.print(f"{last.step} steps; {trained}. Look at the run: videossr report {out} --out NEW.html")


def _train(config: TrainConfig, out: str) -> TrainRun:
    """Train with our own trainer."""
    from videossr.training.session import train  # torch is slow to import, and --help needs none of it

    with Live(console) as live:
        return train(config, out, observer=live)


def _train_with_verl(
    config: TrainConfig, out: str, ray: str | None, nodes: int, gpus: int, own: Mapping[str, str]
) -> TrainRun:
    """Train with verl."""
    from videossr.export.trainer import Cluster
    from videossr.verl.run import train_with_verl

    with Live(console) as live:
        return train_with_verl(config, out, Cluster(nodes, gpus), live, ray=ray, own=own)
