"""Web servers that send us elsewhere, that never end, or whose pages were made to keep us busy."""

from __future__ import annotations

import gzip
import json
import pickle
import re
import shutil
import time
import tracemalloc
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import aiohttp
import pytest
from fsspec.implementations.http import HTTPFileSystem  # type: ignore[import-untyped]

from tests.helpers.hostile_server import answer, hostile_server
from videossr.corpus import sources
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import corpus_place, read_manifest
from videossr.errors import CorpusError, DataError, ServerError
from videossr.storage import web
from videossr.storage.paths import reaching, same_host, to_path

MOST_MEMORY = 30_000_000


def serve(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    """Send a file, or the range of it that is asked for."""
    wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
    if wanted is None:
        answer(handler, data)
        return
    start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(data))
    answer(handler, data[start:stop], 206, content_range=f"bytes {start}-{stop - 1}/{len(data)}")


def test_another_server_is_not_asked_for_a_file() -> None:
    with hostile_server(lambda handler: answer(handler, b"secret")) as other:
        with hostile_server(lambda handler: answer(handler, b"\x1b[31mred", 302, location=f"{other.url}/x")) as server:
            path = to_path(f"{server.url}/a.mp4")
            for read in (path.read_bytes, path.stat, lambda: path.open("rb"), lambda: list(path.iterdir())):
                with pytest.raises(ServerError, match="another server") as refused, reaching(path):
                    read()
                assert other.url in str(refused.value)
                assert "\x1b" not in str(refused.value)
        assert not other.seen


def test_a_file_may_be_on_another_page_of_its_server() -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/a":
            answer(handler, b"", 301, location="/b")
        else:
            serve(handler, b"data")

    with hostile_server(respond) as server:
        assert to_path(f"{server.url}/a").read_bytes() == b"data"


def test_a_video_that_is_elsewhere_is_rejected_and_the_others_are_indexed(videos: Path, tmp_path: Path) -> None:
    data = (videos / "real/bikes.mp4").read_bytes()
    with hostile_server(lambda handler: answer(handler, data)) as other:

        def respond(handler: BaseHTTPRequestHandler) -> None:
            if handler.path == "/":
                answer(handler, b"<a href=\"a.mp4\"> <A HREF='b.mp4'>", content_type="text/html")
            elif handler.path == "/b.mp4":
                answer(handler, b"", 302, location=f"{other.url}/b.mp4")
            else:
                serve(handler, data)

        with hostile_server(respond) as server:
            summary = index_videos(f"{server.url}/", tmp_path / "corpus", isolated=False)
        assert not other.seen
    assert summary.videos == 1
    (rejected,) = Corpus(tmp_path / "corpus").rejections()
    assert (rejected.path, rejected.reason) == ("b.mp4", "unreadable")
    assert "another server" in (rejected.detail or "")


@pytest.mark.parametrize("size", [None, 10**15])
def test_an_endless_file_is_not_read_into_memory(size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MOST_BYTES", 5_000_000)

    def respond(handler: BaseHTTPRequestHandler) -> None:
        if size is None:
            server.endless(handler)
        elif handler.command == "HEAD":
            answer(handler, None, content_length=str(size))
        else:
            server.endless(handler, content_length=str(size))

    with hostile_server(respond) as server:
        tracemalloc.start()
        path = to_path(f"{server.url}/manifest.json")
        with pytest.raises(ServerError, match="more than 5,000,000 bytes"):
            path.read_text()
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert most < MOST_MEMORY


def test_more_than_the_range_that_was_asked_for_is_refused() -> None:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "HEAD":
            answer(handler, None, content_length="1000000")
        else:
            server.endless(handler, 206, content_range="bytes 0-99/1000000")

    with hostile_server(respond) as server:
        path = to_path(f"{server.url}/a.mp4")
        assert not isinstance(path, Path)
        with path.open("rb", cache_type="none") as file, pytest.raises(ServerError, match="more than 100 bytes"):
            file.read(100)
        assert server.sent < MOST_MEMORY


def test_a_file_that_trickles_is_given_up_after_the_time_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece comes in time for a read; together they take for ever."""
    HTTPFileSystem.clear_instance_cache()
    monkeypatch.setattr(web, "_TIMES", aiohttp.ClientTimeout(total=1))

    def respond(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, None)
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.1)

    with hostile_server(respond) as server:
        path = to_path(f"{server.url}/manifest.json")
        began = time.monotonic()
        with pytest.raises(ConnectionError, match=r"does not answer in time|[Tt]imeout"), reaching(path):
            path.read_text()
        assert time.monotonic() - began < 8
    HTTPFileSystem.clear_instance_cache()


def test_a_compressed_file_is_refused() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    with hostile_server(lambda handler: answer(handler, bomb, content_encoding="gzip")) as server:
        path = to_path(f"{server.url}/manifest.json")
        with pytest.raises(ServerError, match="compressed"), reaching(path):
            path.read_text()
        assert {headers["accept-encoding"] for _, _, headers in server.seen} == {"identity"}


@pytest.mark.parametrize(
    "page",
    [
        b"<a " + b" " * 3_000_000,
        b"<a " * 1_000_000,
        b"<a href" + b" " * 3_000_000,
        b'<a href="' + b"x" * 3_000_000,
        b"<a " + b'href=" ' * 500_000,
    ],
    ids=["spaces", "tags", "href", "link", "hrefs"],
)
def test_a_page_that_was_made_to_keep_us_busy_does_not(page: bytes) -> None:
    """The patterns of fsspec take hours for the first of them."""
    page += b'<a href="a.mp4">'
    with hostile_server(lambda handler: answer(handler, page, content_type="text/html")) as server:
        began = time.monotonic()
        list(to_path(f"{server.url}/").iterdir())
        assert time.monotonic() - began < 5


def test_a_page_has_a_limited_number_of_links() -> None:
    page = b"".join(b'<a href="%d.mp4">' % number for number in range(web.MOST_LINKS + 1))
    with (
        hostile_server(lambda handler: answer(handler, page, content_type="text/html")) as server,
        pytest.raises(ServerError, match="lists more than 100,000 files"),
    ):
        list(to_path(f"{server.url}/").iterdir())


@pytest.mark.parametrize("links", [["x/"], ["../", "a/../../b/", "?C=N/", "x/"], ["{n}a/", "{n}b/", "v{n}.mp4"]])
def test_folders_of_a_web_server_without_an_end_have_one(
    links: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sources, "MOST_PAGES", 100)
    told: list[tuple[int, int]] = []

    def respond(handler: BaseHTTPRequestHandler) -> None:
        page = "".join(f'<a href="{link}">' for link in links).format(n=len(server.seen))
        answer(handler, page.encode(), content_type="text/html")

    with hostile_server(respond) as server:
        with pytest.raises(DataError, match="--list"):
            sources.find([to_path(f"{server.url}/v")], tmp_path, None, lambda done, known: told.append((done, known)))
        assert len(server.seen) <= 101
        assert all(path.startswith("/v") for path in server.paths())
    assert told == sorted(told)


def test_an_address_can_be_handed_to_another_process() -> None:
    with hostile_server(lambda handler: serve(handler, b"data")) as server:
        path = to_path(f"{server.url}/a")
        assert pickle.loads(pickle.dumps(path)).read_bytes() == path.read_bytes() == b"data"


def test_hosts_and_buckets_are_told_apart() -> None:
    def same(first: str, second: str) -> bool:
        return same_host(to_path(first), to_path(second))

    assert same("https://host/a", "https://HOST/b/c")
    assert not same("https://host/a", "https://host:8/a")
    assert not same("https://host/a", "http://host/a")
    assert not same("https://host/a", "https://host.evil/a")
    assert same("s3://bucket/a", "s3://bucket/b")
    assert not same("s3://bucket/a", "s3://other/a")
    assert not same("/a", "/a")


def moved(dataset: Path, to: Path, corpus: str) -> Path:
    """A copy of a dataset whose manifest names another corpus."""
    shutil.copytree(dataset, to)
    manifest = json.loads((to / "manifest.json").read_text("utf-8"))
    manifest["corpus"]["path"] = corpus
    (to / "manifest.json").write_text(json.dumps(manifest))
    return to


def test_a_host_that_only_a_manifest_names_is_not_asked(dataset: Path, corpus: Corpus, tmp_path: Path) -> None:
    with hostile_server(lambda handler: answer(handler, b"", 404)) as other:
        copy = moved(dataset, tmp_path / "copy", f"{other.url}/corpus")
        with pytest.raises(CorpusError, match="name it with --corpus"):
            VideoSSRDataset(copy)
        assert not other.seen
        assert len(VideoSSRDataset(copy, corpus=corpus.path)) == 8

        files = {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()}
        with (
            hostile_server(lambda handler: serve(handler, files.get(handler.path[1:], b""))) as server,
            pytest.raises(CorpusError, match="another host"),
        ):
            VideoSSRDataset(server.url)
        assert not other.seen


@pytest.mark.parametrize(
    ("named", "place"),
    [
        ("../corpus", "https://host/data/corpus"),
        ("corpus", "https://host/data/set/corpus"),
        ("../../../../evil/corpus", "https://host/evil/corpus"),
        ("https://evil/corpus", "https://evil/corpus"),
    ],
)
def test_a_relative_corpus_is_found_without_a_request(named: str, place: str, dataset: Path, tmp_path: Path) -> None:
    copy = moved(dataset, tmp_path / "copy", named)
    assert str(corpus_place(to_path("https://host/data/set"), read_manifest(copy))) == place
