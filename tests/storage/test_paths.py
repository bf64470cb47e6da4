"""`to_path`: the file that a path or an address means, and the addresses that are refused."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from videossr.storage.paths import PARTIAL, atomic_write, lies_in, to_path, unfinished_name


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("videos/a#b?c%20d", "videos/a#b?c%20d"),
        ("file:///videos/take#2", "/videos/take#2"),
        ("file:///videos/what?", "/videos/what?"),
        ("FILE:///my%20videos", "/my videos"),
        ("local:///my%20videos", "/my videos"),
        ("./odd:/videos", "odd:/videos"),
    ],
)
def test_to_path_of_local_paths_and_addresses(text: str, path: str) -> None:
    assert to_path(text) == Path(path)
    assert isinstance(to_path(text), Path)


@pytest.mark.parametrize("text", ["memory://videos/what?#2", "MEMORY://videos/what?#2"])
def test_to_path_of_remote_addresses(text: str) -> None:
    assert str(to_path(text)) in ("memory://videos/what?#2", "memory:///videos/what?#2")


def test_to_path_keeps_every_character_of_an_object_key() -> None:
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'videossr[remote]'")
    path = to_path("S3://bucket/what?/a#b@c")
    assert not isinstance(path, Path)
    assert (path.protocol, path.path) == ("s3", "bucket/what?/a#b@c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file://videos/a", "no server"),
        ("file://", "no server"),
        ("odd://videos", r"unknown kind of address odd://.* as \./odd://videos"),
        ("a b://videos", "unknown kind of address"),
        ("://videos", "unknown kind of address"),
        ("https://server/videos?token=hush", "give no credentials"),
        ("HTTPS://server?token=hush", "give no credentials"),
        ("s3://key:hush@bucket/videos", "give no credentials"),
    ],
)
def test_to_path_refuses_unknown_schemes_and_credentials(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        to_path(text)
    assert "hush" not in str(raised.value)


NOWHERE = "http://127.0.0.1:9"
"""A port of this machine at which nobody listens."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("index", "hf://datasets/o/videos", "--out", "corpus"),
        ("validate", "hf://datasets/o/built"),
        ("bench", "run", "hf://datasets/o/bench", "--model", "chance", "--out", "run"),
    ],
)
@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, f"{NOWHERE}/api/datasets/o/"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"),  # which some file systems hide behind "does not exist"
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "ALL_PROXY: unset it"),
        ({"ALL_PROXY": NOWHERE}, f"{NOWHERE}/api/datasets/o/"),
    ],
)
def test_commands_report_an_unreachable_hub_in_one_line(
    words: tuple[str, ...], env: dict[str, str], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install 'videossr[hf]'")
    if "socks" in str(env) and importlib.util.find_spec("socksio"):
        pytest.skip("socksio is installed, so SOCKS proxies can be used")
    completed = subprocess.run(
        [sys.executable, "-m", "videossr.cli", *words],
        env={**os.environ, "HF_ENDPOINT": NOWHERE, "HF_HUB_OFFLINE": "0", **env},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 2
    (line,) = completed.stderr.splitlines()
    assert line.startswith("videossr: ")
    assert message in line


def test_a_file_that_is_written_whole_follows_no_link(tmp_path: Path) -> None:
    """Neither the link that has its name, nor one at the name that the temporary file had once."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    folder = tmp_path / "received"
    folder.mkdir()
    for name in ("manifest.json", ".manifest.json.partial"):
        (folder / name).symlink_to(precious)
    names = set()
    for text in ("one", "two"):
        with atomic_write(folder / "manifest.json") as partial:
            assert not partial.is_symlink()
            assert partial.name.endswith(PARTIAL)
            names.add(partial.name)
            partial.write_text(text)
    assert len(names) == 2
    assert (folder / "manifest.json").read_text() == "two"
    assert not (folder / "manifest.json").is_symlink()
    assert precious.read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == [".manifest.json.partial", "manifest.json"]


def test_where_a_file_lies_once_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/file").touch()
    (tmp_path / "outer").touch()
    (tmp_path / "inner/in").symlink_to("file")
    (tmp_path / "inner/out").symlink_to("../outer")
    (tmp_path / "inner/up").symlink_to("..")
    (tmp_path / "alias").symlink_to("inner")
    for top in (tmp_path / "inner", tmp_path / "alias"):
        assert lies_in(top / "file", top)
        assert lies_in(top / "in", top)
        assert lies_in(top / "to-come", top)
        for name in ("out", "up/outer", "../outer"):
            assert not lies_in(top / name, top)


def test_what_huggingface_hub_has_downloaded_lies_in_its_snapshot(tmp_path: Path) -> None:
    model = tmp_path / "models--a--b"
    for folder in ("snapshots/0123/data", "blobs"):
        (model / folder).mkdir(parents=True)
    for file in ("blobs/ff", "refs", "snapshots/other"):
        (model / file).touch()
    names = {"blobs/ff": True, "refs": False, "snapshots/other": False, "blobs/../../key": False}
    for number, (target, inside) in enumerate(names.items()):
        link = model / "snapshots/0123/data" / str(number)
        link.symlink_to(f"../../../{target}")
        assert lies_in(link, model / "snapshots/0123") == inside
        assert lies_in(link, link.parent) == inside


def test_unfinished_name_knows_the_temporary_files_of_atomic_write(tmp_path: Path) -> None:
    for name in ("manifest.json", "samples-00000.parquet", "3f.pack"):
        with atomic_write(tmp_path / name) as partial:
            partial.touch()
            assert unfinished_name(partial.name) == name
    assert unfinished_name(".manifest.json.partial") == "manifest.json"
    for name in ("manifest.json", ".hidden", "x.partial", ".partial", ".manifest.json.partial.json"):
        assert unfinished_name(name) is None
