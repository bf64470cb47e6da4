"""The command's output streams: characters that an encoding lacks, closed pipes and streams, and full disks."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import videossr

COMMAND = shlex.join([sys.executable, "-m", "videossr.cli"])
LATIN = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}

PROGRAM = r"""
import sys
from videossr.cli.streams import prepare_streams

prepare_streams()
from videossr.cli.console import Bar, console

for number in range(500):
    console.print(f"line {number} \u2026 " + 400 * "-")
with Bar() as bar:
    bar.say("said \u2026")
sys.stdout.write("plain \u2026\n")
open("done", "w").close()
sys.exit(1)
"""
"""A program that prints more than a pipe holds, and exits with status 1."""


def run_shell(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash; its status is that of the first program of a pipe."""
    environment = os.environ | {"PYTHONPATH": str(Path(videossr.__file__).parents[1])} | variables
    process = subprocess.run(
        ["bash", "-c", f"{line}\nexit ${{PIPESTATUS[0]}}"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in process.stdout + process.stderr
    assert "Exception ignored" not in process.stderr
    return process


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, LATIN], ids=["ascii", "C"])
def test_streams_escape_characters_that_the_encoding_lacks(tmp_path: Path, variables: dict[str, str]) -> None:
    help = run_shell(f"{COMMAND} build --help", tmp_path, **variables)
    assert help.returncode == 0
    assert "Usage: videossr build" in help.stdout
    assert help.stdout.isascii()
    refused = run_shell(f"{COMMAND} bench score nowhere", tmp_path, **variables)
    assert refused.returncode == 2
    assert r"`videossr bench run \u2026 --out nowhere`" in refused.stderr
    mistaken = run_shell(f"{COMMAND} bench score --oops", tmp_path, **variables)
    assert mistaken.returncode == 2
    assert "--oops" in mistaken.stderr


@pytest.mark.slow
def test_streams_escape_a_file_name_that_is_not_utf_8(tmp_path: Path) -> None:
    """The name holds a byte that is no UTF-8."""
    process = run_shell(f"{COMMAND} bench score $'na\\xefve' 2>&1", tmp_path)
    assert process.returncode == 2
    assert r"na\udcefve is no run" in process.stdout


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{}, LATIN], ids=["utf-8", "C"])
def test_streams_let_the_command_finish_after_the_reader_has_gone(tmp_path: Path, variables: dict[str, str]) -> None:
    """The exit status stays that of the command."""
    program = f"{shlex.quote(sys.executable)} -c {shlex.quote(PROGRAM)}"
    for line in (f"{program} | head -1", f"{program} 2>&1 | true", f"{program} >&-", f"{program} 2>&1 | head -c 5"):
        process = run_shell(line, tmp_path, **variables)
        assert process.returncode == 1, line
        (tmp_path / "done").unlink()
    assert run_shell(f"{COMMAND} --help | true", tmp_path, **variables).returncode == 0
    assert run_shell(f"{COMMAND} --help >&- 2>&-", tmp_path, **variables).returncode == 0
    assert run_shell(f"{COMMAND} bench score nowhere 2>&1 | true", tmp_path, **variables).returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_streams_report_a_full_disk_once(tmp_path: Path) -> None:
    process = run_shell(f"{COMMAND} --help > /dev/full", tmp_path)
    assert process.returncode == 2
    assert process.stderr.count("No space left on device") == 1


def test_main_keeps_the_streams_of_a_calling_program(tmp_path: Path) -> None:
    code = (
        "import io, json, sys\nfrom videossr.cli import main\nown = sys.stdout = io.StringIO()\n"
        "try: main(['--version'])\nexcept SystemExit: pass\n"
        "sys.__stderr__.write(json.dumps([sys.stdout is own, own.getvalue().strip()]))"
    )
    process = run_shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}", tmp_path)
    assert json.loads(process.stderr) == [True, videossr.__version__]
