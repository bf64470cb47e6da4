"""What a Ray pool makes of failures that no small cluster shows at will; see integration/test_ray.py too."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'videossr[ray]'")

from ray import exceptions

from videossr.errors import WorkerError
from videossr.runners import cluster
from videossr.runners.base import DIED


def test_an_item_that_takes_machine_after_machine_with_it_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = cluster.RayPool(0, "auto", 1)
    lives = iter(range(20))

    def lost(_: object) -> None:
        assert next(lives, None) is not None, "it is sent for ever"
        raise exceptions.NodeDiedError("gone")

    nodes: Iterator[dict[str, str]] = ({"NodeID": f"{number:056x}"} for number in range(20))
    monkeypatch.setattr(pool, "_nodes", lambda: [next(nodes)])
    monkeypatch.setattr(pool, "_send", lambda *_, **__: None)
    monkeypatch.setattr(pool, "_result", lost)
    assert pool._alone(divmod, 1) == DIED


def test_an_error_without_a_cause_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise exceptions.RayTaskError("call", "what went wrong", None)

    monkeypatch.setattr("ray.get", fail)
    with pytest.raises(WorkerError, match=r"--ray auto: .*what went wrong"):
        cluster.RayPool(0, "auto", 1)._result(object())
