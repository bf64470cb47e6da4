"""`to_path`: the file that a path or an address means, and the addresses that are refused."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from videossr.storage.paths import to_path


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
