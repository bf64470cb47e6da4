"""Remote videos: the same frames as from the disk, no byte fetched twice, and outages that are not blamed on videos."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer
from upath import UPath

from tests.helpers.clips import copy
from videossr.video import remote
from videossr.video.decoding import decode
from videossr.video.plan import Plan, RejectedError


class RecordingFile(io.BytesIO):
    """A file that records which ranges of it were read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.ranges: list[range] = []

    def read(self, size: int | None = -1) -> bytes:
        start = self.tell()
        data = super().read(size)
        self.ranges.append(range(start, start + len(data)))
        return data


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=400), st.lists(st.tuples(st.integers(0, 420), st.integers(1, 90)), max_size=12))
def test_remote_reads_give_the_bytes_and_fetch_none_twice(
    monkeypatch: pytest.MonkeyPatch, data: bytes, reads: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(remote, "_BLOCK", 16)
    monkeypatch.setattr(remote, "_AHEAD", 64)
    file = RecordingFile(data)
    source = remote.Remote(file, io.BytesIO())
    for start, size in reads:
        source.seek(start)
        assert source.read(size) == data[start : start + size]
        assert source.tell() == max(start, min(start + size, len(data)))
    fetched = [byte for part in file.ranges for byte in part]
    assert len(fetched) == len(set(fetched))
    source.seek(0)
    source.blank = True
    assert source.read(500) == bytes(len(data))


@dataclass
class ServerState:
    """The state of a local server: its files, the ranges that it served, and after how many it fails."""

    address: str = ""
    folder: Path = Path()
    ranges: dict[str, list[range]] = field(default_factory=dict)
    breaks_after: int | None = None

    def bytes_of(self, name: str) -> int:
        return sum(map(len, self.ranges[name]))


@pytest.fixture
def web_server(tmp_path: Path) -> Iterator[ServerState]:
    """A web server with range requests, for the files of a new folder."""
    state = ServerState(folder=tmp_path / "served")
    state.folder.mkdir()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            name = self.path.removeprefix("/")
            data = (state.folder / name).read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            part = range(int(asked[1]), min(int(asked[2]) + 1, len(data))) if asked else range(len(data))
            given = state.ranges.setdefault(name, [])
            if body and state.breaks_after is not None and len(given) >= state.breaks_after:
                self.send_error(500)
                return
            self.send_response(206 if asked else 200)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            if asked:
                self.send_header("Content-Range", f"bytes {part.start}-{part.stop - 1}/{len(data)}")
            self.end_headers()
            if body:
                given.append(part)
                self.wfile.write(data[part.start : part.stop])

        def log_message(self, format: str, *values: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state.address = f"http://127.0.0.1:{server.server_address[1]}"
        yield state
        server.shutdown()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[UPath]:
    """A bucket of a local S3 server."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="videos")
    yield UPath("s3://videos", endpoint_url=address, skip_instance_cache=True)
    server.stop()


@pytest.fixture
def container_variants(videos: Path, tmp_path: Path) -> list[Path]:
    """One video as mp4 with the index at either end or in fragments, mkv and ts."""
    source = videos / "real" / "bikes.mp4"
    return [
        copy(source, tmp_path / "first.mp4", {"movflags": "faststart"}),
        copy(source, tmp_path / "last.mp4"),
        copy(source, tmp_path / "fragments.mp4", {"movflags": "frag_keyframe+empty_moov"}),
        copy(source, tmp_path / "plain.mkv"),
        copy(source, tmp_path / "plain.ts"),
    ]


@pytest.mark.parametrize("kind", ["uniform", "snap"])
def test_decode_from_an_object_store_gives_the_same_frames(
    container_variants: list[Path], bucket: UPath, kind: str
) -> None:
    for path in container_variants:
        plan = Plan(kind="snap" if kind == "snap" else "uniform", frames=8)
        stored = bucket / path.name
        stored.write_bytes(path.read_bytes())
        local, fetched = decode(path, plan), decode(stored, plan)
        assert fetched.choice == local.choice
        assert fetched.timeline == local.timeline
        assert fetched.facts == local.facts
        assert np.array_equal(fetched.frames, local.frames)


def test_decode_over_http_fetches_no_byte_twice(container_variants: list[Path], web_server: ServerState) -> None:
    for path in container_variants:
        (web_server.folder / path.name).write_bytes(path.read_bytes())
        fetched = decode(UPath(f"{web_server.address}/{path.name}"), Plan(frames=8))
        assert np.array_equal(fetched.frames, decode(path, Plan(frames=8)).frames)
        assert web_server.bytes_of(path.name) <= path.stat().st_size


def test_decode_over_http_needs_few_requests_and_snap_few_bytes(
    videos: Path, tmp_path: Path, web_server: ServerState
) -> None:
    """Of 12 MB and four minutes, the uniform plan reads all in few requests, and snap reads less than half."""
    for name, muxer in (("first.mp4", {"movflags": "faststart"}), ("last.mp4", {})):
        path = copy(videos / "real" / "bikes.mp4", tmp_path / name, muxer, times=24)
        (web_server.folder / name).write_bytes(path.read_bytes())
        size = path.stat().st_size
        plan = Plan(frames=16, kind="snap")
        local, fetched = decode(path, plan), decode(UPath(f"{web_server.address}/{name}"), plan)
        assert fetched.choice == local.choice
        assert np.array_equal(fetched.frames, local.frames)
        assert web_server.bytes_of(name) < size / 2
        web_server.ranges.clear()
        decode(UPath(f"{web_server.address}/{name}"), Plan(frames=16))
        assert web_server.bytes_of(name) <= size
        assert len(web_server.ranges[name]) < 20


def test_decode_raises_connection_errors_instead_of_rejecting_the_video(
    container_variants: list[Path], web_server: ServerState, bucket: UPath
) -> None:
    path = container_variants[0]
    (web_server.folder / path.name).write_bytes(path.read_bytes())
    stored = UPath(f"{web_server.address}/{path.name}")
    for web_server.breaks_after in (0, 1):
        web_server.ranges.clear()
        with pytest.raises(ConnectionError, match=path.name):
            decode(stored, Plan(frames=8))
    with pytest.raises(FileNotFoundError):
        decode(bucket / "nothing.mp4", Plan(frames=8))
    text = bucket / "text.mp4"
    text.write_bytes(b"not a video " * 1000)
    with pytest.raises(RejectedError, match="unreadable"):
        decode(text, Plan(frames=8))
