"""Read what an exported script would run, without what it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

TRAINER = ["-m", "videossr.verl.versions", "-m", "verl.trainer.main_ppo"]
"""Words of the two commands of `videossr export verl`, up to where settings begin."""


def script_words(script: Path, model: Path | str, *more: str) -> list[str]:
    """Return the settings that a script of `videossr export verl` gives verl."""
    calls = script_calls(script, "python", model, *more)
    words = [word for called, _ in calls for word in called]
    assert words[: len(TRAINER)] == TRAINER
    return words[len(TRAINER) :]


def script_calls(script: Path, program: str, model: Path | str, *more: str) -> list[tuple[list[str], dict[str, str]]]:
    """Return the words with which a script calls a program, and the environment variables that it sets, of each call.

    Args:
        script: the script.
        program: which is replaced by one that writes down how it was called.
        model: the variable MODEL of the script.
        more: words given to the script.
    """
    with tempfile.TemporaryDirectory() as folder:
        stub, calls = Path(folder) / program, Path(folder) / "calls.jsonl"
        stub.write_text(
            f"#!{sys.executable}\nimport json, os, sys\n"
            f"open({str(calls)!r}, 'a').write(json.dumps([sys.argv[1:], dict(os.environ)]) + '\\n')\n"
        )
        stub.chmod(0o755)
        environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "MODEL": str(model)}
        subprocess.run(["/bin/sh", str(script), *more], capture_output=True, text=True, check=True, env=environment)
        called = [json.loads(line) for line in calls.read_text("utf-8").splitlines()]
    same = environment.items()
    return [(words, dict(variables.items() - same)) for words, variables in called]
