"""Runners: worker processes of this machine or of a Ray cluster, for `videossr index` and `videossr build`.

`base` has the protocol that all runners follow, `local` and `cluster` implement it, and `start` chooses one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from videossr.errors import ConfigError

if TYPE_CHECKING:
    from videossr.runners.base import Runner

S = TypeVar("S")


def start(shared: S, workers: int, ray: str | None = None, *, isolated: bool = False) -> Runner[S]:
    """Choose the runner that the options ask for; entering it starts its processes.

    Args:
        shared: first argument of every call, which is sent to each process once.
        workers: processes of this machine. A single one is this very process, unless the calls must be `isolated`.
        ray: address of a Ray cluster, or "local" for one on this machine with `workers` processors.
        isolated: whether a call may kill its process, as a decoder may, so that it must not run in this one.

    Returns:
        The runner, as a context manager.

    Raises:
        ConfigError: `workers` is below 1.
        WorkerError: Ray is not installed.
    """
    if workers < 1:
        raise ConfigError(f"workers must be 1 or more, got {workers}")
    if ray is not None:
        from videossr.runners.cluster import RayPool

        return RayPool(shared, ray, workers)
    from videossr.runners.local import Pool, SerialRunner

    return SerialRunner(shared) if workers == 1 and not isolated else Pool(shared, workers)
