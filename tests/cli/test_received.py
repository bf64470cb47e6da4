"""Corpora, datasets and runs that others have made: what is only read does not change, and no link is followed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from videossr.cli import main
from videossr.corpus.corpus import Corpus

PRECIOUS = "the user's own file, whose last line has no end"


def called(command: str) -> int:
    """Run a command, and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    return int(ended.value.code or 0)


def tree(top: Path) -> Iterator[tuple[str, int, int]]:
    """All that is in a folder, with the time of its last change; that of a folder tells of files that came and went."""
    for path in (top, *sorted(top.rglob("*"))):
        status = path.lstat()
        yield str(path.relative_to(top)), status.st_mtime_ns, status.st_size


@pytest.fixture
def received(dataset: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus, a dataset and a run of it, each with what a killed command has left in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(str(corpus.path), tmp_path / "corpus")
    shutil.copytree(dataset, tmp_path / "dataset")
    manifest = json.loads((tmp_path / "dataset/manifest.json").read_text("utf-8"))
    manifest["corpus"]["path"] = "../corpus"
    (tmp_path / "dataset/manifest.json").write_text(json.dumps(manifest))
    assert called("bench run dataset --model chance --out run") == 0
    for name in ("corpus", "dataset", "run"):
        (tmp_path / name / ".unfinished").mkdir()
        (tmp_path / name / ".unfinished/lock").touch()
        (tmp_path / name / ".unfinished/task.json").write_text('{"verb": "other"}')
        (tmp_path / name / ".manifest.json.00000000.partial").touch()
    return tmp_path


def test_commands_that_only_read_change_nothing(received: Path) -> None:
    before = {name: list(tree(received / name)) for name in ("corpus", "dataset", "run")}
    for command in (
        "report run --out page.html",
        "report run --format json",
        "bench score run",
        "bench compare run run",
        "validate dataset",
        "gallery dataset --out gallery.html",
        "gallery dataset --quiz --out quiz.html",
        "dataset info dataset",
        "dataset info dataset --gates",
        "corpus info corpus",
        "bench chance dataset",
        "bench run dataset --model chance --out other",
        "dataset split dataset --out one two --share 0.5",
    ):
        called(command)
        for name, entries in before.items():
            assert list(tree(received / name)) == entries, command
    for made in ("page.html", "gallery.html", "quiz.html", "other/manifest.json"):
        assert (received / made).exists()


LINKS = {
    "index videos --out corpus": ("corpus", ("packs", "packs/00.pack", ".unfinished", ".unfinished/hashes.jsonl")),
    "build smoke --limit 12 --corpus corpus --out dataset --rebuild": (
        "dataset",
        (".unfinished", ".unfinished/lock", ".unfinished/journal.sqlite", ".unfinished/journal.sqlite-journal"),
    ),
    "bench run dataset --model chance --out run": ("run", (".unfinished", "predictions.jsonl", ".unfinished/lock")),
}
"""Commands that write into a folder which is there already, and names in it under which they write."""


@pytest.mark.parametrize("command", LINKS)
def test_commands_that_write_follow_no_link(command: str, received: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, names = LINKS[command]
    (received / "videos").mkdir()
    (received / "videos/one.mp4").write_bytes(b"no video")
    shutil.copytree(received / folder, received / "whole")
    for name in names:
        shutil.rmtree(received / folder)
        shutil.copytree(received / "whole", received / folder)
        link = received / folder / name
        for kind in ("file", "folder"):
            outside = received / f"precious-{kind}"
            shutil.rmtree(outside) if outside.is_dir() else outside.unlink(missing_ok=True)
            if kind == "file":
                outside.write_text(PRECIOUS)
            else:
                outside.mkdir()
                (outside / "lock").write_text(PRECIOUS)
            if link.is_dir() and not link.is_symlink():
                shutil.rmtree(link)
            link.unlink(missing_ok=True)
            link.symlink_to(outside)
            before = list(tree(outside))
            capsys.readouterr()
            assert called(command) == 2, name
            told = capsys.readouterr().err
            assert name in told
            assert f"{name} is a link that leads out of" in told or kind == "folder"
            assert list(tree(outside)) == before
            assert link.is_symlink()


def test_a_dataset_that_names_files_elsewhere_removes_none(received: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A build refuses it; `--rebuild` replaces it where nothing else is in its folder, and that file stays."""
    dataset, precious, notes = received / "dataset", received / "precious", received / "dataset/notes.txt"
    precious.write_text(PRECIOUS)
    notes.write_text(PRECIOUS)
    shutil.rmtree(dataset / ".unfinished")
    manifest = json.loads((dataset / "manifest.json").read_text("utf-8"))
    manifest["files"]["../precious"] = "0" * 64
    (dataset / "manifest.json").write_text(json.dumps(manifest))
    build = "build smoke --limit 12 --corpus corpus --out dataset"
    for command in (build, f"{build} --rebuild"):
        before = list(tree(dataset))
        assert called(command) == 2
        assert list(tree(dataset)) == before
        assert "manifest.json: damaged, or of another version: see files.../precious" in capsys.readouterr().err
    notes.unlink()
    assert called(build) == 2
    assert "Replace the dataset with --rebuild" in capsys.readouterr().err
    assert called(f"{build} --rebuild") == 0
    assert precious.read_text() == PRECIOUS
    assert "../precious" not in json.loads((dataset / "manifest.json").read_text("utf-8"))["files"]
    assert len(list(dataset.glob("samples-*.parquet"))) == 1
