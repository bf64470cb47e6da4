"""A build that is interrupted, killed or refused: finished work is kept, and the result is the same to the byte."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.helpers.building import CLIPS, COUNTING, MIRROR, SWAP, Make, indexed, picture
from tests.helpers.clips import write
from videossr.builder import journal as journal
from videossr.builder.builder import Progress
from videossr.builder.generation import Gates, SampleGenerator
from videossr.corpus.corpus import Corpus
from videossr.dataset import schema
from videossr.errors import WorkerError

EASY = {"task": "jigsaw", "config": {"frames": 16, "pieces": 3}}
CATEGORIES = {"mirror": (MIRROR, 4), "swap": (SWAP, 5), "jigsaw": (EASY, 36), "counting": (COUNTING, 4)}
"""Some of the jigsaw's draws are equal, so that there are several passes."""

CHILD = """
    import os, signal, sys
    from pathlib import Path
    from videossr.builder import journal, recipe, builder
    from videossr.dataset import schema
    from videossr.corpus.corpus import Corpus
    from videossr.templates import load_templates

    corpus, out, name, when = sys.argv[1:]
    schema.ROWS_PER_FILE, schema._BATCH, journal.COMMIT = 20, 5, 0.0
    left = int(when)
    whole = getattr(journal.BuildJournal, name)

    def killed(self, *given):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, *given)

    setattr(journal.BuildJournal, name, killed)
    mixture = recipe.load_recipe(str(Path(out).parent / "recipe.toml"))
    builder.build_dataset(mixture, Corpus(Path(corpus)), Path(out), templates=load_templates())
"""


def read_files(folder: Path) -> dict[str, bytes]:
    assert not (folder / ".unfinished").exists()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the rows of a file, so that a dataset has several files of samples."""
    monkeypatch.setattr(schema, "ROWS_PER_FILE", 20)
    monkeypatch.setattr(schema, "_BATCH", 5)


@pytest.mark.slow
@pytest.mark.usefixtures("few_rows")
def test_build_dataset_resumes_after_every_kill(made: Corpus, make: Make, tmp_path: Path) -> None:
    """Kills come in the gates, in the draws, at the end of a pass and while files are written; no step is repeated."""
    make("whole", made, CATEGORIES)
    assert len(list((tmp_path / "whole").glob("samples-*"))) == 3
    assert {row["reason"] for row in schema.read_file(tmp_path / "whole/rejected.parquet")} == {"drawn_before"}
    (tmp_path / "recipe.toml").write_bytes((tmp_path / "whole/config.toml").read_bytes())
    kills = [("add_gates", 5), ("add_gates", 8), ("add_draws", 9), ("add_draws", 1), ("add_draws", 8)]
    kills += [("end_round", 1), ("end_round", 2), ("add_file", 2), ("add_file", 2), ("uses", 1)]
    gates = draws = 0
    for name, call in kills:
        arguments = [sys.executable, "-c", dedent(CHILD), str(made.path), str(tmp_path / "killed"), name, str(call)]
        assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL, (name, call)
        assert not (tmp_path / "killed/manifest.json").exists()
        with sqlite3.connect(tmp_path / "killed/.unfinished/journal.sqlite") as database:
            ((gated,),) = database.execute("SELECT count(*) FROM gates")
            assert gated == min(CLIPS, gates + (call - 1 if name == "add_gates" else CLIPS))
            ((drawn,),) = database.execute("SELECT count(*) FROM draws")
            assert drawn >= draws
        database.close()
        gates, draws = gated, drawn
    modified = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("samples-*")}
    assert len(modified) == 3
    progress: list[Progress] = []
    make("killed", made, CATEGORIES, progress=progress.append)
    assert not progress, "something was done again"
    assert modified == {path: path.stat().st_mtime_ns for path in modified}
    assert read_files(tmp_path / "killed") == read_files(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_build_dataset_resumes_an_interrupted_build_with_other_workers(
    made: Corpus, make: Make, tmp_path: Path, workers: int
) -> None:
    whole = make("whole", made, CATEGORIES)
    stops = iter([3, 20, 45])

    def interrupt(progress: Progress, after: int) -> None:
        if (progress.phase == "draws") * CLIPS + progress.done >= after:
            raise KeyboardInterrupt

    for after in stops:
        with pytest.raises(KeyboardInterrupt):
            make(
                "stopped",
                made,
                CATEGORIES,
                workers=workers,
                progress=lambda report, after=after: interrupt(report, after),
            )
    assert make("stopped", made, CATEGORIES, workers=3 - workers) == whole
    assert read_files(tmp_path / "stopped") == read_files(tmp_path / "whole")


def interrupt_build(make: Make, name: str, corpus: Corpus, **options: object) -> Path:
    """Interrupt a build when draws are in its journal, and return its folder."""

    def interrupt(progress: Progress) -> None:
        if progress.phase == "draws":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(name, corpus, CATEGORIES, progress=interrupt, **options)
    return Path(name)


@pytest.mark.slow
def test_build_dataset_refuses_to_resume_with_other_settings(made: Corpus, make: Make, tmp_path: Path) -> None:
    interrupt_build(make, "dataset", made)
    database = tmp_path / "dataset/.unfinished/journal.sqlite"
    before = database.read_bytes()
    with pytest.raises(
        ValueError, match=r"unfinished `videossr build` .* otherwise: seed is 0 there, 1 now.* --rebuild"
    ):
        make("dataset", made, CATEGORIES, seed=1)
    with pytest.raises(ValueError, match=r"begun otherwise: recipe\.categories\.mirror\.count is 4 there, 3 now\."):
        make("dataset", made, {**CATEGORIES, "mirror": (MIRROR, 3)})
    assert database.read_bytes() == before
    assert make("dataset", made, CATEGORIES, seed=1, rebuild=True) == make("other", made, CATEGORIES, seed=1)


def test_build_dataset_with_a_lower_count_succeeds_after_a_failed_build(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "single/clip.mp4", picture(50))
    corpus = indexed(tmp_path / "single")
    with pytest.raises(ValueError, match="too few samples could be drawn: jigsaw lacks 1 of 6"):
        make("dataset", corpus, {"jigsaw": (EASY, 6)})
    assert make("dataset", corpus, {"jigsaw": (EASY, 5)})["samples"] == 5


def test_build_journal_names_the_way_out_if_it_is_damaged(made: Corpus, make: Make, tmp_path: Path) -> None:
    interrupt_build(make, "dataset", made)
    database = tmp_path / "dataset/.unfinished/journal.sqlite"
    database.write_bytes(b"not a database" * 100)
    with pytest.raises(ValueError, match=r"journal\.sqlite: file is not a database; delete it"):
        make("dataset", made, CATEGORIES)
    database.unlink()
    make("dataset", made, CATEGORIES)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("DROP TABLE rounds", r"journal\.sqlite: no such table: rounds; delete it"),
        ("ALTER TABLE draws DROP COLUMN row", r"journal\.sqlite: .*; delete it"),
        ("UPDATE spec SET json = '[]'", r"journal\.sqlite: it does not say what it is of; delete it"),
        ("UPDATE spec SET json = '{'", r"journal\.sqlite: it does not say what it is of; delete it"),
        ("UPDATE spec SET json = '{}'", r"begun otherwise: kind is not set there, 'dataset' now; recipe is not set"),
        ("UPDATE spec SET json = '{\"corpus\": 1}'", r"begun otherwise: corpus is 1 there, '"),
    ],
)
def test_build_journal_names_the_way_out_if_its_schema_differs(
    made: Corpus, make: Make, tmp_path: Path, damage: str, message: str
) -> None:
    interrupt_build(make, "dataset", made)
    with sqlite3.connect(tmp_path / "dataset/.unfinished/journal.sqlite") as database:
        database.execute(damage)
    database.close()
    with pytest.raises(ValueError, match=message):
        make("dataset", made, CATEGORIES)


def test_build_dataset_refuses_a_folder_in_use(made: Corpus, make: Make, tmp_path: Path) -> None:
    def build_again(report: Progress) -> None:
        if (report.phase, report.done) != ("gates", 1):
            return
        with pytest.raises(ValueError, match="another run is at work there"):
            make("dataset", made, CATEGORIES)

    make("dataset", made, CATEGORIES, progress=build_again)


def test_build_dataset_keeps_committed_work_on_a_full_disk(
    made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite reports a file at its maximum size as it reports a full disk."""
    connect = sqlite3.connect

    def connect_limited(path: str, uri: bool) -> sqlite3.Connection:
        database = connect(path, uri=uri)
        database.execute("PRAGMA max_page_count = 16")
        return database

    monkeypatch.setattr(journal, "COMMIT", 0.0)
    monkeypatch.setattr(sqlite3, "connect", connect_limited)
    with pytest.raises(OSError, match="no space left"):
        make("dataset", made, CATEGORIES)
    monkeypatch.undo()
    with connect(tmp_path / "dataset/.unfinished/journal.sqlite") as database:
        assert database.execute("SELECT count(*) FROM gates").fetchone() == (CLIPS,)
        assert database.execute("SELECT count(*) FROM draws").fetchone()[0] > 5
    database.close()
    assert make("dataset", made, CATEGORIES) == make("whole", made, CATEGORIES)


def test_build_dataset_resumes_after_a_full_disk_while_writing_samples(
    made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(schema, "write_tables", full)
        with pytest.raises(OSError, match="No space left"):
            make("dataset", made, CATEGORIES)
    assert make("dataset", made, CATEGORIES) == make("whole", made, CATEGORIES)


class KilledGenerator(SampleGenerator):
    """A generator that is killed at one video, as by a library that crashes."""

    def gate(self, index: int) -> Gates:
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().gate(index)


def test_build_dataset_names_the_video_that_kills_a_worker(
    made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("videossr.builder.builder.SampleGenerator", KilledGenerator)
        with pytest.raises(WorkerError, match=made.videos[3].path):
            make("dataset", made, CATEGORIES, workers=2)
    with sqlite3.connect(tmp_path / "dataset/.unfinished/journal.sqlite") as database:
        assert database.execute("SELECT count(*) FROM gates").fetchone() == (CLIPS - 1,)
    database.close()
    make("dataset", made, CATEGORIES)
