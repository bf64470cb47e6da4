"""`videossr index` as a user runs it: files, lists and folders of images, and errors for missing inputs."""

from __future__ import annotations

import functools
import json
import re
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from videossr.cli import main
from videossr.corpus.corpus import Corpus
from videossr.dataset.manifest import read_manifest
from videossr.errors import CorpusError
from videossr.storage.paths import to_path

Command = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `videos/a.mkv`, `videos/b.mkv`, and `frames/x` of 20 images."""
    (tmp_path / "videos").mkdir()
    for seed, name in enumerate("ab"):
        pictures = np.random.default_rng(seed).integers(0, 256, (20, 64, 96, 3), np.uint8)
        with av.open(tmp_path / f"videos/{name}.mkv", "w") as container:
            stream = container.add_stream("mjpeg", 10, width=96, height=64, pix_fmt="yuvj420p")
            packets = [packet for picture in pictures for packet in stream.encode(av.VideoFrame.from_ndarray(picture))]
            container.mux([*packets, *stream.encode(None)])
    (tmp_path / "frames/x").mkdir(parents=True)
    for number, packet in enumerate(packets):
        (tmp_path / f"frames/x/{number}.jpg").write_bytes(bytes(packet))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def index(folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `videossr index … --out out`; return the exit status, the output and the errors."""

    def run(line: str) -> tuple[int, str, str]:
        try:
            main(["index", *shlex.split(line), "--out", "out", "--frames", "4", "--workers", "1"])
            status = 0
        except SystemExit as exit_info:
            status = int(exit_info.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return status, out, err

    return run


def indexed_paths() -> list[str]:
    return sorted(entry.path for entry in Corpus("out").videos)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("videos", ["a.mkv", "b.mkv"]),
        ("videos/a.mkv", ["a.mkv"]),
        ("videos/b.mkv videos/a.mkv", ["a.mkv", "b.mkv"]),
        ("--list list.txt", ["frames/x", "videos/a.mkv"]),
        ("frames --fps 10", ["x"]),
        ("frames/x --image-fps 29.97", ["x"]),
        ("frames videos --plan fps --fps 5 --image-fps 10", ["frames/x", "videos/a.mkv", "videos/b.mkv"]),
    ],
)
def test_index_command_accepts_files_folders_and_lists(
    index: Command, folder: Path, line: str, expected: list[str]
) -> None:
    (folder / "list.txt").write_text(f"videos/a.mkv\n\n{folder}/frames/x\n")
    status, _, err = index(line + " --image-fps 10" * ("list" in line))
    assert (status, indexed_paths()) == (0, expected), err


def test_index_command_accepts_videos_before_and_after_options(index: Command) -> None:
    status, _, err = index("videos/a.mkv --quality 80 videos/b.mkv")
    assert (status, indexed_paths()) == (0, ["a.mkv", "b.mkv"]), err
    assert index("videos/a.mkv --quallity 80 videos/b.mkv")[0] != 0


def test_index_command_fps_of_a_plan_does_not_need_images(index: Command) -> None:
    assert index("videos --plan fps --fps 2")[0] == 0
    assert {len(entry.times_ms) for entry in Corpus("out").videos} == {4}


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("''", ["a path is empty"]),
        ("", ["no video was named"]),
        ("nowhere", ["nowhere: there is no such file or folder"]),
        ("videos nowhere", ["nowhere: there is no such file or folder"]),
        ("nowhere.mp4", ["nowhere.mp4 is not there", "current folder"]),
        ("empty", ["empty has no videos", "mp4"]),
        ("frames", ["frames has no videos but 1 folder of images", "--image-fps"]),
        ("frames --plan fps --fps 5", ["frames has no videos but 1 folder of images", "--image-fps"]),
        ("frames/x/1.jpg", ["1.jpg is an image", "name its folder"]),
        ("videos --fps 5", ["no folders of images", "--plan fps"]),
        ("--list empty.txt", ["empty.txt is empty"]),
        ("--list videos/a.mkv", ["a.mkv is not a text file", "without --list"]),
        ("--list nowhere.txt", ["nowhere.txt is not there", "a path on each line"]),
        ("--list empty", ["empty is a folder", "without --list"]),
        ("--list bad.txt", ["bad.txt: ", "unknown kind of address x://"]),
    ],
)
def test_index_command_refuses_invalid_inputs_before_writing(
    index: Command, folder: Path, line: str, parts: list[str]
) -> None:
    (folder / "empty").mkdir()
    (folder / "empty.txt").write_text("\n")
    (folder / "bad.txt").write_text("videos/a.mkv\nx://y\n")
    status, _, err = index(line)
    assert status == 2
    assert all(part in err for part in parts), err
    assert not (folder / "out").exists()


def test_index_command_exits_with_1_if_no_video_could_be_used(index: Command, folder: Path) -> None:
    (folder / "list.txt").write_text("videos/a.mkv\n")
    status, out, err = index("list.txt")
    assert status == 1
    assert "0 videos in out" in out
    assert "no video could be used" in err
    assert "give it as --list list.txt" in err.replace(f"{folder}/", "")


def test_corpus_info_command_lists_rejections_with_reasons(
    index: Command, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.mp4").write_bytes(b"no video")
    status, out, _ = index("videos/a.mkv bad.mp4")
    assert status == 0
    assert "1 video in out" in out

    def rejected_info(*options: str) -> str:
        with pytest.raises(SystemExit):
            main(["corpus", "info", "out", "--rejected", *options])
        return capsys.readouterr().out

    assert [row["path"] for row in json.loads(rejected_info("--json"))["rejections"]] == ["bad.mp4"]
    output = rejected_info()
    (rejection,) = Corpus("out").rejections()
    assert re.search(rf"^ *bad\.mp4 +{rejection.reason} +\S", output, re.MULTILINE), output
    (folder / "out/rejected.parquet").unlink()
    with pytest.raises(CorpusError, match=r"rejected\.parquet is missing or damaged"):
        Corpus("out").rejections()


class FileServer(SimpleHTTPRequestHandler):
    """A server of the files of a folder."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class FailingServer(BaseHTTPRequestHandler):
    """A server that answers every request with status 503."""

    def do_GET(self) -> None:
        self.send_error(503)

    def do_HEAD(self) -> None:
        self.send_error(503)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve(port: int, handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


@pytest.fixture
def port() -> int:
    """A port of this machine on which no server listens yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["b.mkv", ""])
def test_index_command_tells_an_unreachable_server_from_a_missing_file(
    index: Command, folder: Path, port: int, name: str
) -> None:
    line = f"videos/a.mkv http://127.0.0.1:{port}/{name}"
    (folder / "web").mkdir()
    (folder / "videos/b.mkv").rename(folder / "web/b.mkv")
    status, _, err = index(line)
    assert status == 2
    assert "the server cannot be reached" in err
    assert f"127.0.0.1:{port}" in err
    with serve(port, FailingServer):
        status, _, err = index(line)
    assert status == 2
    assert "503" in err
    assert not (folder / "out").exists()
    with serve(port, functools.partial(FileServer, directory=str(folder / "web"))):
        status, _, err = index(line)
        assert status == 0, err
        assert len(indexed_paths()) == 2
        if name:
            status, _, err = index(f"{line} http://127.0.0.1:{port}/missing.mkv")
            assert status == 0
            assert "missing.mkv: unreadable: it is not a file" in err


def test_corpus_and_read_manifest_raise_connection_errors(port: int) -> None:
    for read in (Corpus, read_manifest):
        with pytest.raises(ConnectionError, match="the server cannot be reached"):
            read(to_path(f"http://127.0.0.1:{port}/there"))


@pytest.mark.slow
def test_index_videos_calls_of_the_videos_page_run(folder: Path) -> None:
    """Each call writes a corpus of its own; the paths are those of the document."""
    text = (Path(__file__).parents[2] / "docs/how-to/videos.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (folder / "more").mkdir()
    (folder / "videos/a.mkv").rename(folder / "clip.mp4")
    (folder / "more/b.mkv").write_bytes((folder / "videos/b.mkv").read_bytes())
    (folder / "train.txt").write_text("clip.mp4\nmore\n")
    block = block.replace('"corpus"', "next(outs)")
    assert block.count("next(outs)") == 4
    exec(block, {"outs": (f"corpus-{number}" for number in range(4))})
    corpora = [Corpus(f"corpus-{number}") for number in range(4)]  # the videos are too short for the default plan
    assert [len(corpus) + sum(corpus.manifest["rejected"].values()) for corpus in corpora] == [1, 2, 2, 1]
