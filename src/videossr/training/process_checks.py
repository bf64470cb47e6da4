"""Check several processes of one run against each other before any weight is loaded.

What would otherwise end hours later, or train a wrong model without a word, is told at the start: other versions or
files on one node, a folder that is not shared, or cards that do not reach each other. Exercised by
`torchrun --nproc-per-node 2 -m videossr.cli train CONFIG --out RUN`.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import torch
import torch.distributed as dist

from videossr.errors import ConfigError, OutputError
from videossr.storage.paths import write_text
from videossr.training.parallel import World

REACH = timedelta(minutes=5)
"""How long the first message between the processes may take."""

VISIBLE = 90.0
"""Seconds until a new file must be seen by all nodes. NFS keeps what it knows of a folder for up to 60."""

ENDS = 2**20
"""Bytes at either end of a file of weights that are compared."""


def check_equal(world: World, facts: Callable[[], Mapping[str, str]]) -> None:
    """Raise ConfigError where a fact differs between the processes.

    Args:
        world: the processes.
        facts: returns those of this process by their names, such as the version of a library or the hash of the
            dataset. A single process is not asked.
    """
    if world.size == 1:
        return
    processes = world.gather((socket.gethostname(), dict(facts())))
    for name in sorted({name for _, known in processes for name in known}):
        hosts: dict[str, set[str]] = defaultdict(set)
        for host, known in processes:
            hosts[known.get(name, "none")].add(host)
        if len(hosts) > 1:
            found = "; ".join(f"{value} on {', '.join(sorted(names))}" for value, names in hosts.items())
            raise ConfigError(f"the processes of a run must have the same {name}: {found}")


def check_reach(world: World, device: torch.device) -> None:
    """Raise ConfigError where the processes cannot sum a number, by NCCL on cards and by gloo elsewhere.

    Args:
        world: the processes.
        device: of this process.
    """
    if world.size == 1:
        return
    counted = torch.ones(1, device=device)
    try:
        dist.all_reduce(counted, group=dist.new_group(timeout=REACH))
        total = int(counted.item())
    except RuntimeError as error:
        raise ConfigError(
            f"process {world.rank} on {socket.gethostname()} does not reach the others: {error}. NCCL_DEBUG=INFO shows "
            "what NCCL tries, NCCL_SOCKET_IFNAME names the network interface that it takes, and a container needs room "
            "in /dev/shm (docker run --shm-size=1g)"
        ) from error
    if total != world.size:
        raise ConfigError(f"the processes sum {world.size} ones to {total}: the network between them is at fault")


def check_shared(world: World, folder: Path, *, patience: float = VISIBLE) -> None:
    """Raise OutputError where a process does not see what the first one writes in a folder.

    Args:
        world: the processes.
        folder: that all of them should share.
        patience: seconds until a new file must be seen.
    """
    if world.size == 1:
        return
    token = world.on_main(lambda: uuid4().hex)
    path = folder / f"processes-{token}"
    world.on_main(partial(write_text, path, token))
    seen = world.gather((socket.gethostname(), str(folder), _appears(path, patience)))
    world.on_main(path.unlink)
    blind = [f"process {rank} on {host} ({place})" for rank, (host, place, found) in enumerate(seen) if not found]
    if blind:
        raise OutputError(
            f"{blind[0]} does not see what the first process writes in {seen[0][1]}: all processes read checkpoints "
            "there when the run is resumed, so --out must be a folder that all nodes share"
        )


def weights_fingerprint(folder: Path) -> str:
    """Return a hash of a checkpoint's weights, to compare copies of it: over the ends of each file, and its size."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            for start in (0, max(0, size - ENDS)):
                file.seek(start)
                digest.update(file.read(ENDS))
    return digest.hexdigest()[:16]


def _appears(path: Path, patience: float) -> bool:
    """Wait until a file is there; return False where it is not after so many seconds."""
    end = time.monotonic() + patience
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True
