"""`videossr train`: train a checkpoint on a dataset."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import App, Parameter

from videossr.cli.console import console
from videossr.cli.train_table import Live
from videossr.errors import ConfigError
from videossr.training.config import keys, load_config, names

app = App(
    name="train",
    help_epilogue="Example: videossr train train-nano --model.path=demo/tiny --data.path=demo/dataset "
    "--run.steps=1 --out demo/runs/train\n\n"
    f"Recipes: {', '.join(names())}.\n\nKeys, each as --optim.lr=1e-6, with their "
    "defaults (a recipe may have others):\n\n" + "\n\n".join(f"{name}: {words}" for name, words in keys().items()),
)


@app.default
def command(
    config: str,
    /,
    *overrides: Annotated[str, Parameter(allow_leading_hyphen=True)],
    out: str,
) -> None:
    """Train a checkpoint by GRPO, or with supervision, on a dataset whose answers are known.

    A run that was stopped goes on behind its last checkpoint when the same command is run again.

    Args:
        config: Name of a shipped recipe, or the path of a TOML file.
        overrides: A key of the configuration and its value, such as `--optim.lr=1e-6`.
        out: Folder of the run.
    """
    from videossr.training.session import train  # torch is slow to import, and --help needs none of it

    asked = load_config(config, dict(map(_assignment, overrides)))
    with Live(console) as live:
        done = train(asked, out, observer=live)
    if int(os.environ.get("RANK", "0")):  # torchrun's name for which of several processes this is
        return
    last = done.steps[-1]
    if done.manifest is not None:
        planned, used = (done.manifest.describe[name] for name in ("GiB planned", "GiB used"))
        console.print(f"peak memory: {used:.2f} GiB, {planned:.2f} planned")
    console.print(f"{last.step} steps; the model is {out}/model. Look at the run: videossr report {out} --out NEW.html")


def _assignment(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not name.startswith("--") or not equals:
        raise ConfigError(f"{word}: expected --NAME=VALUE, such as --optim.lr=1e-6")
    return name.removeprefix("--"), value
