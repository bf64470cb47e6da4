"""A journal that somebody else has left is read as data, within limits."""

from __future__ import annotations

import shutil
import sqlite3
import zlib
from pathlib import Path

import pytest

from videossr.builder.builder import build_dataset
from videossr.builder.journal import NAME
from videossr.corpus.corpus import Corpus
from videossr.errors import DataError, UnmetError
from videossr.storage import limits


@pytest.fixture(scope="module")
def stopped_build(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a build that was stopped after its gates. Not to be written to."""
    folder = tmp_path_factory.mktemp("stopped") / "dataset"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("videossr.builder.journal.BuildJournal.end_round", stop)
        with pytest.raises(KeyboardInterrupt):
            build_dataset("smoke", corpus, folder)
    return folder


@pytest.fixture
def stopped(stopped_build: Path, tmp_path: Path) -> Path:
    """A copy of `stopped_build`."""
    return Path(shutil.copytree(stopped_build, tmp_path / "dataset"))


def alter(folder: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    with sqlite3.connect(folder / ".unfinished" / NAME) as database:
        for statement in statements:
            database.execute(statement, values)
    database.close()


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("UPDATE gates SET rejects = ?", "5"),
        ("UPDATE gates SET rejects = ?", "[" * 100_000),
        ("UPDATE gates SET rejects = ?", '[["a"]]'),
        ("UPDATE gates SET measures = ?", b"no zlib"),
        ("UPDATE gates SET measures = ?", zlib.compress(b"[]")),
        ("UPDATE draws SET row = ? WHERE id IS NOT NULL", b"no zlib"),
        ("UPDATE draws SET others = ? WHERE id IS NOT NULL", "[1000000]"),
        ("UPDATE draws SET category = category + ?", 99),
        ("UPDATE gates SET video = video + ?", 10**6),
        ("UPDATE draws SET video = video - ?", 10**6),
    ],
)
def test_records_of_another_form_are_named(stopped: Path, corpus: Corpus, statement: str, value: object) -> None:
    alter(stopped, statement, values=(value,))
    with pytest.raises(DataError, match=rf"^{stopped}/\.unfinished/{NAME}: .*; delete it, or give --rebuild, and"):
        build_dataset("smoke", corpus, stopped)


def test_records_that_grow_when_they_are_unpacked_are_named(
    stopped: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "JSON_BYTES", 1 << 20)
    alter(stopped, "UPDATE gates SET measures = ?", values=(zlib.compress(b" " * (1 << 24)),))
    with pytest.raises(DataError, match=f"{NAME}: a record has another form"):
        build_dataset("smoke", corpus, stopped)


def test_views_are_refused(stopped: Path, corpus: Corpus) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i, 'x', 'x' FROM n"
    alter(stopped, "ALTER TABLE gates RENAME TO old", f"CREATE VIEW gates (video, rejects, measures) AS {endless}")
    with pytest.raises(DataError, match=f"{NAME}: it has views or triggers"):
        build_dataset("smoke", corpus, stopped)


def test_a_sound_journal_is_gone_on_with(stopped: Path, corpus: Corpus) -> None:
    try:
        assert build_dataset("smoke", corpus, stopped)["samples"]
    except UnmetError:
        pytest.fail("the build did not go on")
