"""Try the checks of several processes: `torchrun … tests/helpers/process_checks.py FOLDER OUT`.

Each process writes to OUT.RANK what the checks say, by name; an empty sentence where they pass.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from videossr.errors import VideoSSRError
from videossr.training.parallel import join_processes
from videossr.training.process_checks import check_equal, check_reach, check_shared


def sentence(check: Callable[..., None], *arguments: object, **settings: object) -> str:
    """Return what a check says, in words."""
    try:
        check(*arguments, **settings)
    except VideoSSRError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main(folder: Path, out: str) -> None:
    with join_processes() as world:
        own = folder / f"of-{world.rank}"
        own.mkdir()
        same = {"numpy": "2.0", "dataset": "ab"}
        said = {
            "same": sentence(check_equal, world, lambda: same),
            "other": sentence(check_equal, world, lambda: {**same, "dataset": "ab" if world.rank else "cd"}),
            "missing": sentence(check_equal, world, lambda: {**same, "peft": "1.0"} if world.rank else same),
            "reach": sentence(check_reach, world, torch.device("cpu")),
            "shared": sentence(check_shared, world, folder),
            "apart": sentence(check_shared, world, own, patience=0.5),
        }
    Path(f"{out}.{world.rank}").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
