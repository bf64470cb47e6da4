"""Run training jobs in the processes of one group: `torchrun … tests/helpers/distributed.py JOBS`.

JOBS is a JSON list of runs: {"config": TOML file, "out": folder}. Where "of" names another run, `out` begins as a copy
of that run after its first step.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from videossr.training.config import load_config
from videossr.training.parallel import World, join_processes
from videossr.training.session import train


def rewind(run: Path, to: Path) -> None:
    """Copy a run as if it had been killed after its first checkpoint, which must be that of the first step."""
    shutil.copytree(run, to, symlinks=True)
    (to / "manifest.json").unlink()
    for checkpoint in (to / "checkpoints").iterdir():
        if checkpoint.name != "step-000001":
            shutil.rmtree(checkpoint)


def main(jobs: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    with join_processes() as world:
        for job in jobs:
            out = Path(job["out"])
            if "of" in job:
                world.on_main(lambda job=job, out=out: rewind(Path(job["of"]), out))  # type: ignore[misc]
            train(load_config(job["config"]), out)
            assert World().size == world.size == 2


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
