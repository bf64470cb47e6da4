"""A pipe in a received folder is refused by every reader, which would wait for ever otherwise."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from videossr.bench.evaluation import evaluate
from videossr.bench.records import read_run
from videossr.corpus.corpus import Corpus
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.published.dataset import PublishedDataset
from videossr.errors import VideoSSRError
from videossr.models.human import Human


def replaced(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


@pytest.mark.parametrize("name", ["manifest.json", "samples-00000.parquet"])
def test_datasets_with_a_pipe_are_refused(dataset: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    pipe = replaced(copy / name)
    with pytest.raises(VideoSSRError, match=f"{pipe} is no ordinary file, but a pipe or a device"):
        _ = VideoSSRDataset(copy).hash


def test_corpora_with_a_pipe_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(str(corpus.path), tmp_path / "copy"))
    pipe = replaced(sorted((copy / "packs").iterdir())[0])
    with pytest.raises(VideoSSRError, match=f"{pipe} is no ordinary file"):
        Corpus(copy).check_hash()


@pytest.mark.parametrize("name", ["config.toml", "predictions.jsonl", "manifest.json"])
def test_runs_with_a_pipe_are_refused(dataset: Path, tmp_path: Path, name: str) -> None:
    evaluate(VideoSSRDataset(dataset), "constant", tmp_path / "run")
    pipe = replaced(tmp_path / "run" / name)
    with pytest.raises(VideoSSRError, match=f"{pipe} is no ordinary file"):
        read_run(tmp_path / "run")


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.parquet"])
def test_rows_that_are_a_pipe_are_refused(tmp_path: Path, name: str) -> None:
    pipe = replaced(tmp_path / name)
    with pytest.raises((VideoSSRError, OSError), match=r"no ordinary file|does not exist|no rows|no file"):
        PublishedDataset(pipe)


def test_answers_that_are_a_pipe_are_refused(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises((VideoSSRError, OSError), match="is no file"):
        Human.given(str(replaced(tmp_path / "answers.json")), VideoSSRDataset(dataset))
