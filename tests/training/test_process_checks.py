"""Several processes are checked against each other before a run: facts, reach, and a folder that all of them see."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from videossr.training.process_checks import weights_fingerprint

ROOT = Path(__file__).parents[2]
HOST = socket.gethostname()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the checks have said in each of two processes."""
    folder = tmp_path_factory.mktemp("processes")
    options = ["--standalone", "--nproc-per-node", "2", str(ROOT / "tests/helpers/process_checks.py")]
    command = [sys.executable, "-m", "torch.distributed.run", *options, str(folder), str(folder / "said")]
    completed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert completed.returncode == 0, completed.stderr[-4000:]
    assert not list(folder.glob("**/processes-*"))
    return [json.loads((folder / f"said.{rank}").read_text()) for rank in range(2)]


def test_check_equal_names_the_fact_and_the_hosts(said: list[dict[str, Any]]) -> None:
    for process in said:
        assert process["same"] == ""
        assert process["other"] == (
            f"ConfigError: the processes of a run must have the same dataset: cd on {HOST}; ab on {HOST}"
        )
        assert process["missing"] == (
            f"ConfigError: the processes of a run must have the same peft: none on {HOST}; 1.0 on {HOST}"
        )


def test_check_reach_passes_where_processes_sum_to_their_number(said: list[dict[str, Any]]) -> None:
    assert [process["reach"] for process in said] == ["", ""]


def test_check_shared_names_the_process_that_does_not_see_the_folder(said: list[dict[str, Any]]) -> None:
    for process in said:
        assert process["shared"] == ""
        assert process["apart"].startswith(f"OutputError: process 1 on {HOST} (")
        assert "--out must be a folder that all nodes share" in process["apart"]


def test_weights_fingerprint_tells_checkpoints_of_one_shape_apart(tmp_path: Path) -> None:
    fingerprints = []
    for name, byte in (("one", b"1"), ("copy", b"1"), ("other", b"2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
        (tmp_path / name / "model.safetensors").write_bytes(bytes(3 * 2**20) + byte)
        fingerprints.append(weights_fingerprint(tmp_path / name))
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
