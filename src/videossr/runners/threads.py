"""Number of processors that this process may use, and of threads that its numeric libraries start.

The command `videossr` calls `limit_threads` before it imports these libraries.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path


def available_cores(system: Path = Path("/")) -> int:
    """Return how many processors this process may use: those of its affinity mask, within its cgroup's quota.

    Args:
        system: root of the file system that has `proc` and `sys`.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, *(int(quota) for quota in _quotas(system)), cores))


def limit_threads(environment: MutableMapping[str, str]) -> None:
    """Set how many threads OpenMP, BLAS and OpenCV use and how they wait, unless the environment says so already.

    A quarter of the processors, at least one where there are two, is left to the threads that render frames, each of
    which has one thread of OpenCV. Threads that wait for each other sleep: where other programs run, spinning threads
    would take the processor from the one that they wait for. `benchmarks/threads.py` measures it.

    Args:
        environment: of this process, before it loads torch or numpy, which read it once.
    """
    cores = available_cores()
    environment.setdefault("OMP_NUM_THREADS", str(max(1, cores - max(1, cores // 4))))
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    environment.setdefault("OPENCV_FOR_THREADS_NUM", "1")


def _quotas(system: Path) -> Iterator[float]:
    """Yield the processors' worth of time that each cgroup above this process allows."""
    try:
        groups = (system / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # another system than Linux
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = system / "sys/fs/cgroup" / controllers
        folder = root / path.lstrip("/")
        for level in (folder, *folder.parents):
            if not level.is_relative_to(root):
                break
            yield from _quota(level)


def _quota(folder: Path) -> Iterator[float]:
    """Yield the quota in processors of one cgroup, of version 2 (`cpu.max`) or 1, if it has one."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    except OSError:
        return
    if quota != "max" and int(quota) > 0:
        yield int(quota) / int(period)


CORES = available_cores()
"""Processors that this process may use."""
