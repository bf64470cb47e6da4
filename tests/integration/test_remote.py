"""Videos, corpus and dataset on a real S3 server on loopback, videos of a web server: the bytes are the local ones."""

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
from tests.integration.faults import VIDEOSSR, tree

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
    """The server: where it listens, what it logs, and a client for looking in from outside."""

    env: dict[str, str]
    log: Path
    client: Any
    cache: Path

    def run(self, *words: str, where: Path, succeeds: bool = True) -> str:
        """A command; what it says, in which no credential may be."""
        done = subprocess.run(words, cwd=where, env=self.env, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert (done.returncode == 0) == succeeds, said
        assert done.returncode in (0, 2), said
        assert "Traceback" not in said
        assert SECRET not in said
        assert KEY not in said
        return said

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Key behind the prefix -> content."""
        found = self.client.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])
        return {
            entry["Key"].removeprefix(prefix): self.client.get_object(Bucket="bucket", Key=entry["Key"])["Body"].read()
            for entry in found
        }

    def puts(self, prefix: str) -> list[str]:
        """The keys written below a prefix, in order, as the server's own log has them."""
        return re.findall(rf'"(?:\S*m)?PUT /bucket/{prefix}(\S+) HTTP', self.log.read_text("utf-8"))


@pytest.fixture(scope="module")
def where(shared_videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with some `videos` and a recipe."""
    made = tmp_path_factory.mktemp("remote")
    (made / "videos").mkdir()
    for name in CLIPS:
        (made / "videos" / name).symlink_to(shared_videos / "real" / name)
    (made / "recipe.toml").write_text(
        'name = "remote"\n[categories.mirror]\ntask = "grounding"\ncount = 4\nconfig = { perturbation = "mirror" }\n'
        '[categories.order]\ntask = "jigsaw"\ncount = 2\n'
    )
    return made


@pytest.fixture(scope="module")
def store(where: Path) -> Iterator[Store]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    log = where / "server.log"
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
            client.put_object(Bucket="bucket", Key=f"videos/{name}", Body=(where / "videos" / name).read_bytes())
        env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "PYTHONPATH": str(ROOT / "src"),
            "XDG_CACHE_HOME": str(where / "cache"),
            "COLUMNS": "500",
        }
        try:
            yield Store(env, log, client, where / "cache")
        finally:
            client.close()
            server.terminate()


@pytest.fixture(scope="module")
def local(where: Path, store: Store) -> Path:
    """The corpus of the local files."""
    store.run(*VIDEOSSR, "index", "videos", "--out", "corpus", "--workers", "2", where=where)
    return where / "corpus"


@pytest.fixture(scope="module")
def remote(where: Path, store: Store, local: Path) -> str:
    """The corpus of the videos in the store, in the store."""
    store.run(*VIDEOSSR, "index", "s3://bucket/videos", "--out", "s3://bucket/corpus", "--workers", "2", where=where)
    return "s3://bucket/corpus"


class Ranges(http.server.SimpleHTTPRequestHandler):
    """A folder on the web, of whose files any part may be asked for."""

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
def ranged_server(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Its address, and which files a part was asked of."""
    asked: list[str] = []
    handler = functools.partial(Ranges, directory=str(folder), asked=asked)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", asked
        finally:
            server.shutdown()
            thread.join()


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in tree(folder)}


def test_a_corpus_in_a_store_has_the_bytes_of_a_local_one(store: Store, local: Path, remote: str) -> None:
    assert store.objects("corpus/") == files(local)


def test_each_pack_is_put_once_and_the_manifest_last(store: Store, local: Path, remote: str) -> None:
    puts = store.puts("corpus/")
    assert sorted(puts) == sorted(tree(local))
    assert puts[-1] == "manifest.json"
    assert not list((store.cache / "videossr").glob("*/*"))


def test_a_dataset_in_a_store_has_the_same_samples(where: Path, store: Store, remote: str) -> None:
    options = ["--workers", "2", "--seed", "3"]
    store.run(*VIDEOSSR, "build", "recipe.toml", "--corpus", "corpus", "--out", "dataset", *options, where=where)
    built = ["build", "recipe.toml", "--corpus", remote, "--out", "s3://bucket/dataset", *options]
    store.run(*VIDEOSSR, *built, where=where)
    here, there = files(where / "dataset"), store.objects("dataset/")
    manifests = [json.loads(made.pop("manifest.json")) for made in (here, there)]
    assert manifests[1]["corpus"].pop("path") == remote
    assert manifests[0]["corpus"].pop("path") == "../corpus"
    assert manifests[0] == manifests[1]
    assert here == there
    puts = store.puts("dataset/")
    assert len(puts) == len(set(puts))
    assert puts[-1] == "manifest.json"
    pictures = [
        store.run(sys.executable, "-c", PICTURES, path, where=where) for path in ("dataset", "s3://bucket/dataset")
    ]
    assert pictures[0] == pictures[1]
    assert len(pictures[0].splitlines()) == 6


def test_a_run_into_a_store_that_is_killed_goes_on(where: Path, store: Store, local: Path) -> None:
    words = [*VIDEOSSR, "index", "s3://bucket/videos", "--out", "s3://bucket/killed", "--workers", "1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=where, env=store.env, stdout=pipe, stderr=pipe) as process:
        while not any(name.startswith("packs/") for name in store.puts("killed/")):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert "manifest.json" not in store.objects("killed/")
    before = [name for name in store.puts("killed/") if name.startswith("packs/")]
    store.run(*words, where=where)
    assert store.objects("killed/") == files(local)
    packs = [name for name in store.puts("killed/") if name.startswith("packs/")]
    assert len(packs) - len(set(packs)) <= 1  # the one that was on its way
    assert len(before) < len(set(packs))


def test_videos_from_a_web_server(where: Path, store: Store, local: Path) -> None:
    with ranged_server(where / "videos") as (address, asked):
        store.run(*VIDEOSSR, "index", address, "--out", "of-web", "--workers", "2", where=where)
        assert files(where / "of-web") == files(local)
        assert any(asked)
        said = store.run(*VIDEOSSR, "index", "videos", "--out", f"{address}corpus", where=where, succeeds=False)
        assert "cannot be written" in said


def test_what_cannot_be_reached_is_told(where: Path, store: Store) -> None:
    no = functools.partial(store.run, where=where, succeeds=False)
    said = no(*VIDEOSSR, "index", "s3://bucket/nothing", "--out", "none")
    assert "s3://bucket/nothing" in said
    said = no(*VIDEOSSR, "index", "videos", "--out", "s3://no-such-bucket/corpus")
    assert "bucket does not exist" in said
    assert not (where / "none").exists()
    assert "no-such-bucket" not in {entry["Name"] for entry in store.client.list_buckets()["Buckets"]}
    for address in (f"s3://{KEY}:{SECRET}@bucket/videos", f"https://server/v?token={SECRET}"):
        assert "give no credentials" in no(*VIDEOSSR, "index", address, "--out", "none")
    dead = Store({**store.env, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, store.log, store.client, store.cache)
    said = dead.run(*VIDEOSSR, "index", "s3://bucket/videos", "--out", "none", where=where, succeeds=False)
    assert "127.0.0.1:1" in said
    bare = {name: value for name, value in store.env.items() if "AWS_" not in name or "ENDPOINT" in name}
    nobody = Store({**bare, "AWS_EC2_METADATA_DISABLED": "true"}, store.log, store.client, store.cache)
    said = nobody.run(*VIDEOSSR, "index", "s3://bucket/videos", "--out", "none", where=where, succeeds=False)
    assert "credentials" in said


def test_credentials_are_in_no_file(where: Path, store: Store, remote: str) -> None:
    written = [path for path in where.rglob("*") if path.is_file() and not path.is_symlink()]
    everything = [path.read_bytes() for path in written] + list(store.objects("").values())
    assert len(everything) > 20
    assert not [data for data in everything if SECRET.encode() in data]
