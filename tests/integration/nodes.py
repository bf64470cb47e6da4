"""Cases of `test_ray.py`: `nodes.py CASE FOLDER` runs one in a process of its own, since Ray leaves threads open.

The clusters are real ones, with one processor a node, but all nodes are on this machine.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ray.cluster_utils import Cluster

from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import Outcome, index_videos
from videossr.errors import WorkerError
from videossr.runners.base import DIED
from videossr.runners.cluster import RayPool
from videossr.templates import load_templates

RESULT = 300_000
"""Bytes of a result, too many for Ray to send inline: it stays on its node until the driver fetches it."""


@contextmanager
def ray_cluster(nodes: int) -> Iterator[Cluster]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def double(shared: bytes, number: int) -> tuple[int, bytes]:
    if number == 7:
        os._exit(3)
    return 2 * number, shared


def lose_a_node(folder: Path) -> None:
    """A node dies while results wait there for the driver; one item kills its process wherever it runs."""
    with ray_cluster(3) as cluster, RayPool(bytes(RESULT), cluster.address, 1) as pool:
        results = pool.run(double, range(40))
        results_by_item = dict([next(results)])
        time.sleep(3)
        cluster.remove_node(cluster.list_all_nodes()[1], allow_graceful=False)
        results_by_item.update(results)
        assert results_by_item == {number: DIED if number == 7 else (2 * number, bytes(RESULT)) for number in range(40)}


def index_and_build(folder: Path) -> None:
    with ray_cluster(3) as cluster:
        doomed = cluster.list_all_nodes()[1:2]

        def leave(outcome: Outcome) -> None:
            if outcome.phase == "videos" and outcome.done > 4 and doomed:
                cluster.remove_node(doomed.pop(), allow_graceful=False)

        index_videos(folder / "videos", folder / "of-three", workers=1, ray=cluster.address, progress=leave)
        assert not doomed
        cluster.add_node(num_cpus=1)
        mixture = recipe.load_recipe("smoke", {}).limited(12)
        build_dataset(
            mixture,
            Corpus(folder / "corpus"),
            folder / "built-of-three",
            templates=load_templates(),
            ray=cluster.address,
        )


def check_a_lacking_node(folder: Path) -> None:
    """Check a node that has an empty folder in place of the videos, and another version of NumPy."""
    videos = folder / "videos"
    (folder / "site/numpy-1.0.dist-info").mkdir(parents=True)
    (folder / "site/numpy-1.0.dist-info/METADATA").write_text("Name: numpy\nVersion: 1.0\n")
    path = f"{folder / 'site'}:{os.environ['PYTHONPATH']}"
    with ray_cluster(1) as cluster:
        start = "mount -t tmpfs none $1 && exec $2 -m ray.scripts.scripts start --address=$3 --num-cpus=1 --block"
        words = ["unshare", "-m", "sh", "-c", start, "-", str(videos.resolve()), sys.executable, cluster.address]
        with subprocess.Popen(words, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL) as node:
            try:
                with RayPool(0, cluster.address, 1) as pool:
                    while len(cluster.list_all_nodes()) + 1 > len(pool._nodes()):
                        time.sleep(0.2)
                    pool.check([videos.resolve() / "bikes.mp4"])
                    raise AssertionError("a node that cannot do the work is let pass")
            except WorkerError as error:
                sys.stdout.write(f"{error}\n")
            finally:
                node.terminate()


def connect_with_token(folder: Path) -> None:
    """Connect to a head that requires the user's token, as any does where there is one in `~/.ray`."""
    (folder / ".ray").mkdir()
    (folder / ".ray/auth_token").write_text("0123456789abcdef" * 4)
    os.environ["HOME"] = str(folder)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--port={port}", "--num-cpus=1"]
    words = [*start, "--include-dashboard=false", "--block"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as head:
        try:
            assert head.stdout is not None
            while "Ray runtime started" not in (line := head.stdout.readline()):
                assert line, "the head did not start"
            with RayPool(b"", f"127.0.0.1:{port}", 1) as pool:
                assert dict(pool.run(double, [1, 2])) == {1: (2, b""), 2: (4, b"")}
        finally:
            head.terminate()


if __name__ == "__main__":
    cases = {case.__name__: case for case in (lose_a_node, index_and_build, check_a_lacking_node, connect_with_token)}
    cases[sys.argv[1]](Path(sys.argv[2]))
