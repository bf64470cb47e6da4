"""Fixtures that run scripts with other libraries in side environments.

`make integration` makes `.side/<name>` from `requirements/side/<name>.lock`. A script of `side/` runs there: it reads a
JSON question from its standard input and writes a JSON answer to the file that it is given; libraries may print.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from videossr.prompt.qwen3_vl import Layout

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Release:
    """A release of transformers.

    Attributes:
        version: the first two numbers.
        environment: a side environment that has it, and torchvision.
        layout: of prompts, as its processor writes them.
    """

    version: str
    environment: str
    layout: Layout

    def __str__(self) -> str:
        return self.version


RELEASES = (
    Release("4.57", "transformers_4_57", "bare"),
    Release("5.9", "verl", "bare"),
    Release("5.17", "transformers_5_17", "wrapped"),
    Release("5.23", "serve", "wrapped"),
    Release("5.24", "transformers_5_24", "wrapped"),
)

MINUTES = 10
"""How long a script may take; a decoder that hangs must not hang the tests."""

Ask: TypeAlias = Callable[..., Any]


@pytest.fixture(scope="session")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """Run a script in a side environment: `ask("transformers_5_24", "prompt.py", question)` returns its answer."""

    def run_script(name: str, script: str, question: object) -> Any:
        python = ROOT / ".side" / name / "bin" / "python"
        if not python.exists():
            pytest.fail(f"no side environment {name!r}: run `make integration`, which makes it")
        answer = tmp_path_factory.mktemp(name) / "answer.json"
        # pip was told not to compile packages, so compiled modules must be written when a script imports them.
        settings = {"PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "", "OMP_NUM_THREADS": "1"}
        completed = subprocess.run(
            [str(python), str(HERE / "side" / script), str(answer)],
            input=json.dumps(question),
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
            check=False,
        )
        if completed.returncode != 0:
            pytest.fail(
                f"{script} in {name}: exit status {completed.returncode}\n{completed.stderr[-4000:]}", pytrace=False
            )
        return json.loads(answer.read_text("utf-8"))

    return run_script
