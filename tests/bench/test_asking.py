"""Questions that cannot be read are failures of a run: they are counted, and a run of nothing else is stopped."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.bench.conftest import CHANCE, Script
from videossr.bench.evaluation import evaluate
from videossr.bench.records import read_run
from videossr.dataset.dataset import VideoSSRDataset
from videossr.errors import DataError, NothingAnsweredError
from videossr.models.base import Request, Response
from videossr.question import Question


class Unreadable(VideoSSRDataset):
    """Its questions from the second on cannot be read."""

    def question(self, index: Any) -> Question:
        if index > 0:
            raise ValueError(f"row {index} was altered")
        return super().question(index)


def test_a_damaged_file_of_questions_is_refused_before_a_run(dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "copy"))
    for samples in copy.glob("samples-*.parquet"):
        samples.write_bytes(samples.read_bytes()[:100])
    with pytest.raises(DataError, match=r"samples-00000\.parquet was altered since it was written: copy the dataset"):
        evaluate(VideoSSRDataset(copy), CHANCE, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_rows_that_cannot_be_read_count_where_the_model_fails_too(
    built: VideoSSRDataset, script: Script, tmp_path: Path
) -> None:
    def refuse(ask: Request) -> Response:
        return Response(ask.index, error="refused")

    script.respond = refuse
    with pytest.raises(NothingAnsweredError, match=r"2 questions failed for the same reason.*row \d was altered"):
        evaluate(Unreadable(built.path), script.spec(), tmp_path / "run", stop_after=2)
    assert [p.index for p in read_run(tmp_path / "run").predictions] == [0, 1, 2]


def test_rows_that_cannot_be_read_do_not_hide_an_answer(built: VideoSSRDataset, script: Script, tmp_path: Path) -> None:
    done = evaluate(Unreadable(built.path), script.spec(), tmp_path / "run", stop_after=2)
    assert [bool(p.error) for p in done.predictions] == [False] + [True] * (len(built) - 1)
