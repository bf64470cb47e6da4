"""Ray with three nodes, of which one dies, and Ray on this machine give the same bytes as local processes."""

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
    """Make a folder with `videos`, and the `corpus` and `dataset` that two local processes make from them."""
    root = tmp_path_factory.mktemp("ray")
    (root / "videos").mkdir()
    for name in CLIPS:
        (root / "videos" / name).symlink_to(shared_videos / "real" / name)
    (root / "videos/corrupted.mp4").symlink_to(shared_videos / "edge/corrupted.mp4")
    for words in ([*INDEX, "--out", "corpus"], BUILD):
        subprocess.run(words, cwd=root, env=ENV, check=True, capture_output=True)
    return root


def run_case(case: str, folder: Path) -> str:
    words = [sys.executable, "-m", "tests.integration.nodes", case, str(folder)]
    completed = subprocess.run(words, cwd=ROOT, env=ENV, capture_output=True, text=True, timeout=300, check=False)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def have_equal_files(one: Path, other: Path) -> bool:
    """Return whether two folders hold the same names and bytes."""
    names = [{path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()} for top in (one, other)]
    return names[0] == names[1] and filecmp.cmpfiles(one, other, names[0], shallow=False)[1:] == ([], [])


def test_ray_pool_repeats_results_that_were_lost_with_a_node(tmp_path: Path) -> None:
    run_case("lose_a_node", tmp_path)


def test_ray_pool_authenticates_with_the_users_token(tmp_path: Path) -> None:
    run_case("connect_with_token", tmp_path)


def test_index_and_build_on_ray_with_a_dying_node_give_the_same_bytes(folder: Path) -> None:
    run_case("index_and_build", folder)
    assert have_equal_files(folder / "corpus", folder / "of-three")
    assert have_equal_files(folder / "dataset", folder / "built-of-three")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a folder from one node")
def test_ray_pool_check_reports_what_a_node_lacks(folder: Path) -> None:
    (folder / "lack").mkdir()
    (folder / "lack/videos").mkdir()
    (folder / "lack/videos/bikes.mp4").write_bytes((folder / "videos/bikes.mp4").read_bytes())
    output = run_case("check_a_lacking_node", folder / "lack")
    assert "not every machine can do this work" in output
    assert "has numpy 1.0 not" in output
    assert "pip install numpy==" in output
    assert (
        f"cannot read {folder / 'lack/videos/bikes.mp4'} (No such file or directory): mount its folder there" in output
    )
    assert len(output.splitlines()) == 3


def test_index_with_local_ray_leaves_no_processes(folder: Path) -> None:
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
        output = command.stderr.read().decode()
    assert command.returncode == 130, output
    assert "videossr: stopped; the same command goes on where it was" in output
    assert not psutil.wait_procs(started, timeout=60)[1]
    completed = subprocess.run(words, cwd=folder, env=ENV, capture_output=True, text=True, check=True)
    assert "(raylet)" not in completed.stdout + completed.stderr
    assert have_equal_files(folder / "corpus", out)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "nobody answers there"),
        ("auto", "ould not find any running Ray"),
        ("nonsense", "Invalid address"),
    ],
)
def test_index_reports_a_ray_cluster_that_cannot_be_reached(folder: Path, address: str, message: str) -> None:
    words = [*INDEX, "--out", "none", "--ray", address]
    completed = subprocess.run(words, cwd=folder, env=ENV, capture_output=True, text=True, check=False)
    assert completed.returncode == 2
    assert f"videossr: --ray {address}: " in completed.stderr
    assert message in completed.stderr
    assert "Traceback" not in completed.stderr
