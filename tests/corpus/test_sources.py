"""Finding the files to index: inaccessible ones are recorded, and changed ones are recognized."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import pytest
from upath import UPath

from videossr.corpus import sources
from videossr.storage.paths import AnyPath


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "locked/c.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345678")
    return tmp_path / "videos"


def test_find_rejects_only_the_files_of_a_locked_folder(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may enter every folder, so `is_file` is patched to refuse."""
    is_file = Path.is_file

    def refuse_locked(path: Path) -> bool:
        if path.parent.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse_locked)
    files, rejected = sources.find([source], source.parent / "corpus")
    assert [file.path for file in files] == ["a.mp4", "b.mp4"]
    assert [(row.path, row.reason, row.detail) for row in rejected] == [
        ("locked/c.mp4", "unreadable", "the system refuses access to it")
    ]


def test_find_records_a_file_that_vanishes_meanwhile(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look_at = sources._seen

    def delete_first(path: str, file: AnyPath, facts: None) -> sources.File:
        if path == "a.mp4":
            file.unlink()
        return look_at(path, file, facts)

    monkeypatch.setattr(sources, "_seen", delete_first)
    files, rejected = sources.find([source], source.parent / "corpus")
    assert [file.path for file in files] == ["b.mp4", "locked/c.mp4"]
    assert [(row.path, row.reason) for row in rejected] == [("a.mp4", "unreadable")]


def test_file_is_same_detects_a_replacement_of_equal_size_and_time(source: Path) -> None:
    file = sources.find([source], source.parent / "corpus")[0][0]
    assert file.is_same()
    (source.parent / "new.mp4").write_bytes(b"87654321")
    shutil.copystat(source / "a.mp4", source.parent / "new.mp4")
    (source.parent / "new.mp4").replace(source / "a.mp4")
    assert (source / "a.mp4").stat().st_mtime_ns == int(file.stamp.split()[0])
    assert not file.is_same()


def test_read_list_reads_a_path_from_each_line(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"\xef\xbb\xbfa b.mp4\r\n\r\n# c.mp4\nd\xff.mp4\ns3://bucket/e.mp4")
    assert sources.read_list(listed) == ["a b.mp4", "# c.mp4", "d\udcff.mp4", "s3://bucket/e.mp4"]
    listed.write_text("\n\n")
    with pytest.raises(ValueError, match=r"list\.txt is empty"):
        sources.read_list(listed)


def test_find_accepts_paths_in_stores_and_on_disk(source: Path, tmp_path: Path) -> None:
    store = UPath("memory://bucket/clips")
    for name in ("a.mp4", "frames/2.png", "frames/10.png", "odd"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / name).write_bytes(b"12345678")

    def find_paths(*locations: AnyPath, image_fps: Fraction | None = Fraction(10)) -> list[str]:
        return [file.path for file in sources.find(locations, tmp_path / "corpus", image_fps)[0]]

    assert find_paths(store) == ["a.mp4", "frames"]
    assert find_paths(store / "a.mp4", store / "odd", image_fps=None) == ["a.mp4", "odd"]
    assert find_paths(store / "frames") == ["frames"]
    assert find_paths(source, store) == ["a.mp4", "b.mp4", "locked/c.mp4", f"{store / 'a.mp4'}", f"{store / 'frames'}"]
    images = sources.find([store], tmp_path / "corpus", Fraction(10))[0][1]
    assert images.is_same()
    (store / "frames/10.png").write_bytes(b"other")
    assert not images.is_same()
    (store / "frames/2.png").unlink()
    (store / "frames/10.png").unlink()
    with pytest.raises(FileNotFoundError, match="has no videos"):
        find_paths(store / "frames", image_fps=None)
