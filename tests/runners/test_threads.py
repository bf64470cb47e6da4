"""The number of threads of numeric libraries: the processors of this process, less those that render."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from videossr.runners.threads import available_cores, limit_threads

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_system(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("cgroup", "files", "cores"),
    [
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000\n"}, CORES),
        ("0::/job/step\n", {"job/step/cpu.max": "150000 100000\n"}, 1),
        ("0::/job/step\n", {"job/step/cpu.max": "max 100000\n", "job/cpu.max": "100000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, CORES),
        ("4:cpu,cpuacct:/a\n3:memory:/a\n", {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1\n"}, CORES),
        (
            "4:cpu,cpuacct:/a\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "100000\n", "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"},
            1,
        ),
    ],
)
def test_available_cores_heed_the_quotas_of_all_cgroups(
    tmp_path: Path, cgroup: str, files: dict[str, str], cores: int
) -> None:
    assert available_cores(write_system(tmp_path, cgroup, files)) == cores


def test_available_cores_without_cgroups_are_those_of_the_affinity_mask(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == CORES


def test_limit_threads_leaves_what_the_user_set() -> None:
    chosen = {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "ACTIVE", "OPENCV_FOR_THREADS_NUM": "3"}
    environment = dict(chosen)
    limit_threads(environment)
    assert environment == chosen


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (4, 3), (16, 12)])
def test_limit_threads_leaves_processors_for_rendering(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    monkeypatch.setattr("videossr.runners.threads.available_cores", lambda: cores)
    environment: dict[str, str] = {}
    limit_threads(environment)
    assert environment == {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "OPENCV_FOR_THREADS_NUM": "1",
    }


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity masks")
def test_command_limits_the_threads_of_torch_and_opencv() -> None:
    """The process is limited to one processor, whatever the machine has."""
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from videossr.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "import cv2, torch\n"
        "print(torch.get_num_threads(), cv2.getNumThreads(), os.environ['OMP_WAIT_POLICY'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "OPENCV_"))}
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert completed.stdout.splitlines()[-1] == "1 1 PASSIVE"
