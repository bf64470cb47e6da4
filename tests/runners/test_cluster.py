"""Failures of a Ray pool that are simulated here; integration/test_ray.py has those of a real cluster."""

from __future__ import annotations

from collections.abc import Iterator

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
