"""Read what an exported script would run, without what it runs."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

TRAINER = ["-m", "videossr.verl.versions", "-m", "verl.trainer.main_ppo"]
"""Words of the two commands of `videossr export verl`, up to where settings begin."""


def script_words(script: Path, model: Path | str, *more: str) -> list[str]:
    """Return the settings that a script of `videossr export verl` gives verl.

    It runs with a python that prints its arguments, one a line.
    """
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "python"
        python.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
        python.chmod(0o755)
        environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "MODEL": str(model)}
        command = ["/bin/sh", str(script), *more]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    words = done.stdout.splitlines()
    assert words[: len(TRAINER)] == TRAINER
    return words[len(TRAINER) :]
