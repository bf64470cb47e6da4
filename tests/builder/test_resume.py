"""A build that is stopped, killed or refused: what is done is kept, and the end is the same to the byte."""

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


def contents(folder: Path) -> dict[str, bytes]:
    assert not (folder / ".unfinished").exists()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several files of samples."""
    monkeypatch.setattr(schema, "ROWS_PER_FILE", 20)
    monkeypatch.setattr(schema, "_BATCH", 5)


@pytest.mark.usefixtures("few_rows")
def test_killed_again_and_again(made: Corpus, make: Make, tmp_path: Path) -> None:
    """In the gates, in the draws, at the end of a pass, and while files are written: each step of it only once."""
    make("whole", made, CATEGORIES)
    assert len(list((tmp_path / "whole").glob("samples-*"))) == 3
    assert {row["reason"] for row in schema.read_file(tmp_path / "whole/rejected.parquet")} == {"drawn_before"}
    (tmp_path / "recipe.toml").write_bytes((tmp_path / "whole/config.toml").read_bytes())
    deaths = [("add_gates", 5), ("add_gates", 8), ("add_draws", 9), ("add_draws", 1), ("add_draws", 8)]
    deaths += [("end_round", 1), ("end_round", 2), ("add_file", 2), ("add_file", 2), ("uses", 1)]
    gates = draws = 0
    for name, when in deaths:
        words = [sys.executable, "-c", dedent(CHILD), str(made.path), str(tmp_path / "killed"), name, str(when)]
        assert subprocess.run(words, check=False).returncode == -signal.SIGKILL, (name, when)
        assert not (tmp_path / "killed/manifest.json").exists()
        with sqlite3.connect(tmp_path / "killed/.unfinished/journal.sqlite") as data:
            ((now,),) = data.execute("SELECT count(*) FROM gates")
            assert now == min(CLIPS, gates + (when - 1 if name == "add_gates" else CLIPS))
            ((drawn,),) = data.execute("SELECT count(*) FROM draws")
            assert drawn >= draws
        data.close()
        gates, draws = now, drawn
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("samples-*")}
    assert len(written) == 3
    progress: list[Progress] = []
    make("killed", made, CATEGORIES, progress=progress.append)
    assert not progress, "something was done again"
    assert written == {path: path.stat().st_mtime_ns for path in written}
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.parametrize("workers", [1, 2])
def test_stopped_by_hand_and_finished_by_other_workers(made: Corpus, make: Make, tmp_path: Path, workers: int) -> None:
    whole = make("whole", made, CATEGORIES)
    stops = iter([3, 20, 45])

    def stop(progress: Progress, after: int) -> None:
        if (progress.phase == "draws") * CLIPS + progress.done >= after:
            raise KeyboardInterrupt

    for after in stops:
        with pytest.raises(KeyboardInterrupt):
            make("stopped", made, CATEGORIES, workers=workers, progress=lambda now, after=after: stop(now, after))
    assert make("stopped", made, CATEGORIES, workers=3 - workers) == whole
    assert contents(tmp_path / "stopped") == contents(tmp_path / "whole")


def stopped(make: Make, name: str, corpus: Corpus, **options: object) -> Path:
    """A build with draws in its journal, whose folder is given back."""

    def stop(progress: Progress) -> None:
        if progress.phase == "draws":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(name, corpus, CATEGORIES, progress=stop, **options)
    return Path(name)


def test_a_stopped_build_is_not_mixed_with_another(made: Corpus, make: Make, tmp_path: Path) -> None:
    stopped(make, "dataset", made)
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


def test_what_cannot_be_met_leaves_room_for_less(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "single/clip.mp4", picture(50))
    corpus = indexed(tmp_path / "single")
    with pytest.raises(ValueError, match="too few samples could be drawn: jigsaw lacks 1 of 6"):
        make("dataset", corpus, {"jigsaw": (EASY, 6)})
    assert make("dataset", corpus, {"jigsaw": (EASY, 5)})["samples"] == 5


def test_a_damaged_ledger_says_what_to_do(made: Corpus, make: Make, tmp_path: Path) -> None:
    stopped(make, "dataset", made)
    database = tmp_path / "dataset/.unfinished/journal.sqlite"
    database.write_bytes(b"not a database" * 100)
    with pytest.raises(ValueError, match=r"journal\.sqlite: file is not a database; delete it"):
        make("dataset", made, CATEGORIES)
    database.unlink()
    make("dataset", made, CATEGORIES)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DROP TABLE rounds", r"journal\.sqlite: no such table: rounds; delete it"),
        ("ALTER TABLE draws DROP COLUMN row", r"journal\.sqlite: .*; delete it"),
        ("UPDATE spec SET json = '[]'", r"journal\.sqlite: it does not say what it is of; delete it"),
        ("UPDATE spec SET json = '{'", r"journal\.sqlite: it does not say what it is of; delete it"),
        ("UPDATE spec SET json = '{}'", r"begun otherwise: kind is not set there, 'dataset' now; recipe is not set"),
        ("UPDATE spec SET json = '{\"corpus\": 1}'", r"begun otherwise: corpus is 1 there, '"),
    ],
)
def test_a_ledger_of_another_version_says_what_to_do(
    made: Corpus, make: Make, tmp_path: Path, damage: str, told: str
) -> None:
    stopped(make, "dataset", made)
    with sqlite3.connect(tmp_path / "dataset/.unfinished/journal.sqlite") as data:
        data.execute(damage)
    data.close()
    with pytest.raises(ValueError, match=told):
        make("dataset", made, CATEGORIES)


def test_two_builds_of_one_dataset_at_once_are_refused(made: Corpus, make: Make, tmp_path: Path) -> None:
    def again(now: Progress) -> None:
        if (now.phase, now.done) != ("gates", 1):
            return
        with pytest.raises(ValueError, match="another run is at work there"):
            make("dataset", made, CATEGORIES)

    make("dataset", made, CATEGORIES, progress=again)


def test_a_full_disk_costs_only_what_was_not_kept(
    made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says of a file at its largest size what it says of a full disk."""
    opened = sqlite3.connect

    def small(path: str, uri: bool) -> sqlite3.Connection:
        data = opened(path, uri=uri)
        data.execute("PRAGMA max_page_count = 16")
        return data

    monkeypatch.setattr(journal, "COMMIT", 0.0)
    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(OSError, match="no space left"):
        make("dataset", made, CATEGORIES)
    monkeypatch.undo()
    with opened(tmp_path / "dataset/.unfinished/journal.sqlite") as data:
        assert data.execute("SELECT count(*) FROM gates").fetchone() == (CLIPS,)
        assert data.execute("SELECT count(*) FROM draws").fetchone()[0] > 5
    data.close()
    assert make("dataset", made, CATEGORIES) == make("whole", made, CATEGORIES)


def test_no_room_for_a_file(made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(schema, "write_tables", full)
        with pytest.raises(OSError, match="No space left"):
            make("dataset", made, CATEGORIES)
    assert make("dataset", made, CATEGORIES) == make("whole", made, CATEGORIES)


class Deadly(SampleGenerator):
    """Dies of one video, as of a library that crashes on it."""

    def gate(self, index: int) -> Gates:
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().gate(index)


def test_a_video_that_kills_is_named(made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("videossr.builder.builder.SampleGenerator", Deadly)
        with pytest.raises(WorkerError, match=made.videos[3].path):
            make("dataset", made, CATEGORIES, workers=2)
    with sqlite3.connect(tmp_path / "dataset/.unfinished/journal.sqlite") as data:
        assert data.execute("SELECT count(*) FROM gates").fetchone() == (CLIPS - 1,)
    data.close()
    make("dataset", made, CATEGORIES)
