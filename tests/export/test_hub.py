"""`videossr export hf --push` sends a hub exactly the files of an export, and says what is wrong where it cannot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.hub_server import TOKEN, Hub, hub_server
from videossr.errors import ConfigError, MissingExtraError
from videossr.export.hub import check_access, upload

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install 'videossr[remote]'")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with hub_server() as hub:
        yield hub


def push(hub: Hub, dataset: Path, folder: Path, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, since huggingface_hub reads its settings when it is imported."""
    settings = {"HF_ENDPOINT": hub.address, "HF_TOKEN": token, "HF_HOME": str(folder / "home"), "NO_PROXY": "127.0.0.1"}
    words = ["export", "hf", str(dataset), "--out", str(folder / "out"), "--push", "me/small"]
    return subprocess.run(
        [sys.executable, "-m", "videossr.cli", *words],
        env={**os.environ, **settings, "COLUMNS": "2000"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_push_uploads_the_files_of_the_export_to_a_private_dataset(hub: Hub, dataset: Path, tmp_path: Path) -> None:
    hub.forbidden = True
    refused = push(hub, dataset, tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert "--push me/small: " in refused.stderr
    assert "write token" in refused.stderr
    assert "hf auth login" in refused.stderr
    assert (tmp_path / "out/README.md").is_file(), "the export itself is complete"
    assert hub.files == {}

    hub.forbidden = False
    (tmp_path / "out/notes.txt").write_text("not of the export")
    (tmp_path / "out/train/notes.txt").write_text("not of the export")
    done = push(hub, dataset, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"uploaded to {hub.address}/datasets/me/small" in done.stdout
    body = hub.created[-1]
    assert (body["type"], body["organization"], body["name"]) == ("dataset", "me", "small")
    assert body.get("visibility") == "private" or body.get("private") is True
    written = {
        f"me/small/{path.relative_to(tmp_path / 'out')}": path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and path.name != "notes.txt"
    }
    assert len(written) == 18 + 5
    assert hub.files == written
    assert hub.cards[-1] == written["me/small/README.md"].decode()


def test_push_asks_for_a_login_before_anything_is_written(hub: Hub, dataset: Path, tmp_path: Path) -> None:
    done = push(hub, dataset, tmp_path, token="hf_wrong")
    assert done.returncode == 2, done.stdout
    assert "--push me/small: " in done.stderr
    assert "hf auth login" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["small", "me/small/more", "../small", "me/", "", "https://hub/me/small"])
def test_push_refuses_what_is_no_name_of_a_dataset(name: str) -> None:
    with pytest.raises(ConfigError, match="name a dataset of the hub as ORGANIZATION/NAME"):
        check_access(name)


def test_push_names_the_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'videossr\[remote\]'"):
        check_access("me/small")


def test_upload_of_older_releases_makes_several_commits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[tuple[str, dict[str, Any]]] = []

    class OldApi:
        """The calls of releases before 2, in which only one of the two uploads can be resumed."""

        def create_repo(self, name: str, **how: Any) -> str:
            calls.append((name, how))
            return "https://hub/datasets/me/small"

        def upload_folder(self, **how: Any) -> None:
            raise AssertionError("a single commit")

        def upload_large_folder(self, **how: Any) -> None:
            calls.append(("large", how))

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(HfApi=OldApi))
    assert upload(tmp_path, "me/small", ["README.md", "train/*.mp4"]) == "https://hub/datasets/me/small"
    assert calls == [
        ("me/small", {"repo_type": "dataset", "private": True, "exist_ok": True}),
        (
            "large",
            {
                "repo_id": "me/small",
                "folder_path": tmp_path,
                "repo_type": "dataset",
                "allow_patterns": ["README.md", "train/*.mp4"],
            },
        ),
    ]
