"""Rows for TRL: they hold no frames, and lead back to the clips that are asked about."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from videossr.dataset.dataset import VideoSSRDataset
from videossr.references import ClipCache
from videossr.trl.dataset import sample_rows


def test_rows_lead_back_to_every_clip_of_the_dataset(dataset: Path) -> None:
    opened = VideoSSRDataset(dataset)
    rows = sample_rows(opened).shuffle(seed=1)
    assert len(rows) == len(opened)
    cache = ClipCache()
    for row in rows:
        item = opened[opened.find(row["id"])]
        assert [turn["role"] for turn in row["prompt"]] == ["system", "user"]
        assert [turn["content"] for turn in row["prompt"]] == [item.question.system, item.question.prompt]
        assert (row["answer"], row["data_source"]) == (item.question.answer, item.question.data_source)
        assert row["category"] == item.sample.category
        shown = cache.clips(row["videos"])
        assert [clip.clock for clip in shown] == [clip.clock for clip in item.clips]
        assert all(np.array_equal(one.frames, other.frames) for one, other in zip(shown, item.clips, strict=True))


def test_rows_are_small_and_name_the_corpus_that_the_dataset_was_opened_with(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(str(VideoSSRDataset(dataset).corpus.path), tmp_path / "moved")
    opened = VideoSSRDataset(dataset, corpus=tmp_path / "moved")
    rows = sample_rows(opened)
    assert rows.data.nbytes / len(rows) < 5000
    assert {reference["corpus"] for row in rows for reference in row["videos"]} == {str(tmp_path / "moved")}
