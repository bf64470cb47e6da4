"""The runner on a Ray cluster, for `videossr index` and `videossr build` with `--ray local|ADDRESS`.

Each call is one task of one processor. Tasks return bytes and write nothing, so that a machine may join or leave at any
time: the tasks that it had are sent to another. A cluster on this machine alone (`--ray local`) is reached by nobody
else: it listens on loopback and demands a token of its own. See docs/how-to/many-machines.md.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from videossr.errors import MissingExtraError, WorkerError
from videossr.runners.base import AHEAD, DIED, ParallelRunner, WorkerCrash, call_outcome
from videossr.storage.paths import AnyPath
from videossr.storage.provenance import ffmpeg_versions, installed_versions

try:
    import ray
    from ray import ObjectRef, exceptions
    from ray._private.authentication import authentication_token_setup as setup
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from videossr.runners.private_cluster import private_cluster
except ImportError as missing:
    raise MissingExtraError("--ray needs Ray 2.59 or newer: pip install 'videossr[ray]'") from missing

S = TypeVar("S")
T = TypeVar("T")

PATIENCE = 60.0
"""Seconds to wait for the answer of a machine, and for a machine with processors to join a cluster that has none."""

_MACHINES = 3
"""Number of machines that may be lost, one after the other, with an item alone on them until the item is blamed."""

_CRASHED = (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError)
_LOST = (exceptions.NodeDiedError, exceptions.ObjectLostError, exceptions.TaskUnschedulableError)
_PACKAGES = ("videossr", "av", "numpy", "opencv-python-headless", "simplejpeg")
_START = 1 << 16
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else Ray warns of what it will do with GPUs one day
}


class RayPool(ParallelRunner[S]):
    """A runner on the processors of a Ray cluster. Leaving the context ends the tasks of this process there.

    A script that is connected to a cluster by `ray.init` already keeps that connection. The parts of an item that
    `stream` yields arrive together, when the item is done.
    """

    def __init__(self, shared: S, address: str, workers: int) -> None:
        """Remember the cluster; entering the context connects to it.

        Args:
            shared: first argument of every call.
            address: that of a cluster, or "local" for one on this machine with `workers` processors.
            workers: processors of a local cluster.
        """
        self._shared = shared
        self._address = address
        self._workers = workers
        self._connected = False
        self._private = ExitStack()
        self._holder: tuple[str, list[ObjectRef]] = ("", [])
        self._sent: set[ObjectRef] = set()
        self._counted = (float("-inf"), 0)

    def __enter__(self) -> Self:
        """Connect to the cluster. Raises WorkerError when it cannot be reached or has no processors."""
        self._connected = not ray.is_initialized()
        try:
            if self._is_local:
                self._private.enter_context(private_cluster())
            if self._connected:
                _connect(self._address, self._workers)
            self._holder = (uuid.uuid4().hex, [ray.put(ray.cloudpickle.dumps(self._shared))])
            if not self._processors():
                raise WorkerError(f"--ray {self._address}: that cluster has no processors")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_local:
            self._cancel(self._sent)
        self._sent.clear()
        self._holder = ("", [])
        if self._connected:
            ray.shutdown()
        self._private.close()

    @property
    def _is_local(self) -> bool:
        """Return whether the cluster is on this machine and ends with this context."""
        return self._connected and self._address == "local"

    def check(self, files: Sequence[AnyPath]) -> None:
        """Compare the versions of every machine, and the start of some files as it reads them, with this one.

        Args:
            files: files that the machines must reach, or one of each folder. Only this machine writes files.

        Raises:
            WorkerError: a machine lacks something; the message names it for each machine, and what to do.
        """
        if self._is_local:
            return
        inspections = {
            node["NodeID"]: (node["NodeManagerHostname"], _task(inspect_node, 0, **_on(node)).remote(list(files)))
            for node in self._nodes()
        }
        here = inspect_node(files)
        lacks = []
        for name, ref in inspections.values():
            try:
                environment = ray.get(ref, timeout=PATIENCE)
                lacks += [f"{name} {mismatch}" for mismatch in find_mismatches(files, here, environment)]
            except _LOST:
                continue
            except exceptions.GetTimeoutError:
                lacks.append(f"{name} does not answer within {PATIENCE:.0f} seconds")
            except exceptions.RayError as error:
                if "No module named 'videossr'" not in str(error):
                    raise WorkerError(f"{name}: {error}") from error
                lacks.append(f"{name} has no videossr: pip install videossr=={here.versions['videossr']} there")
        if lacks:
            raise WorkerError("\n  ".join([f"--ray {self._address}: not every machine can do this work", *lacks]))

    def _run_all(self, work: Callable[..., object], items: Iterator[T], *, parts: bool) -> Iterator[tuple[T, Any]]:
        waiting: dict[ObjectRef, T] = {}
        lost: deque[T] = deque()
        try:
            while True:
                while len(waiting) < AHEAD * max(1, self._processors()):
                    given = (lost.popleft(),) if lost else next(((item,) for item in items), None)
                    if given is None:
                        break
                    waiting[self._send(work, given[0], parts=parts)] = given[0]
                if not waiting:
                    return
                done, _ = ray.wait(list(waiting), timeout=0.2)
                for ref in done:
                    item = waiting.pop(ref)
                    try:
                        results = self._result(ref)
                    except _LOST:
                        lost.append(item)
                    except _CRASHED:
                        yield item, DIED
                    else:
                        for result in results:
                            yield item, result
        finally:
            self._cancel(waiting)

    def _run_alone(self, work: Callable[..., object], item: T, *, parts: bool) -> Iterator[tuple[T, Any]]:
        done = self._alone(work, item, parts=parts)
        for result in [done] if isinstance(done, WorkerCrash) else done:
            yield item, result

    def _alone(self, work: Callable[..., object], item: T, *, parts: bool = False) -> list[Any] | WorkerCrash:
        """Make a call alone on a machine; DIED when its process dies and the machine lives on, or several machines die.

        Returns the parts and last the result of the call.
        """
        for _ in range(_MACHINES):
            node = self._nodes()[0]
            ref = self._send(work, item, parts=parts, **_on(node))
            try:
                return self._result(ref)
            except _LOST:
                continue
            except _CRASHED:
                try:
                    ray.get(_task(_ping, 0, **_on(node)).remote(), timeout=PATIENCE)
                except (*_LOST, *_CRASHED, exceptions.GetTimeoutError):
                    continue  # the process died with its machine
                return DIED
        return DIED

    def _send(self, work: Callable[..., object], item: T, *, parts: bool, **options: Any) -> ObjectRef:
        ref = _task(_call, 1, **options).remote(*self._holder, ray.cloudpickle.dumps((work, item, parts)))
        self._sent.add(ref)
        return ref

    def _result(self, ref: ObjectRef) -> list[Any]:
        """Fetch the parts that a call has sent, and last its result. Raises its error."""
        self._sent.discard(ref)
        try:
            sent, (result, error) = pickle.loads(ray.get(ref))
        except exceptions.RayTaskError as raised:
            cause = raised.cause or WorkerError(f"--ray {self._address}: {raised}")
            raise cause from raised
        except (*_LOST, *_CRASHED):
            raise
        except exceptions.RayError as raised:
            raise WorkerError(f"--ray {self._address}: {raised}") from raised
        if error is not None:
            raise error
        return [*sent, result]

    def _cancel(self, refs: Iterable[ObjectRef]) -> None:
        for ref in self._sent.intersection(refs):
            ray.cancel(ref, force=True)
            self._sent.remove(ref)

    def _nodes(self) -> list[dict[str, Any]]:
        """List the machines with processors. Raises WorkerError when there is none for `PATIENCE` seconds."""
        until = time.monotonic() + PATIENCE
        while True:
            nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
            if nodes:
                return nodes
            if time.monotonic() > until:
                raise WorkerError(f"--ray {self._address}: no machine with a processor is left in that cluster")
            time.sleep(1)

    def _processors(self) -> int:
        """Count the processors of the cluster, at most once a second. Raises WorkerError when it stays without any."""
        since, count = self._counted
        if time.monotonic() - since > 1:
            count = int(ray.cluster_resources().get("CPU", 0))
            if count == 0 and self._counted[1]:
                count = int(sum(node["Resources"]["CPU"] for node in self._nodes()))
            self._counted = (time.monotonic(), count)
        return count


def _connect(address: str, workers: int) -> None:
    """Connect this process to a cluster. Raises WorkerError."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address == "local":
        options |= {"num_cpus": workers, "include_dashboard": False}
    else:
        _check_port(address)
    try:
        try:
            ray.init(address, **options)
        except (ConnectionError, exceptions.AuthenticationError):
            # The head may demand the token of its user, for which Ray itself looks only where the address is "auto".
            ray.shutdown()
            unset = address not in ("local", "auto") and "RAY_AUTH_MODE" not in os.environ
            if not (unset and setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)):
                raise
            ray.init(address, **options)
        ray._private.worker._worker_logs_enabled = False  # else it prints a paragraph about each process that dies
    except Exception as error:  # Ray has no common class for what may be wrong here
        ray.shutdown()
        hint = "" if address == "local" else " (this machine must be one of the cluster: `ray start --address=…`)"
        raise WorkerError(f"--ray {address}: {error}{hint}") from error


def _check_port(address: str) -> None:
    """Raise WorkerError where nothing listens at an address; Ray itself would wait for long."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), 5).close()
    except OSError as error:
        raise WorkerError(f"--ray {address}: nobody answers there ({error.strerror or error})") from error


def _on(node: Mapping[str, Any]) -> dict[str, Any]:
    """Make the options of a task that runs on this machine and no other."""
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)}


def _task(function: Callable[..., object], processors: int, **options: Any) -> Any:
    """Make a function a task of Ray that fails when its process dies."""
    return ray.remote(function).options(num_cpus=processors, max_retries=0, **options)


def _ping() -> None:
    """Do nothing: a machine that returns from this lives."""


_shared_by_pool: dict[str, Any] = {}
"""In a worker process: name of a pool -> first argument of its calls, of the last pool alone."""


def _call(pool: str, holder: list[ObjectRef], packed: bytes) -> bytes:
    """Make a pickled call in a worker process of Ray; return its parts and its outcome, pickled."""
    if pool not in _shared_by_pool:
        import cv2

        cv2.setNumThreads(1)
        _shared_by_pool.clear()
        _shared_by_pool[pool] = pickle.loads(ray.get(holder[0]))
    sent: list[Any] = []
    outcome = call_outcome(packed, _shared_by_pool[pool], sent.append)
    return pickle.dumps((sent, outcome), pickle.HIGHEST_PROTOCOL)


@dataclass(frozen=True, slots=True)
class NodeEnvironment:
    """Versions and files of a machine.

    Attributes:
        versions: name of a library that decides bytes -> version.
        starts: for each file a digest of its size and first bytes, or the error of reading it.
    """

    versions: dict[str, str]
    starts: tuple[str | OSError, ...]


def inspect_node(files: Sequence[AnyPath]) -> NodeEnvironment:
    """Collect the versions of this machine and read the start of some files on it."""
    versions = ffmpeg_versions() | dict.fromkeys(_PACKAGES, "none") | installed_versions((), optional=_PACKAGES)
    return NodeEnvironment(versions, tuple(map(_start, files)))


def _start(file: AnyPath) -> str | OSError:
    """Digest the size and the first bytes of a file; return the error where it cannot be read."""
    try:
        if isinstance(file, Path):
            size = file.stat().st_size
            with file.open("rb") as stream:
                data = stream.read(_START)
        else:
            size = file.stat().st_size
            data = file.fs.cat_file(file.path, 0, min(size, _START))
    except Exception as error:  # those of remote file systems have no common class
        return OSError(getattr(error, "strerror", None) or str(error) or type(error).__name__)
    return f"{size} bytes, {hashlib.sha256(data).hexdigest()}"


def find_mismatches(files: Sequence[AnyPath], here: NodeEnvironment, there: NodeEnvironment) -> list[str]:
    """List what a machine lacks to do the work of this one.

    Args:
        files: the files whose starts were read.
        here: environment of this machine.
        there: environment of the other.

    Returns:
        Clauses that follow the name of the machine in an error message; empty where it can do the work.
    """
    differing = {name: wanted for name, wanted in here.versions.items() if there.versions.get(name) != wanted}
    mismatches = []
    if differing:
        versions = ", ".join(f"{name} {there.versions.get(name)} not {wanted}" for name, wanted in differing.items())
        pins = " ".join(f"{name}=={differing[name]}" for name in _PACKAGES if name in differing)
        mismatches.append(f"has {versions}: frames would differ; pip install {pins}")
    for file, start_here, start_there in zip(files, here.starts, there.starts, strict=True):
        remedy = (
            "mount its folder there at the same path, or give an s3:// address"
            if isinstance(file, Path)
            else "it may lack credentials in its environment"
        )
        if isinstance(start_there, OSError):
            mismatches.append(f"cannot read {file} ({start_there}): {remedy}")
        elif start_there != start_here:
            mismatches.append(f"has another file at {file}: {remedy}")
    return mismatches
