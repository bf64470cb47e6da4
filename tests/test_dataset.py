"""A dataset as a trainer reads it: indexed, pickled, in worker processes, and as plain Parquet."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from videossr.build.manifest import read_manifest, write_manifest
from videossr.clock import Clock
from videossr.dataset import Item, VideoSSRDataset
from videossr.question import VIDEO
from videossr.render import pixel_hash
from videossr.video.corpus import Corpus
from videossr.video.index import index
from videossr.video.pack import CorpusError
from videossr.video.plan import Plan


@pytest.fixture
def opened(dataset: Path) -> VideoSSRDataset:
    return VideoSSRDataset(dataset)


def test_length_and_indices(opened: VideoSSRDataset) -> None:
    assert len(opened) == 8
    assert opened[-1].sample == opened[7].sample
    assert opened[np.int64(3)].sample.id == opened.row(3)["id"]
    for wrong in (8, -9, 10**6):
        with pytest.raises(IndexError, match=rf"8 samples, no {wrong}"):
            _ = opened[wrong]
    assert len(list(iter(opened))) == 8  # iteration by index ends with the IndexError


def test_what_an_item_is(opened: VideoSSRDataset) -> None:
    seen = set()
    for at in range(len(opened)):
        item = opened[at]
        row = opened.row(at)
        seen.add(item.sample.task)
        assert item.sample.id == item.question.id == row["id"]
        assert item.question.prompt == row["prompt"]
        assert item.question.answer == item.sample.answer == row["answer"]
        assert item.question == opened.question(at)
        assert item.question.data_source == f"videossr/{item.sample.task}"
        assert item.question.prompt.count(VIDEO) == len(item.clips) == (6 if item.sample.task == "jigsaw" else 1)
        assert [clip.clock for clip in item.clips] == list(item.question.clocks)
        slots = 8 if item.sample.task == "jigsaw" else 48
        for clip in item.clips:
            assert clip.frames.shape == (slots, *item.sample.size, 3)
            assert clip.frames.dtype == np.uint8
            assert isinstance(clip.clock, Clock)
        assert item.sample.size[0] * item.sample.size[1] <= 65536
        assert pixel_hash(item.clips) == row["pixels"]
        assert opened.repeats(at)
        assert opened.score(at, row["answer"]).strict == 1
        assert opened.score(at, "no idea").smooth == 0
        truth = item.truth
        assert {"grounding": truth.spans, "counting": truth.outlines, "jigsaw": truth.order}[item.sample.task]
    assert seen == {"grounding", "counting", "jigsaw"}


def test_rendering_twice_and_in_another_order_gives_the_same(opened: VideoSSRDataset) -> None:
    forward = [pixel_hash(opened[at].clips) for at in range(len(opened))]
    backward = [pixel_hash(opened[at].clips) for at in reversed(range(len(opened)))]
    assert forward == backward[::-1]


def test_what_is_rendered_may_be_written_to(opened: VideoSSRDataset) -> None:
    for at in range(len(opened)):
        for clip in opened[at].clips:
            clip.frames[:] = 0
        assert opened.repeats(at)


def test_it_can_be_pickled(opened: VideoSSRDataset) -> None:
    _ = opened[0], opened.rows
    data = pickle.dumps(opened)
    assert len(data) < 100_000
    copy: VideoSSRDataset = pickle.loads(data)
    assert [copy.row(at) for at in range(8)] == [opened.row(at) for at in range(8)]
    assert copy.repeats(0)


def test_worker_processes_see_the_same_pixels(opened: VideoSSRDataset) -> None:
    loader: DataLoader[Item] = DataLoader(
        opened,  # type: ignore[arg-type]
        batch_size=3,
        num_workers=2,
        multiprocessing_context="spawn",
        collate_fn=list,
    )
    items = [item for batch in loader for item in batch]
    assert [item.sample.id for item in items] == [opened.row(at)["id"] for at in range(8)]
    assert [pixel_hash(item.clips) for item in items] == [opened.row(at)["pixels"] for at in range(8)]


def test_it_is_plain_parquet(opened: VideoSSRDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    files = str(opened.path / "samples-*.parquet")
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 8
    for at, row in enumerate(rows):
        assert row == opened.row(at)


def test_samples_are_found_by_the_start_of_their_id(opened: VideoSSRDataset) -> None:
    for at in range(len(opened)):
        sample_id = opened.row(at)["id"]
        assert opened.find(sample_id) == at
        assert opened.find(sample_id[:12]) == at
    with pytest.raises(ValueError, match="8 samples have an id that starts with ''"):
        opened.find("")
    with pytest.raises(ValueError, match="0 samples"):
        opened.find("zz")


def test_a_corpus_may_lie_elsewhere(dataset: Path, corpus: Corpus, tmp_path: Path) -> None:
    moved = shutil.copytree(dataset, tmp_path / "far" / "away")
    with pytest.raises(CorpusError, match=r"is not at .*: name it with --corpus"):
        VideoSSRDataset(moved)
    assert VideoSSRDataset(moved, corpus=corpus.path).repeats(0)
    assert VideoSSRDataset(str(moved), corpus=str(corpus.path)).repeats(7)


def test_another_corpus_is_refused(dataset: Path, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/carphone.mp4").symlink_to(videos / "real/carphone.mp4")
    index(tmp_path / "clips", tmp_path / "other", Plan(frames=48))
    with pytest.raises(CorpusError, match=r"other has (no video|video .* in another decoded form)"):
        VideoSSRDataset(dataset, corpus=tmp_path / "other")


def test_a_corpus_may_grow(dataset: Path, corpus: Corpus, videos: Path, tmp_path: Path) -> None:
    grown = shutil.copytree(str(corpus.path), tmp_path / "grown")
    index(videos / "edge", grown)
    assert Corpus(grown).hash != corpus.hash
    assert VideoSSRDataset(dataset, corpus=grown).repeats(0)


def test_what_is_no_dataset(dataset: Path, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        VideoSSRDataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="is not complete"):
        VideoSSRDataset(tmp_path)
    with pytest.raises(ValueError, match="not a dataset"):
        VideoSSRDataset(corpus.path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json: not valid JSON"):
        VideoSSRDataset(tmp_path)


def test_the_manifest_survives_being_written_again(dataset: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path, read_manifest(dataset))
    assert (tmp_path / "manifest.json").read_bytes() == (dataset / "manifest.json").read_bytes()
