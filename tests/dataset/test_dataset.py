"""`VideoSSRDataset` as a trainer reads it: indexed, pickled, in worker processes, and as plain Parquet."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers.video_utils import VideoMetadata

from tests.helpers.small_tokenizers import tokenizer
from videossr.clock import Clock
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset.dataset import Batch, Item, VideoSSRDataset, collate
from videossr.dataset.manifest import read_manifest, write_manifest
from videossr.errors import CorpusError, DataError
from videossr.question import VIDEO
from videossr.rendering import pixel_hash
from videossr.video.plan import Plan


@pytest.fixture
def opened(dataset: Path) -> VideoSSRDataset:
    return VideoSSRDataset(dataset)


def test_dataset_length_and_indices(opened: VideoSSRDataset) -> None:
    assert len(opened) == 8
    assert opened[-1].sample == opened[7].sample
    assert opened[np.int64(3)].sample.id == opened.row(3)["id"]
    for index in (8, -9, 10**6):
        with pytest.raises(IndexError, match=rf"8 samples, no {index}"):
            _ = opened[index]
    assert [item.sample.id for item in opened] == opened["id"]
    assert isinstance(iter(opened), Iterator)


def test_dataset_slices_are_views(opened: VideoSSRDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = opened["id"]
    with monkeypatch.context() as patch:
        patch.setattr("videossr.dataset.dataset.render", lambda *_: pytest.fail("a slice renders nothing by itself"))
        view = opened[2:7]
        assert (len(view), len(view[::2]), len(opened[8:]), len(opened[::-1])) == (5, 3, 0, 8)
        assert view["id"] == ids[2:7]
        assert view[::-2]["answer"] == opened["answer"][2:7][::-2]
        assert repr(view).startswith("5 items range(2, 7) of VideoSSRDataset(")
        for index in (5, -6):
            with pytest.raises(IndexError):
                _ = view[index]
    assert view[-1].question.id == ids[6]
    assert [item.question.id for item in view[1:][::2]] == ids[3:7:2]
    copy = pickle.loads(pickle.dumps(view))
    assert pixel_hash(copy[0].clips) == opened.row(2)["pixels"]


def test_dataset_columns_by_name(opened: VideoSSRDataset) -> None:
    for name in ("id", "task", "answer", "times_ms"):
        assert opened[name] == [opened.row(index)[name] for index in range(8)]
    with pytest.raises(KeyError, match=r"has no column 'ids', but id, task, .*find\(id\)"):
        _ = opened["ids"]


def test_repr_of_dataset_item_question_sample_and_clock(opened: VideoSSRDataset) -> None:
    assert repr(opened) == (
        f"VideoSSRDataset('{opened.path}', small: 8 samples of {opened.manifest['videos']} videos; "
        "counting/easy 2, grounding/mirror 2, grounding/shuffle 2, jigsaw/6 2)"
    )
    for item in opened:
        height, width = item.sample.size
        for value in (item, item.question, item.sample, item.clips[0]):
            assert len(repr(value)) < 1500
            assert f"{item.clips[0].clock.end_ms / 1000:g} s)" in repr(value)
        assert f"({len(item.clips[0].clock)}, {height}, {width}, 3) uint8" in repr(item)
        assert item.question.id in repr(item)
        assert item.sample.category in repr(item)
        assert f"{width}x{height}" in repr(item.sample)
        assert repr(item.question.answer) in repr(item.question)
    assert repr(Clock((0, 333, 667), 1000)) == "Clock(3 slots of 0.3333 s, 1 s)"
    assert repr(Clock((0, 40, 1000), 12_500)) == "Clock(3 slots of 0.04 to 11.5 s, 12.5 s)"


def test_dataset_item_agrees_with_its_row(opened: VideoSSRDataset) -> None:
    tasks = set()
    for index in range(len(opened)):
        item = opened[index]
        row = opened.row(index)
        tasks.add(item.sample.task)
        assert item.sample.id == item.question.id == row["id"]
        assert item.question.prompt == row["prompt"]
        assert item.question.answer == item.sample.answer == row["answer"]
        assert item.question == opened.question(index)
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
        assert opened.repeats(index)
        assert opened.score(index, row["answer"]).strict == 1
        assert opened.score(index, "no idea").smooth == 0
        truth = item.truth
        assert {"grounding": truth.spans, "counting": truth.outlines, "jigsaw": truth.order}[item.sample.task]
    assert tasks == {"grounding", "counting", "jigsaw"}


def test_dataset_renders_the_same_pixels_in_any_order(opened: VideoSSRDataset) -> None:
    forward = [pixel_hash(opened[index].clips) for index in range(len(opened))]
    backward = [pixel_hash(opened[index].clips) for index in reversed(range(len(opened)))]
    assert forward == backward[::-1]


def test_dataset_frames_are_writable_copies(opened: VideoSSRDataset) -> None:
    for index in range(len(opened)):
        for clip in opened[index].clips:
            clip.frames[:] = 0
        assert opened.repeats(index)


def test_dataset_can_be_pickled(opened: VideoSSRDataset) -> None:
    _ = opened[0], opened.rows
    data = pickle.dumps(opened)
    assert len(data) < 100_000
    copy: VideoSSRDataset = pickle.loads(data)
    assert [copy.row(index) for index in range(8)] == [opened.row(index) for index in range(8)]
    assert copy.repeats(0)


def test_dataset_gives_worker_processes_the_same_pixels(opened: VideoSSRDataset) -> None:
    loader: DataLoader[Item] = DataLoader(
        opened,
        batch_size=3,
        num_workers=2,
        multiprocessing_context="spawn",
        collate_fn=list,
    )
    items = [item for batch in loader for item in batch]
    assert [item.sample.id for item in items] == [opened.row(index)["id"] for index in range(8)]
    assert [pixel_hash(item.clips) for item in items] == [opened.row(index)["pixels"] for index in range(8)]


@pytest.mark.parametrize(
    ("workers", "options"), [(0, {}), (2, {}), (2, {"collate_fn": collate}), (0, {"shuffle": True})]
)
def test_data_loader_makes_batches_without_settings(
    opened: VideoSSRDataset, workers: int, options: dict[str, Any]
) -> None:
    loader: DataLoader[Batch] = DataLoader(opened, batch_size=3, num_workers=workers, **options)  # type: ignore[arg-type]
    batches: list[Batch] = list(loader)
    assert [len(batch["id"]) for batch in batches] == [3, 3, 2]
    ids = [name for batch in batches for name in batch["id"]]
    assert (ids if "shuffle" not in options else sorted(ids)) == opened["id"]
    for batch in batches:
        for index, name in enumerate(batch["id"]):
            item = opened[opened.find(name)]
            assert (batch["answer"][index], batch["data_source"][index]) == (
                item.question.answer,
                item.question.data_source,
            )
            assert (batch["messages"][index], batch["category"][index]) == (
                item.question.messages(),
                item.sample.category,
            )
            assert batch["video_metadata"][index] == item.video_metadata
            assert len(batch["videos"][index]) == len(item.clips)
            for video, clip in zip(batch["videos"][index], item.clips, strict=True):
                assert video.dtype == torch.uint8
                assert np.array_equal(video.permute(0, 2, 3, 1).numpy(), clip.frames)


def test_data_loader_accepts_slices_subsets_and_concatenations(opened: VideoSSRDataset) -> None:
    ids = opened["id"]
    both: Any = torch.utils.data.ConcatDataset([opened[2:4], torch.utils.data.Subset(opened, [7, 0])])
    (batch,) = DataLoader(both, batch_size=4)
    assert batch["id"] == [ids[2], ids[3], ids[7], ids[0]]
    assert pickle.loads(pickle.dumps(collate)) is collate


def test_messages_fit_chat_templates_and_video_metadata(opened: VideoSSRDataset) -> None:
    chat = tokenizer()
    for item in opened:
        count = len(item.clips)
        system, user = item.messages
        assert system == {"role": "system", "content": [{"type": "text", "text": item.question.system}]}
        shown = [part["video"] for part in user["content"] if part["type"] == "video"]
        assert [id(frames) for frames in shown] == [id(clip.frames) for clip in item.clips]
        for messages in (item.messages, item.question.messages()):
            text = chat.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            assert text.count("<|video_pad|>") == count
            assert text.replace("<|vision_start|><|video_pad|><|vision_end|>", VIDEO) == (
                f"<|im_start|>system\n{item.question.system}<|im_end|>\n"
                f"<|im_start|>user\n{item.question.prompt}<|im_end|>\n<|im_start|>assistant\n"
            )
        for fields, clip in zip(item.video_metadata, item.clips, strict=True):
            metadata = VideoMetadata(**fields)
            assert metadata.timestamps == [time / 1000 for time in clip.clock.times_ms]
            assert metadata.sampled_fps == pytest.approx(1000 * len(clip.clock) / clip.clock.end_ms)
            assert (metadata.height, metadata.width) == clip.frames.shape[1:3]
        with pytest.raises(ValueError, match=f"{count + 1} clips were given for the {count} that it shows"):
            item.question.messages([*item.clips, item.clips[0]])


def test_dataset_is_readable_by_hugging_face_datasets(
    opened: VideoSSRDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    files = str(opened.path / "samples-*.parquet")
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 8
    for index, row in enumerate(rows):
        assert row == opened.row(index)


def test_find_accepts_the_start_of_an_id(opened: VideoSSRDataset) -> None:
    for index in range(len(opened)):
        sample_id = opened.row(index)["id"]
        assert opened.find(sample_id) == index
        assert opened.find(sample_id[:12]) == index
    with pytest.raises(ValueError, match="8 samples have an id that starts with ''"):
        opened.find("")
    with pytest.raises(ValueError, match="0 samples"):
        opened.find("zz")


def test_dataset_accepts_a_corpus_at_another_path(dataset: Path, corpus: Corpus, tmp_path: Path) -> None:
    moved = shutil.copytree(dataset, tmp_path / "far" / "away")
    with pytest.raises(CorpusError, match=r"is not at .*: name it with --corpus"):
        VideoSSRDataset(moved)
    assert VideoSSRDataset(moved, corpus=corpus.path).repeats(0)
    assert VideoSSRDataset(str(moved), corpus=str(corpus.path)).repeats(7)


def test_dataset_refuses_another_corpus(dataset: Path, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/carphone.mp4").symlink_to(videos / "real/carphone.mp4")
    index_videos(tmp_path / "clips", tmp_path / "other", Plan(frames=48))
    with pytest.raises(CorpusError, match=r"other has (no video|video .* in another decoded form)"):
        VideoSSRDataset(dataset, corpus=tmp_path / "other")


def test_dataset_accepts_a_grown_corpus(dataset: Path, corpus: Corpus, videos: Path, tmp_path: Path) -> None:
    grown = shutil.copytree(str(corpus.path), tmp_path / "grown")
    index_videos(videos / "edge", grown)
    assert Corpus(grown).hash != corpus.hash
    assert VideoSSRDataset(dataset, corpus=grown).repeats(0)


def test_dataset_refuses_folders_that_are_no_dataset(dataset: Path, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        VideoSSRDataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="is not complete"):
        VideoSSRDataset(tmp_path)
    with pytest.raises(ValueError, match="not a dataset"):
        VideoSSRDataset(corpus.path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json: not valid JSON"):
        VideoSSRDataset(tmp_path)


@pytest.mark.parametrize("path", ["a\0b", "a\ud800"])
def test_dataset_refuses_a_path_of_its_corpus_that_is_none(dataset: Path, tmp_path: Path, path: str) -> None:
    manifest = read_manifest(dataset)
    write_manifest(tmp_path, {**manifest, "corpus": {**manifest["corpus"], "path": path}})
    with pytest.raises(DataError, match=rf"^{tmp_path}/manifest\.json: damaged: 'a.* is no path of a corpus"):
        VideoSSRDataset(tmp_path)


def test_write_manifest_writes_what_read_manifest_read(dataset: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path, read_manifest(dataset))
    assert (tmp_path / "manifest.json").read_bytes() == (dataset / "manifest.json").read_bytes()
