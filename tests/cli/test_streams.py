"""The command's streams: signs that a terminal lacks, readers that go away, closed streams and full disks."""

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

SAY = r"""
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
"""A command that does not hold, and says more than a pipe takes."""


def shell(line: str, where: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash; its status is that of the first program of a pipe."""
    environment = os.environ | {"PYTHONPATH": str(Path(videossr.__file__).parents[1])} | variables
    done = subprocess.run(
        ["bash", "-c", f"{line}\nexit ${{PIPESTATUS[0]}}"],
        cwd=where, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, LATIN], ids=["ascii", "C"])
def test_what_an_encoding_lacks_is_escaped(tmp_path: Path, variables: dict[str, str]) -> None:
    help = shell(f"{COMMAND} build --help", tmp_path, **variables)
    assert help.returncode == 0
    assert "Usage: videossr build" in help.stdout
    assert help.stdout.isascii()
    refused = shell(f"{COMMAND} bench score nowhere", tmp_path, **variables)
    assert refused.returncode == 2
    assert r"`videossr bench run \u2026 --out nowhere`" in refused.stderr
    mistaken = shell(f"{COMMAND} bench score --oops", tmp_path, **variables)
    assert mistaken.returncode == 2
    assert "--oops" in mistaken.stderr


@pytest.mark.slow
def test_a_name_that_is_not_text_is_told(tmp_path: Path) -> None:
    """A byte that is no UTF-8, as in file names of old disks."""
    done = shell(f"{COMMAND} bench score $'na\\xefve' 2>&1", tmp_path)
    assert done.returncode == 2
    assert r"na\udcefve is no run" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{}, LATIN], ids=["utf-8", "C"])
def test_the_work_goes_on_when_its_reader_has_gone(tmp_path: Path, variables: dict[str, str]) -> None:
    """The exit status stays that of the work."""
    program = f"{shlex.quote(sys.executable)} -c {shlex.quote(SAY)}"
    for line in (f"{program} | head -1", f"{program} 2>&1 | true", f"{program} >&-", f"{program} 2>&1 | head -c 5"):
        done = shell(line, tmp_path, **variables)
        assert done.returncode == 1, line
        (tmp_path / "done").unlink()
    assert shell(f"{COMMAND} --help | true", tmp_path, **variables).returncode == 0
    assert shell(f"{COMMAND} --help >&- 2>&-", tmp_path, **variables).returncode == 0
    assert shell(f"{COMMAND} bench score nowhere 2>&1 | true", tmp_path, **variables).returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    done = shell(f"{COMMAND} --help > /dev/full", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("No space left on device") == 1


def test_a_program_that_calls_the_command_keeps_its_streams(tmp_path: Path) -> None:
    code = (
        "import io, json, sys\nfrom videossr.cli import main\nown = sys.stdout = io.StringIO()\n"
        "try: main(['--version'])\nexcept SystemExit: pass\n"
        "sys.__stderr__.write(json.dumps([sys.stdout is own, own.getvalue().strip()]))"
    )
    done = shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}", tmp_path)
    assert json.loads(done.stderr) == [True, videossr.__version__]
