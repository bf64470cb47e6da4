"""Videos, corpus and dataset on a local S3 server, and videos of a web server: the bytes are those of local files."""

from __future__ import annotations

import functools
import http.server
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import ROOT
from tests.integration.faults import VIDEOSSR, hash_tree

boto3: Any = pytest.importorskip("boto3", reason="moto[server] is not installed")
pytestmark = pytest.mark.integration

CLIPS = ("bikes.mp4", "bottles.mp4", "carphone.mp4", "pancake.mkv", "scene_cuts.mp4")
SECRET = "nobody-may-read-this-Zq7"
KEY = "AKIA0NOBODYMAYSEE0Zq7"
PICTURES = """
import hashlib, sys
from videossr.dataset.dataset import VideoSSRDataset
for item in map(VideoSSRDataset(sys.argv[1]).__getitem__, range(6)):
    print(item.sample.id, *(hashlib.sha256(clip.frames).hexdigest() for clip in item.clips))
"""


@dataclass(frozen=True)
class Store:
    """The S3 server: the environment to reach it, its log, a client, and the cache folder."""

    env: dict[str, str]
    log: Path
    client: Any
    cache: Path

    def run(self, *words: str, root: Path, succeeds: bool = True) -> str:
        """Run a command, check that its output holds no credential, and return the output."""
        completed = subprocess.run(words, cwd=root, env=self.env, capture_output=True, text=True, check=False)
        output = completed.stdout + completed.stderr
        assert (completed.returncode == 0) == succeeds, output
        assert completed.returncode in (0, 2), output
        assert "Traceback" not in output
        assert SECRET not in output
        assert KEY not in output
        return output

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Return the content of objects by their keys after the prefix."""
        entries = self.client.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
        return {
            entry["Key"].removeprefix(prefix): self.client.get_object(Bucket="bucket", Key=entry["Key"])["Body"].read()
            for entry in entries
        }

    def puts(self, prefix: str) -> list[str]:
        """Return the keys written below a prefix, in the order of the server's log."""
        return re.findall(rf'"(?:\S*m)?PUT /bucket/{prefix}(\S+) HTTP', self.log.read_text("utf-8"))


@pytest.fixture(scope="module")
def root(shared_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with some `videos` and a recipe."""
    folder = tmp_path_factory.mktemp("remote")
    (folder / "videos").mkdir()
    for name in CLIPS:
        (folder / "videos" / name).symlink_to(shared_videos / "real" / name)
    (folder / "recipe.toml").write_text(
        'name = "remote"\n[categories.mirror]\ntask = "grounding"\ncount = 4\nconfig = { perturbation = "mirror" }\n'
        '[categories.order]\ntask = "jigsaw"\ncount = 2\n'
    )
    return folder


@pytest.fixture(scope="module")
def store(root: Path) -> Iterator[Store]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    log = root / "server.log"
    words = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as file, subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT) as server:
        while True:
            assert server.poll() is None, log.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        names = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=endpoint, **names)
        client.create_bucket(Bucket="bucket")
        for name in CLIPS:
            client.put_object(Bucket="bucket", Key=f"videos/{name}", Body=(root / "videos" / name).read_bytes())
        env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "PYTHONPATH": str(ROOT / "src"),
            "XDG_CACHE_HOME": str(root / "cache"),
            "COLUMNS": "500",
        }
        try:
            yield Store(env, log, client, root / "cache")
        finally:
            client.close()
            server.terminate()


@pytest.fixture(scope="module")
def local(root: Path, store: Store) -> Path:
    """Index the local files."""
    store.run(*VIDEOSSR, "index", "videos", "--out", "corpus", "--workers", "2", root=root)
    return root / "corpus"


@pytest.fixture(scope="module")
def remote(root: Path, store: Store, local: Path) -> str:
    """Index the videos in the store into a corpus in the store."""
    store.run(*VIDEOSSR, "index", "s3://bucket/videos", "--out", "s3://bucket/corpus", "--workers", "2", root=root)
    return "s3://bucket/corpus"


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serve a folder over HTTP with range requests."""

    def __init__(self, *args: Any, asked: list[str], **options: Any) -> None:
        self.asked = asked
        super().__init__(*args, **options)

    def log_message(self, format: str, *args: Any) -> None:
        return

    def send_head(self) -> Any:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        file = Path(self.translate_path(self.path))
        if not wanted or not file.is_file():
            return super().send_head()
        self.asked.append(self.path)
        data = file.read_bytes()
        start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        return io.BytesIO(data[start:stop])


@contextmanager
def range_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Run a server; yield its address, and a list of the files of which ranges are requested."""
    requested_files: list[str] = []
    handler = functools.partial(RangeHandler, directory=str(folder), asked=requested_files)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", requested_files
        finally:
            server.shutdown()
            thread.join()


def read_files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in hash_tree(folder)}


def test_index_into_a_store_gives_the_bytes_of_a_local_corpus(store: Store, local: Path, remote: str) -> None:
    assert store.objects("corpus/") == read_files(local)


def test_index_into_a_store_puts_each_pack_once_and_the_manifest_last(store: Store, local: Path, remote: str) -> None:
    puts = store.puts("corpus/")
    assert sorted(puts) == sorted(hash_tree(local))
    assert puts[-1] == "manifest.json"
    assert not list((store.cache / "videossr").glob("*/*"))


def test_build_into_a_store_gives_the_same_samples(root: Path, store: Store, remote: str) -> None:
    options = ["--workers", "2", "--seed", "3"]
    store.run(*VIDEOSSR, "build", "recipe.toml", "--corpus", "corpus", "--out", "dataset", *options, root=root)
    built = ["build", "recipe.toml", "--corpus", remote, "--out", "s3://bucket/dataset", *options]
    store.run(*VIDEOSSR, *built, root=root)
    local_files, stored_files = read_files(root / "dataset"), store.objects("dataset/")
    manifests = [json.loads(contents.pop("manifest.json")) for contents in (local_files, stored_files)]
    assert manifests[1]["corpus"].pop("path") == remote
    assert manifests[0]["corpus"].pop("path") == "../corpus"
    assert manifests[0] == manifests[1]
    assert local_files == stored_files
    puts = store.puts("dataset/")
    assert len(puts) == len(set(puts))
    assert puts[-1] == "manifest.json"
    pictures = [
        store.run(sys.executable, "-c", PICTURES, path, root=root) for path in ("dataset", "s3://bucket/dataset")
    ]
    assert pictures[0] == pictures[1]
    assert len(pictures[0].splitlines()) == 6


def test_index_into_a_store_resumes_after_a_kill(root: Path, store: Store, local: Path) -> None:
    words = [*VIDEOSSR, "index", "s3://bucket/videos", "--out", "s3://bucket/killed", "--workers", "1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=root, env=store.env, stdout=pipe, stderr=pipe) as process:
        while not any(name.startswith("packs/") for name in store.puts("killed/")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert "manifest.json" not in store.objects("killed/")
    before = [name for name in store.puts("killed/") if name.startswith("packs/")]
    store.run(*words, root=root)
    assert store.objects("killed/") == read_files(local)
    packs = [name for name in store.puts("killed/") if name.startswith("packs/")]
    assert len(packs) - len(set(packs)) <= 1  # the pack that was being written
    assert len(before) < len(set(packs))


def test_index_of_videos_from_a_web_server(root: Path, store: Store, local: Path) -> None:
    with range_server(root / "videos") as (address, requested_files):
        store.run(*VIDEOSSR, "index", address, "--out", "of-web", "--workers", "2", root=root)
        assert read_files(root / "of-web") == read_files(local)
        assert any(requested_files)
        output = store.run(*VIDEOSSR, "index", "videos", "--out", f"{address}corpus", root=root, succeeds=False)
        assert "cannot be written" in output


def test_index_reports_stores_that_cannot_be_reached(root: Path, store: Store) -> None:
    run_failing = functools.partial(store.run, root=root, succeeds=False)
    output = run_failing(*VIDEOSSR, "index", "s3://bucket/nothing", "--out", "none")
    assert "s3://bucket/nothing" in output
    output = run_failing(*VIDEOSSR, "index", "videos", "--out", "s3://no-such-bucket/corpus")
    assert "bucket does not exist" in output
    assert not (root / "none").exists()
    assert "no-such-bucket" not in {entry["Name"] for entry in store.client.list_buckets()["Buckets"]}
    for address in (f"s3://{KEY}:{SECRET}@bucket/videos", f"https://server/v?token={SECRET}"):
        assert "give no credentials" in run_failing(*VIDEOSSR, "index", address, "--out", "none")
    dead = Store({**store.env, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, store.log, store.client, store.cache)
    output = dead.run(*VIDEOSSR, "index", "s3://bucket/videos", "--out", "none", root=root, succeeds=False)
    assert "127.0.0.1:1" in output
    bare = {name: value for name, value in store.env.items() if "AWS_" not in name or "ENDPOINT" in name}
    nobody = Store({**bare, "AWS_EC2_METADATA_DISABLED": "true"}, store.log, store.client, store.cache)
    output = nobody.run(*VIDEOSSR, "index", "s3://bucket/videos", "--out", "none", root=root, succeeds=False)
    assert "credentials" in output


def test_index_and_build_write_no_credentials(root: Path, store: Store, remote: str) -> None:
    written = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    everything = [path.read_bytes() for path in written] + list(store.objects("").values())
    assert len(everything) > 20
    assert not [data for data in everything if SECRET.encode() in data]
