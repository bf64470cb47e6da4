"""A corpus split in two: complete corpora that share no video, also after an interrupted run."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.helpers.building import JIGSAW, MIRROR, PLAN, indexed, picture
from tests.helpers.clips import write
from videossr.builder import recipe
from videossr.builder.builder import build_dataset
from videossr.builder.recipe import Recipe
from videossr.cli import main
from videossr.corpus import pack
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.corpus.merging import merge
from videossr.corpus.splitting import split
from videossr.errors import CorpusError, OutputError
from videossr.templates import load_templates

NAMES = ("a_1", "a_2", *(f"{letter}_1" for letter in "bcdefghi"))
"""Ten clips, two of them of one source; `source` adds a copy of the third in another size and codec."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eleven") / "clips"
    for number, name in enumerate(NAMES):
        write(folder / f"{name}.mp4", picture(number))
    write(folder / "z_1.avi", picture(2, height=192, width=256), "mpeg4", {"qscale": "6"})
    return folder


@pytest.fixture(scope="module")
def corpus(source: Path) -> Corpus:
    return indexed(source, source_id=r"^(\w)_")


def read_paths(corpus: Path) -> set[str]:
    return {entry.path for entry in Corpus(corpus).videos}


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("count", [1, 3, 5, 9, 10])
def test_split_keeps_related_videos_on_one_side(corpus: Corpus, tmp_path: Path, count: int) -> None:
    train, test = tmp_path / "train", tmp_path / "deep/er/test"
    result = split(corpus, (train, test), count)
    sides = read_paths(train), read_paths(test)
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == {entry.path for entry in corpus.videos}
    assert count - 1 <= len(sides[0]) <= count
    assert any({"a_1.mp4", "a_2.mp4"} <= side for side in sides)
    assert any({"b_1.mp4", "z_1.avi"} <= side for side in sides)
    assert sorted(result.groups) == [2, 2]
    assert [side["hash"] for side in result.sides] == [Corpus(train).hash, Corpus(test).hash]
    for folder in (train, test):
        opened = Corpus(folder)
        assert opened.plan == corpus.plan
        assert not (folder / ".unfinished").exists()
        for entry in opened.videos:
            opened.verify(entry.key)
            assert entry.fingerprints == corpus.entry(entry.key).fingerprints


def test_split_makes_two_ordinary_corpora(corpus: Corpus, source: Path, tmp_path: Path) -> None:
    """`build_dataset` accepts both, `index_videos` does not undo the split, and `merge` restores the whole."""
    train, test = tmp_path / "train", tmp_path / "test"
    split(corpus, (train, test), 7)
    rejected = pq.read_table(train / "rejected.parquet").to_pylist()
    assert {row["path"] for row in rejected} == read_paths(test)
    assert {row["reason"] for row in rejected} == {"held_out"}
    hash_before = Corpus(train).hash
    grown = shutil.copytree(source, tmp_path / "clips")
    write(grown / "new_1.mp4", picture(77))
    assert index_videos(grown, train, PLAN, source_id=r"^(\w)_").decoded == 1
    assert Corpus(train).hash != hash_before
    assert not read_paths(train) & read_paths(test)
    assert "new_1.mp4" in read_paths(train)
    merged = merge([Corpus(train), Corpus(test)], tmp_path / "merged")
    assert merged.videos == len(corpus) + 1
    assert Corpus(tmp_path / "merged").manifest["rejected"] == {}
    mixture = recipe.ResolvedRecipe(Recipe(name="made", categories={"m": {**MIRROR, "count": 3}}), "made")
    frozen = recipe.ResolvedRecipe(
        Recipe(name="frozen", benchmark=True, categories={"j": {**JIGSAW, "count": 3}}), "frozen"
    )
    build_dataset(frozen, Corpus(test), tmp_path / "bench", templates=load_templates())
    trained = build_dataset(
        mixture, Corpus(train), tmp_path / "set", templates=load_templates(), exclude=[tmp_path / "bench"]
    )
    assert trained["samples"] == 3
    assert not [reason for reason in trained["rejected"] if reason.startswith("excluded")]


def test_split_resumes_after_an_interrupt(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uninterrupted = tmp_path / "1", tmp_path / "2"
    split(corpus, uninterrupted, 7)
    expected = [read_files(side) for side in uninterrupted]
    outs = tmp_path / "train", tmp_path / "test"
    write = pack.write
    for count in (2, 1, 3):  # packs that are written before each kill
        remaining = count

        def interrupt_write(*arguments: Any) -> None:
            nonlocal remaining
            if not remaining:
                raise KeyboardInterrupt
            remaining -= 1
            write(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(pack, "write", interrupt_write)
            with pytest.raises(KeyboardInterrupt):
                split(corpus, outs, 7)
        assert not (outs[1] / "manifest.json").exists()
        with pytest.raises(CorpusError, match=r"not complete|no corpus"):
            Corpus(outs[1])
    unfinished = "unfinished `videossr corpus split` that was begun otherwise: videos is"
    with pytest.raises(ValueError, match=f"{unfinished}|corpus that was made otherwise: it lacks"):
        split(corpus, outs, 3)
    split(corpus, outs, 7)
    assert [read_files(side) for side in outs] == expected
    modified = {path: path.stat().st_mtime_ns for side in outs for path in side.rglob("*")}
    split(corpus, outs, 7)
    assert {path: path.stat().st_mtime_ns for side in outs for path in side.rglob("*")} == modified


def test_split_refuses_unsuitable_folders_and_counts(corpus: Corpus, tmp_path: Path) -> None:
    train = tmp_path / "train"
    for other in (train, train / "test", tmp_path):
        with pytest.raises(ValueError, match="the same folder, or one is in the other"):
            split(corpus, (train, other), 7)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("precious")
    for other in (tmp_path / "mine", tmp_path / "mine/thesis.txt"):
        with pytest.raises(ValueError, match="holds something that `videossr corpus split` has not made"):
            split(corpus, (train, other), 7)
    with pytest.raises(OutputError, match="made otherwise: it lacks 0 of the 4 videos, and has 7 others"):
        split(corpus, (train, Path(str(corpus.path))), 7)
    for count in (0, 11):
        with pytest.raises(ValueError, match="has 11 videos"):
            split(corpus, (train, tmp_path / "test"), count)
    assert not train.exists()
    alone = tmp_path / "alone"
    for name in ("a_1", "a_2"):
        write(alone / f"{name}.mp4", picture(int(name[-1])))
    with pytest.raises(ValueError, match=r"cannot be split so: of 1 groups .* the smallest has 2 videos"):
        split(indexed(alone, source_id=r"^(\w)_"), (train, tmp_path / "test"), 1)


def test_corpus_split_command_reports_its_result(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo").mkdir()
    shutil.copytree(str(corpus.path), tmp_path / "demo/corpus")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as exit_info:
            main(arguments)
        out, err = capsys.readouterr()
        assert exit_info.value.code == 0, err
        return out

    (example,) = re.findall(r"Example: videossr (corpus split .*)$", run("corpus", "split", "--help"), re.MULTILINE)
    output = run(*shlex.split(example))
    assert "4 videos share a source or look alike, in 2 groups" in output
    assert re.search(r"^\d+ videos in demo/one, hash \w{12}$", output, re.MULTILINE)
    assert len(read_paths(tmp_path / "demo/one")) + len(read_paths(tmp_path / "demo/two")) == 11
    assert "held_out" in run("corpus", "info", "demo/two")
