"""Ray with three nodes, of which one dies, and on this machine: the same bytes as from local processes."""

from __future__ import annotations

import filecmp
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.conftest import ROOT
from tests.integration.faults import VIDEOSSR

pytest.importorskip("ray", reason="Ray is not installed: pip install 'videossr[ray]'")
pytestmark = pytest.mark.integration

CLIPS = ("bikes.mp4", "bottles.mp4", "carphone.mp4", "cars.mp4", "pancake.mkv", "people.mp4", "bigbuckbunny_5s.mp4")
INDEX = [*VIDEOSSR, "index", "videos", "--workers", "2"]
BUILD = [*VIDEOSSR, "build", "smoke", "--limit", "12", "--corpus", "corpus", "--out", "dataset", "--workers", "2"]
ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(shared_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With `videos`, and the `corpus` and `dataset` that two local processes make of them."""
    made = tmp_path_factory.mktemp("ray")
    (made / "videos").mkdir()
    for name in CLIPS:
        (made / "videos" / name).symlink_to(shared_videos / "real" / name)
    (made / "videos/corrupted.mp4").symlink_to(shared_videos / "edge/corrupted.mp4")
    for words in ([*INDEX, "--out", "corpus"], BUILD):
        subprocess.run(words, cwd=made, env=ENV, check=True, capture_output=True)
    return made


def on_nodes(case: str, folder: Path) -> str:
    words = [sys.executable, "-m", "tests.integration.nodes", case, str(folder)]
    done = subprocess.run(words, cwd=ROOT, env=ENV, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same names and bytes."""
    names = [{path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()} for top in (one, other)]
    return names[0] == names[1] and filecmp.cmpfiles(one, other, names[0], shallow=False)[1:] == ([], [])


def test_results_that_wait_on_a_node_are_made_again_when_it_dies(tmp_path: Path) -> None:
    on_nodes("leave_one", tmp_path)


def test_a_head_that_demands_its_users_token(tmp_path: Path) -> None:
    on_nodes("token", tmp_path)


def test_three_nodes_one_of_which_dies_make_the_same_bytes(folder: Path) -> None:
    on_nodes("index_and_build", folder)
    assert same(folder / "corpus", folder / "of-three")
    assert same(folder / "dataset", folder / "built-of-three")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a folder from one node")
def test_what_a_node_lacks_is_said_before_the_work(folder: Path) -> None:
    (folder / "lack").mkdir()
    (folder / "lack/videos").mkdir()
    (folder / "lack/videos/bikes.mp4").write_bytes((folder / "videos/bikes.mp4").read_bytes())
    said = on_nodes("lack", folder / "lack")
    assert "not every machine can do this work" in said
    assert "has numpy 1.0 not" in said
    assert "pip install numpy==" in said
    assert f"cannot read {folder / 'lack/videos/bikes.mp4'} (No such file or directory): mount its folder there" in said
    assert len(said.splitlines()) == 3


def test_ray_on_this_machine_ends_with_the_command(folder: Path) -> None:
    out = folder / "of-local"
    words = [*INDEX, "--out", str(out), "--ray", "local"]
    with subprocess.Popen(words, cwd=folder, env=ENV, stderr=subprocess.PIPE, start_new_session=True) as command:
        assert command.stderr is not None
        while not (out / ".unfinished/parts").exists():
            assert command.poll() is None, command.stderr.read()
            time.sleep(0.1)
        while not any((out / "packs").iterdir()) and not any((out / ".unfinished/parts").iterdir()):
            time.sleep(0.1)
        started = psutil.Process(command.pid).children(recursive=True)
        assert len(started) > 2
        os.killpg(command.pid, signal.SIGINT)
        said = command.stderr.read().decode()
    assert command.returncode == 130, said
    assert "videossr: stopped; the same command goes on where it was" in said
    assert not psutil.wait_procs(started, timeout=60)[1]
    done = subprocess.run(words, cwd=folder, env=ENV, capture_output=True, text=True, check=True)
    assert "(raylet)" not in done.stdout + done.stderr
    assert same(folder / "corpus", out)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "nobody answers there"),
        ("auto", "ould not find any running Ray"),
        ("nonsense", "Invalid address"),
    ],
)
def test_a_cluster_that_cannot_be_reached(folder: Path, address: str, told: str) -> None:
    words = [*INDEX, "--out", "none", "--ray", address]
    done = subprocess.run(words, cwd=folder, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"videossr: --ray {address}: " in done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
