"""A build into a folder that is not empty: what is damaged is replaced if that is asked for, a stranger's never."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.helpers.building import MIRROR, Make, Run
from videossr.builder.builder import Progress
from videossr.corpus.corpus import Corpus
from videossr.errors import OutputError

pytestmark = pytest.mark.slow

CATEGORIES = {"mirror": (MIRROR, 3)}

CHILD = """
    import os, signal, sys
    from pathlib import Path
    from videossr.cli import main

    unlink = Path.unlink

    def killed(path, missing_ok=False):
        if path.name == "videos.parquet":
            os.kill(os.getpid(), signal.SIGKILL)
        unlink(path, missing_ok)

    Path.unlink = killed
    main(sys.argv[1:])
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def command(corpus: Corpus, whole: Path, out: Path) -> list[str]:
    """The words that build what is in `whole`."""
    return ["build", f"{whole / 'config.toml'}", "--corpus", f"{corpus.path}", "--out", f"{out}", "--workers", "1"]


def stopped(make: Make, name: str, corpus: Corpus) -> None:
    def stop(progress: Progress) -> None:
        if progress.phase == "draws":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(name, corpus, CATEGORIES, progress=stop)


def test_a_dataset_whose_manifest_cannot_be_read_is_replaced_if_that_is_asked_for(
    made: Corpus, make: Make, run: Run, tmp_path: Path
) -> None:
    make("whole", made, CATEGORIES)
    out = tmp_path / "out"
    shutil.copytree(tmp_path / "whole", out)
    words = command(made, tmp_path / "whole", out)
    for damage in (b"", b"{", b"\xff\xfe", b"[]", b'{"kind": "dataset"}'):
        (out / "manifest.json").write_bytes(damage)
        (out / "samples-00001.parquet").write_bytes(b"of a larger dataset")
        for name in (".videos.parquet.partial", ".samples-00000.parquet.0a1b2c3d.partial"):
            (out / name).write_bytes(b"of a run that was killed")
        before = contents(out)
        status, printed, err = run(*words)
        assert (status, printed) == (2, "")
        assert "manifest.json" in err
        assert f"Replace the dataset with --rebuild, or delete {out}" in err
        assert contents(out) == before
        assert run(*words, "--rebuild")[0] == 0
        assert contents(out) == contents(tmp_path / "whole")


def test_a_benchmark_whose_manifest_cannot_be_read_is_replaced_with_its_packs(
    made: Corpus, make: Make, run: Run, tmp_path: Path
) -> None:
    make("whole", made, CATEGORIES)
    recipe = (tmp_path / "whole/config.toml").read_text("utf-8")
    (tmp_path / "bench.toml").write_text("benchmark = true\n" + recipe, "utf-8")
    words = command(made, tmp_path / "whole", tmp_path / "out")
    assert run("build", f"{tmp_path / 'bench.toml'}", *words[2:])[0] == 0
    assert (tmp_path / "out/corpus/manifest.json").is_file()
    (tmp_path / "out/manifest.json").write_text("{")
    status, _, err = run("build", words[1], "--corpus", f"{tmp_path / 'out/corpus'}", *words[4:], "--rebuild")
    assert status == 2
    assert "cannot be replaced: the corpus" in err
    assert run(*words, "--rebuild")[0] == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("others", [("thesis.txt",), ("corpus/thesis.txt",), (".videos.parquet.bak",)])
def test_a_folder_with_anything_else_is_never_replaced_without_its_manifest(
    made: Corpus, make: Make, tmp_path: Path, others: tuple[str, ...]
) -> None:
    make("out", made, CATEGORIES)
    (tmp_path / "out/manifest.json").write_text("{")
    for name in others:
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text("precious")
    before = contents(tmp_path / "out")
    with pytest.raises(OutputError, match=r"not valid JSON: .* Choose another --out, or delete .* damaged dataset"):
        make("out", made, CATEGORIES, rebuild=True)
    assert contents(tmp_path / "out") == before


def test_folders_of_other_programs_are_never_replaced(made: Corpus, make: Make, tmp_path: Path) -> None:
    """Nor a corpus, though some of their files are called like those of a dataset."""
    (tmp_path / "site").mkdir()
    for name in ("manifest.json", "README.md", "config.toml"):
        (tmp_path / "site" / name).write_text("precious")
    shutil.copytree(f"{made.path}", tmp_path / "corpus")
    for name, told in {"site": "not valid JSON", "corpus": "is not a dataset, but a corpus"}.items():
        before = contents(tmp_path / name)
        with pytest.raises(OutputError, match=told):
            make(name, made, CATEGORIES, rebuild=True)
        assert contents(tmp_path / name) == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE spec SET json = '{'",
        "UPDATE spec SET json = 3",
        "DROP TABLE rounds",
        "ALTER TABLE draws RENAME COLUMN round TO pass",
        "",
    ],
)
def test_an_unfinished_build_that_cannot_be_read_is_begun_anew(
    made: Corpus, make: Make, tmp_path: Path, damage: str
) -> None:
    stopped(make, "out", made)
    staging = tmp_path / "out/.unfinished"
    if damage:
        with sqlite3.connect(staging / "journal.sqlite") as data:
            data.execute(damage)
        data.close()
    else:
        (staging / "journal.sqlite").write_bytes(b"not a database" * 100)
        (staging / "journal.sqlite-journal").write_bytes(b"left by a kill" * 100)
        (staging / "task.json").write_text("not JSON")
        with pytest.raises(OutputError, match=r"task\.json is damaged: delete"):
            make("out", made, CATEGORIES)
        (tmp_path / "out/samples-00000.parquet").write_bytes(b"that was written")
        (staging / "task.json").write_text('{"verb": "build"}')
    with pytest.raises(ValueError, match=r"journal\.sqlite: .*; delete it, or give --rebuild, and .* from the start"):
        make("out", made, CATEGORIES)
    if not damage:
        (staging / "task.json").write_text("not JSON")
    make("whole", made, CATEGORIES)
    make("out", made, CATEGORIES, rebuild=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_damaged_page_of_a_journal_is_found_before_the_build_goes_on(
    made: Corpus, make: Make, tmp_path: Path
) -> None:
    stopped(make, "out", made)
    journal = tmp_path / "out/.unfinished/journal.sqlite"
    with sqlite3.connect(journal) as data:
        ((page,),) = data.execute("SELECT rootpage FROM sqlite_master WHERE name = 'files'")
        ((size,),) = data.execute("PRAGMA page_size")
    data.close()
    whole = bytearray(journal.read_bytes())
    whole[(page - 1) * size : page * size] = b"\xff" * size
    journal.write_bytes(whole)
    make("out", made, CATEGORIES, rebuild=True)
    make("whole", made, CATEGORIES)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_damaged_work_of_another_command_is_kept(made: Corpus, make: Make, tmp_path: Path) -> None:
    staging = tmp_path / "out/.unfinished"
    staging.mkdir(parents=True)
    (staging / "hashes.jsonl").write_text("of hours")
    (staging / "task.json").write_text("not JSON")
    with pytest.raises(OutputError, match=r"task\.json is damaged: delete"):
        make("out", made, CATEGORIES, rebuild=True)
    assert (staging / "hashes.jsonl").read_text() == "of hours"


def test_a_kill_while_a_damaged_dataset_is_removed(made: Corpus, make: Make, run: Run, tmp_path: Path) -> None:
    make("whole", made, CATEGORIES)
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    (tmp_path / "out/manifest.json").write_text("{")
    words = [*command(made, tmp_path / "whole", tmp_path / "out"), "--rebuild"]
    ended = subprocess.run([sys.executable, "-c", dedent(CHILD), *words], check=False, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not (tmp_path / "out/samples-00000.parquet").exists()
    assert (tmp_path / "out/manifest.json").read_text() == "{"
    assert run(*words)[0] == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
