"""Failures of a Ray pool that are simulated here; integration/test_ray.py has those of a real cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'videossr[ray]'")

from ray import exceptions

from videossr.errors import WorkerError
from videossr.runners import cluster
from videossr.runners.base import DIED


def test_ray_pool_gives_up_an_item_whose_nodes_keep_dying(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = cluster.RayPool(0, "auto", 1)
    lives = iter(range(20))

    def raise_node_died(_: object) -> None:
        assert next(lives, None) is not None, "the item is sent again and again without end"
        raise exceptions.NodeDiedError("gone")

    nodes: Iterator[dict[str, str]] = ({"NodeID": f"{number:056x}"} for number in range(20))
    monkeypatch.setattr(pool, "_nodes", lambda: [next(nodes)])
    monkeypatch.setattr(pool, "_send", lambda *_, **__: None)
    monkeypatch.setattr(pool, "_result", raise_node_died)
    assert pool._alone(divmod, 1) == DIED


def test_ray_pool_reports_a_task_error_without_a_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise exceptions.RayTaskError("call", "what went wrong", None)

    monkeypatch.setattr("ray.get", fail)
    with pytest.raises(WorkerError, match=r"--ray auto: .*what went wrong"):
        cluster.RayPool(0, "auto", 1)._result(object())


PRIVATE = """
import json, os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
import psutil, ray
from videossr.runners.cluster import RayPool

STRANGER = '''
import sys, ray
ray.init(sys.argv[1], logging_level="ERROR", log_to_driver=False)
print(ray.get(ray.remote(lambda: "ran").remote()))
'''

def stranger(address, **more):
    # One that is refused asks again and again, until it is ended.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | more
    environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # else Ray takes another address for 127.0.0.1
    words = [sys.executable, "-c", STRANGER, address]
    try:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=15)
    except subprocess.TimeoutExpired as ended:
        return (ended.stdout or b"").decode(), (ended.stderr or b"").decode()
    return done.stdout, done.stderr

with RayPool(2, "local", 1) as pool:
    found = dict(pool.run(pow, [5]))
    address = ray.get_runtime_context().gcs_address
    mine = os.environ["RAY_AUTH_TOKEN"]
    open_ports = [
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    ]
    keys = [{}, {"RAY_AUTH_MODE": "disabled"}]
    keys += [{"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} for token in ("0" * 64, mine)]
    with ThreadPoolExecutor() as threads:
        *refused, let_in = threads.map(lambda key: stranger(address, **key), keys)
left = sorted(name for name in os.environ if name.startswith("RAY_AUTH"))
print(json.dumps([found[5], open_ports, refused, let_in, left]))
"""


@pytest.mark.slow
def test_a_cluster_of_our_own_refuses_processes_without_its_token(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", PRIVATE],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result, open_ports, refused, let_in, left = json.loads(done.stdout.splitlines()[-1])
    assert result == 32
    assert open_ports
    assert {*open_ports} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
    assert len(refused) == 3
    for printed, told in refused:
        assert printed == ""
        assert "InvalidAuthToken" in told
    assert let_in[0] == "ran\n"
    assert left == []
    assert not list(tmp_path.rglob("auth_token"))
