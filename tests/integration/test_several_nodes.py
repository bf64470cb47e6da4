"""`examples/nodes/ssh.sh` trains on two nodes, each a torchrun of its own on this machine, and refuses unlike nodes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from videossr.training.config import TrainConfig, as_table
from videossr.training.runs.records import read_train_run

pytestmark = pytest.mark.integration

SCRIPT = Path(__file__).parents[2] / "examples/nodes/ssh.sh"
HOSTS = ("localhost", "127.0.0.1")
SSH = """#!/bin/sh
# Run the command of a host here. The word NODE in it stands for the host's name.
host=$1
shift
printf '%s' "$*" | sed "s/NODE/$host/g" >"$0.$host"
exec sh "$0.$host"
"""


def train_over_ssh(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Train on two nodes. Run in `folder`, whose name may have a space and a quote."""
    ssh = folder.parent / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    places = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {"HOSTS": " ".join(HOSTS), "CARDS": "1", "PORT": port, "SSH": str(ssh), "PATH": places}
    return subprocess.run(
        ["sh", str(SCRIPT), *arguments],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_ssh_example_trains_on_two_nodes_resumes_and_refuses_unlike_ones(
    config: Callable[..., TrainConfig], model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "a 'shared' folder"
    folder.mkdir()
    (folder / "run.toml").write_text(tomli_w.dumps(as_table(config(run__steps=1))), "utf-8")
    for host in HOSTS:
        shutil.copytree(model.parent / "model", folder / f"model-{host}")
    arguments = ("run.toml", "--model.path=model-NODE")

    completed = train_over_ssh(folder, *arguments, "--out", "run")
    assert completed.returncode == 0, completed.stderr[-4000:]
    manifest = read_train_run(folder / "run").manifest
    assert manifest is not None
    assert manifest.describe["processes"] == 2

    completed = train_over_ssh(folder, *arguments, "--run.steps=2", "--out", "run")
    assert completed.returncode == 0, completed.stderr[-4000:]
    assert "goes on from" in completed.stdout
    assert [step.step for step in read_train_run(folder / "run").steps] == [1, 2]

    weights = folder / f"model-{HOSTS[1]}/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"1")
    completed = train_over_ssh(folder, *arguments, "--out", "other")
    assert completed.returncode != 0
    assert "the processes of a run must have the same weights" in completed.stderr
    assert not (folder / "other").exists()
