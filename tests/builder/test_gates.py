"""Rejections by the gates are recorded: which video, for which category, and what was measured."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.helpers.building import Make, indexed
from tests.helpers.clips import pan, write
from videossr.corpus.corpus import Corpus
from videossr.dataset import schema
from videossr.dataset.dataset import VideoSSRDataset
from videossr.video.plan import Plan

CLIPS = ("real/bikes.mp4", "real/carphone.mp4", "made/gray.mp4", "made/small.mp4", "edge/short.mp4")
COLORS = ("channel_swap", "grayscale", "saturation")
OTHERS = ("invert", "mirror", "rotate_180", "zoom_out", "noise", "shuffle", "stutter")


def make_category(name: str) -> dict[str, Any]:
    return {"task": "grounding", "config": {"perturbation": name}}


@pytest.fixture(scope="module")
def clips(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("gates") / "clips"
    for name in CLIPS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(videos / name)
    write(folder / "still.mp4", [next(pan(5, height=96, width=96, patches=10))] * 120)
    return indexed(folder, Plan())


def test_index_videos_rejects_a_clip_of_25_frames(clips: Corpus) -> None:
    (row,) = pq.read_table(clips.path / "rejected.parquet").to_pylist()
    assert (row["path"], row["reason"]) == ("edge/short.mp4", "too_short")
    assert row["value"] < row["threshold"]
    assert {entry.path for entry in clips.videos} == {*CLIPS, "still.mp4"} - {"edge/short.mp4"}


def test_gates_record_reasons_values_and_thresholds(clips: Corpus, make: Make, tmp_path: Path) -> None:
    categories = {name: (make_category(name), 1) for name in (*COLORS, *OTHERS, "blur")}
    categories |= {"jigsaw": ({"task": "jigsaw"}, 1), "counting": ({"task": "counting"}, 1)}
    manifest = make("dataset", clips, categories)
    rows = schema.read_file(tmp_path / "dataset/rejected.parquet")
    rejections: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        rejections[row["path"]].add(row["category"])
        assert row["attempt"] is None
        assert (row["value"] > row["threshold"]) == (row["reason"] in ("hard_cut", "cut_border")), row
    assert rejections["made/gray.mp4"] >= set(COLORS)
    reasons = {row["reason"] for row in rows}
    hidden = {f"hidden_{kind}" for kind in ("picture", "texture", "motion", "ends")}
    assert reasons >= hidden | {"hard_cut", "pieces_alike", "too_small"}
    for category, facts in manifest["categories"].items():
        assert facts["admitted"] == len(clips) - sum(category in categories for categories in rejections.values())
    shown = {
        row["category"]: row["sources"][0]["content"]
        for row in schema.read_file(tmp_path / "dataset" / "samples-00000.parquet")
    }
    names = {entry.content: entry.path for entry in clips.videos}
    assert all(category not in rejections[names[content]] for category, content in shown.items())


def test_build_dataset_refuses_a_category_that_admits_no_video(videos: Path, make: Make, tmp_path: Path) -> None:
    (tmp_path / "gray").mkdir()
    (tmp_path / "gray/film.mp4").symlink_to(videos / "made/gray.mp4")
    corpus = indexed(tmp_path / "gray", Plan())
    with pytest.raises(ValueError, match=r"no video is fit for channel_swap\..*: hidden_picture \(1\)"):
        make("dataset", corpus, {"channel_swap": (make_category("channel_swap"), 1)})
    (row,) = schema.read_file(tmp_path / "dataset/rejected.parquet")
    assert (row["path"], row["category"], row["reason"]) == ("film.mp4", "channel_swap", "hidden_picture")
    assert not (tmp_path / "dataset/manifest.json").exists()


def test_gates_measure_donors_as_they_are_shown(make: Make, tmp_path: Path) -> None:
    """Two videos differ only by bars beside the picture, which are cut off when one is shown in the other."""
    frames = list(pan(5, 130, height=96, width=96, patches=10))
    write(tmp_path / "clips/plain.mp4", frames)
    write(tmp_path / "clips/bars.mp4", [np.pad(frame, ((0, 0), (40, 40), (0, 0))) for frame in frames])
    corpus = indexed(tmp_path / "clips", Plan())
    make("dataset", corpus, {"swap": (make_category("swap"), 4)})
    (plain,) = (entry.key.content for entry in corpus.videos if entry.path == "plain.mp4")
    dataset = VideoSSRDataset(tmp_path / "dataset")
    assert {dataset.sample(index).sources[0].content for index in range(4)}.isdisjoint({plain})
    rows = schema.read_file(tmp_path / "dataset/rejected.parquet")
    assert ("plain.mp4", "no_donor") in {(row["path"], row["reason"]) for row in rows}
