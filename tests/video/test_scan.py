"""Which files an index is to read: those that cannot be looked at are told, and changed ones are known."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from videossr.store import Place
from videossr.video import scan


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "locked/c.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345678")
    return tmp_path / "videos"


def test_a_folder_that_is_listed_but_not_entered_costs_only_its_files(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may enter every folder, so the refusal is made up."""
    whole = Path.is_file

    def refused(path: Path) -> bool:
        if path.parent.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(Path, "is_file", refused)
    files, rejected = scan.find(source, source.parent / "corpus")
    assert [file.path for file in files] == ["a.mp4", "b.mp4"]
    assert [(row.path, row.reason, row.detail) for row in rejected] == [
        ("locked/c.mp4", "unreadable", "the system refuses access to it")
    ]


def test_a_file_that_vanishes_while_it_is_looked_at(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scan._seen

    def late(path: str, file: Place, facts: None) -> scan.File:
        if path == "a.mp4":
            file.unlink()
        return whole(path, file, facts)

    monkeypatch.setattr(scan, "_seen", late)
    files, rejected = scan.find(source, source.parent / "corpus")
    assert [file.path for file in files] == ["b.mp4", "locked/c.mp4"]
    assert [(row.path, row.reason) for row in rejected] == [("a.mp4", "unreadable")]


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_another(source: Path) -> None:
    file = scan.find(source, source.parent / "corpus")[0][0]
    assert file.is_same()
    (source.parent / "new.mp4").write_bytes(b"87654321")
    shutil.copystat(source / "a.mp4", source.parent / "new.mp4")
    (source.parent / "new.mp4").replace(source / "a.mp4")
    assert (source / "a.mp4").stat().st_mtime_ns == int(file.stamp.split()[0])
    assert not file.is_same()
