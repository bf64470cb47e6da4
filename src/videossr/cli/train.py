"""`videossr train`: train a checkpoint on questions whose answers are known."""

from __future__ import annotations

import os

from cyclopts import App

from videossr.cli.console import console
from videossr.cli.settings import Setting, parse_settings
from videossr.cli.train_table import Live
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
    *settings: Setting,
    out: str,
) -> None:
    """Train a checkpoint with GRPO, or with supervision, on datasets, labelled rows, or a mixture of them.

    A run that was stopped continues from its last checkpoint when the same command is run again.

    Args:
        config: Name of a shipped recipe, or the path of a TOML file.
        settings: A key of the configuration and its value, such as `--optim.lr=1e-6`.
        out: Folder of the run.
    """
    from videossr.training.session import train  # torch is slow to import, and --help needs none of it

    asked = load_config(config, parse_settings(settings, command, "--optim.lr=1e-6"))
    with Live(console) as live:
        done = train(asked, out, observer=live)
    if int(os.environ.get("RANK", "0")):  # torchrun's name for which of several processes this is
        return
    last = done.steps[-1]
    if done.manifest is not None:
        planned, used = (done.manifest.describe[name] for name in ("GiB planned", "GiB used"))
        console.print(f"peak memory: {used:.2f} GiB, {planned:.2f} planned")
    console.print(f"{last.step} steps; the model is {out}/model. Look at the run: videossr report {out} --out NEW.html")
