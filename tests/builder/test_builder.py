"""Datasets from many short clips: reproducible to the byte, videos spread evenly, quotas met or refused."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.building import CLIPS, CONFIG, COUNTING, JIGSAW, MIRROR, PLAN, SLOTS, SWAP, Make, indexed, picture
from tests.helpers.clips import write
from videossr.builder import recipe
from videossr.builder.builder import Progress, build_dataset
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.dataset import schema
from videossr.dataset.dataset import VideoSSRDataset
from videossr.dataset.manifest import file_hashes, read_manifest
from videossr.errors import CorpusError
from videossr.measure import rejected
from videossr.storage.paths import to_path, write_text
from videossr.tasks.base import Video
from videossr.tasks.jigsaw import Jigsaw, JigsawConfig
from videossr.templates import load_templates
from videossr.video.plan import Plan

MIXED = {"mirror": (MIRROR, 5), "swap": (SWAP, 3), "jigsaw": (JIGSAW, 4), "counting": (COUNTING, 4)}


def read_sample_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("samples-*.parquet")}


def count_uses(folder: Path) -> Counter[str]:
    """Count the samples of each video, donors left out."""
    return Counter(row["sources"][0]["content"] for row in schema.read_file(folder / "samples-00000.parquet"))


@pytest.mark.slow
def test_build_dataset_gives_the_same_bytes_for_any_workers_and_file_names(
    made: Corpus, clips: Path, make: Make, tmp_path: Path
) -> None:
    manifest = make("one", made, MIXED)
    assert make("two", made, MIXED, workers=2)["hash"] == manifest["hash"]
    for number, path in enumerate(sorted(clips.iterdir(), reverse=True)):
        target = tmp_path / "renamed" / f"folder {number % 3}" / f"{number:03}_x.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    renamed = indexed(tmp_path / "renamed")
    assert [entry.path for entry in renamed.videos] != [entry.path for entry in made.videos]
    make("three", renamed, MIXED)
    assert (
        read_sample_files(tmp_path / "one")
        == read_sample_files(tmp_path / "two")
        == read_sample_files(tmp_path / "three")
    )
    assert len(read_sample_files(tmp_path / "one")) == 1


def test_build_dataset_draws_other_samples_for_another_seed(made: Corpus, make: Make, tmp_path: Path) -> None:
    categories = {"mirror": (MIRROR, 6), "jigsaw": (JIGSAW, 6)}
    make("zero", made, categories)
    make("one", made, categories, seed=1)
    ids = [
        {row["id"] for row in schema.read_file(tmp_path / name / "samples-00000.parquet")} for name in ("zero", "one")
    ]
    assert len(ids[0]) == len(ids[1]) == 12
    assert len(ids[0] & ids[1]) <= 2  # one video has few segments and orders, so the same may be drawn again


def test_build_dataset_writes_the_samples_of_the_recipe_and_a_manifest(
    made: Corpus, make: Make, tmp_path: Path
) -> None:
    manifest = make("dataset", made, MIXED)
    rows = schema.read_file(tmp_path / "dataset" / "samples-00000.parquet")
    assert Counter(row["category"] for row in rows) == {name: count for name, (_, count) in MIXED.items()}
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert manifest == read_manifest(tmp_path / "dataset")
    assert manifest["samples"] == len(rows) == 16
    assert manifest["files"] == file_hashes(tmp_path / "dataset", [*manifest["files"]])
    opened = VideoSSRDataset(tmp_path / "dataset")
    assert all(opened.repeats(index) for index in range(len(opened)))
    assert "16 questions" in (tmp_path / "dataset/README.md").read_text("utf-8")
    videos = schema.read_file(tmp_path / "dataset/videos.parquet")
    shown = Counter(source["content"] for row in rows for source in row["sources"])
    assert {row["content"]: row["samples"] for row in videos} == shown


def test_build_dataset_uses_each_video_once_while_there_are_enough(made: Corpus, make: Make, tmp_path: Path) -> None:
    manifest = make("dataset", made, {"mirror": (MIRROR, 6), "jigsaw": (JIGSAW, 5), "counting": (COUNTING, 5)})
    assert manifest["categories"]["mirror"]["admitted"] == CLIPS
    assert manifest["most_used"] == 1
    assert len(count_uses(tmp_path / "dataset")) == manifest["videos"] == CLIPS


def test_build_dataset_uses_videos_about_equally_often(made: Corpus, make: Make, tmp_path: Path) -> None:
    manifest = make("dataset", made, {"counting": (COUNTING, 20), "more": (COUNTING, 20)})
    assert manifest["rejected"] == {}
    served = count_uses(tmp_path / "dataset")
    assert sum(served.values()) == 40
    assert set(served.values()) <= {2, 3}
    assert manifest["most_used"] == 3
    assert len(served) == CLIPS


@pytest.mark.slow
def test_build_dataset_replaces_and_records_failed_draws(make: Make, tmp_path: Path) -> None:
    """One video and three pieces give five different answers, so a sixth question would repeat one."""
    write(tmp_path / "single/clip.mp4", picture(50))
    corpus = indexed(tmp_path / "single")
    easy = {"task": "jigsaw", "config": {"frames": 16, "pieces": 3}}
    manifest = make("all", corpus, {"jigsaw": (easy, 5)})
    assert manifest["samples"] == 5
    rejected = schema.read_file(tmp_path / "all/rejected.parquet")
    assert {row["reason"] for row in rejected} == {"drawn_before"}
    assert all(row["attempt"] is not None for row in rejected)
    with pytest.raises(
        ValueError, match=r"jigsaw lacks 1 of 6\. Rejected: jigsaw: drawn_before .* --categories\.jigsaw\.count=5$"
    ):
        make("more", corpus, {"jigsaw": (easy, 6)})
    assert {row["reason"] for row in schema.read_file(tmp_path / "more/rejected.parquet")} == {"drawn_before"}
    assert not (tmp_path / "more/manifest.json").exists()


def test_build_dataset_keeps_a_complete_dataset_and_refuses_other_settings(
    made: Corpus, make: Make, tmp_path: Path
) -> None:
    categories = {"mirror": (MIRROR, 2)}
    manifest = make("dataset", made, categories)
    modified = {path: path.stat().st_mtime_ns for path in (tmp_path / "dataset").iterdir()}
    assert make("dataset", made, categories) == manifest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "dataset").iterdir()} == modified
    with pytest.raises(ValueError, match=r"made otherwise: seed is 0 there, 1 now\. Choose .* --rebuild"):
        make("dataset", made, categories, seed=1)
    with pytest.raises(ValueError, match=r"made otherwise: recipe\.categories\.mirror\.count is 2 there, 3 now\."):
        make("dataset", made, {"mirror": (MIRROR, 3)})
    (tmp_path / "dataset/samples-00000.parquet").unlink()
    with pytest.raises(ValueError, match=r"samples-00000\.parquet is missing or altered.* --rebuild"):
        make("dataset", made, categories)


@pytest.mark.slow
def test_build_dataset_rebuild_replaces_a_dataset(
    made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old dataset, which has more files than the new one, stays complete until the new one is drawn."""
    monkeypatch.setattr(schema, "ROWS_PER_FILE", 2)
    old = make("dataset", made, {"mirror": (MIRROR, 5)})
    with pytest.raises(ValueError, match="too few samples"):
        make(
            "dataset", made, {"jigsaw": ({"task": "jigsaw", "config": {"frames": 16, "pieces": 3}}, 500)}, rebuild=True
        )
    assert make("dataset", made, {"mirror": (MIRROR, 5)}) == old

    def interrupt(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make("dataset", made, {"jigsaw": (JIGSAW, 2)}, rebuild=True, progress=interrupt)
    assert read_manifest(tmp_path / "dataset") == old
    new = make("dataset", made, {"jigsaw": (JIGSAW, 2)}, rebuild=True)
    assert new == make("new", made, {"jigsaw": (JIGSAW, 2)})
    assert {path.name for path in (tmp_path / "dataset").iterdir()} == {
        path.name for path in (tmp_path / "new").iterdir()
    }
    (tmp_path / "dataset/videos.parquet").write_bytes(b"damaged")
    assert make("dataset", made, {"jigsaw": (JIGSAW, 2)}, rebuild=True) == new
    assert file_hashes(tmp_path / "dataset", new["files"]) == new["files"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="has not made"):
        make("other", made, {"jigsaw": (JIGSAW, 2)}, rebuild=True)


def test_build_dataset_finishes_an_unfinished_dataset_and_refuses_other_folders(
    made: Corpus, make: Make, tmp_path: Path
) -> None:
    categories = {"mirror": (MIRROR, 2)}
    manifest = make("dataset", made, categories)
    (tmp_path / "dataset/manifest.json").unlink()
    (tmp_path / "dataset/.unfinished").mkdir()
    (tmp_path / "dataset/.unfinished/task.json").write_text('{"verb": "build"}')
    (tmp_path / "dataset/samples-00001.parquet").write_bytes(b"of a larger build that was killed")
    assert make("dataset", made, categories) == manifest
    assert not (tmp_path / "dataset/samples-00001.parquet").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/README.md").write_text("mine")
    with pytest.raises(ValueError, match="holds something that `videossr build` has not made"):
        make("mine", made, categories)
    assert (tmp_path / "mine/README.md").read_text() == "mine"


def test_build_dataset_through_a_symlink_finds_its_corpus(made: Corpus, make: Make, tmp_path: Path) -> None:
    (tmp_path / "deep/er/still").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep/er/still")
    make("link/dataset", made, {"mirror": (MIRROR, 2)})
    assert VideoSSRDataset(tmp_path / "link/dataset")[0].clips[0].frames.shape[0] == SLOTS


def test_build_dataset_refuses_a_damaged_pack(made: Corpus, make: Make, tmp_path: Path) -> None:
    copy = tmp_path / "corpus"
    shutil.copytree(str(made.path), copy)
    pack = max((copy / "packs").iterdir(), key=lambda path: path.stat().st_size)
    damaged = bytearray(pack.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    pack.write_bytes(damaged)
    with pytest.raises(CorpusError, match="are damaged"):
        make("dataset", Corpus(copy), {"mirror": (MIRROR, 2)})


def test_build_dataset_records_a_video_with_too_few_frames(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "mixed/long.mp4", picture(60, frames=16))
    write(tmp_path / "mixed/short.mp4", picture(61, frames=12))
    corpus = indexed(tmp_path / "mixed", Plan(kind="fps", fps=10, frames=PLAN.frames))
    assert sorted(len(entry.clock) for entry in corpus.videos) == [12, 16]
    make("dataset", corpus, {"mirror": (MIRROR, 2)})
    (row,) = schema.read_file(tmp_path / "dataset/rejected.parquet")
    assert (row["path"], row["reason"], row["value"], row["threshold"]) == ("short.mp4", "frames", 12, 16)


def test_build_dataset_refuses_a_jigsaw_of_an_uneven_clock(make: Make, tmp_path: Path) -> None:
    for number in range(2):
        path = tmp_path / "few" / f"{number}.mp4"
        write(path, picture(number, frames=80), options={"g": "7", "bf": "2", "preset": "medium"})
    corpus = indexed(tmp_path / "few", Plan(kind="snap", frames=16))
    assert all(entry.clock.jitter_ms > 1 for entry in corpus.videos)
    with pytest.raises(ValueError, match=r"categories\.jigsaw needs slots of equal length; .* --plan uniform"):
        make("dataset", corpus, {"counting": (COUNTING, 1), "jigsaw": (JIGSAW, 1)})
    assert not (tmp_path / "dataset").exists()
    make("dataset", corpus, {"counting": (COUNTING, 2)})
    task = Jigsaw()
    for entry in corpus.videos:
        uneven = rejected(
            task.gates(Video(entry.key, entry.clock, corpus.frames(entry.key)), JigsawConfig(frames=16, pieces=4))
        )
        assert uneven is not None
        assert uneven.reason == "uneven_clock"
        assert uneven.value > 1


def test_build_dataset_writes_to_a_remote_store(
    made: Corpus, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store, here in memory, takes whole files only; the staging directory is in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    categories = {"mirror": (MIRROR, 5)}
    remote = to_path("memory://far/dataset")
    local = make("near", made, categories)

    def interrupt(progress: Progress) -> None:
        if progress.phase == "draws":
            raise KeyboardInterrupt

    mixture = recipe.load_recipe(str(tmp_path / "near/config.toml"))
    with pytest.raises(KeyboardInterrupt):
        build_dataset(mixture, made, remote, templates=load_templates(), progress=interrupt)
    assert not remote.exists() or not any(remote.iterdir())
    manifest = build_dataset(mixture, made, remote, templates=load_templates())
    assert manifest["hash"] == local["hash"]
    assert manifest["files"] == local["files"]
    assert manifest["corpus"]["path"] == str(made.path)
    assert not list((tmp_path / "cache").rglob("*.sqlite"))
    assert build_dataset(mixture, made, remote, templates=load_templates()) == manifest
    opened = VideoSSRDataset("memory://far/dataset")
    assert all(opened.repeats(index) for index in range(len(opened)))
    write_text(to_path("memory://mine/thesis.txt"), "precious")
    with pytest.raises(ValueError, match="memory://mine holds something that `videossr build` has not made"):
        build_dataset(mixture, made, to_path("memory://mine"), templates=load_templates())


def test_build_dataset_names_the_index_command_for_more_frames(made: Corpus, make: Make) -> None:
    slow = {"task": "grounding", "config": {**CONFIG, "perturbation": "slow"}}
    with pytest.raises(
        ValueError, match=r"categories\.slow needs videos of (\d+) frames.*\n  videossr index .*--frames \1"
    ):
        make("dataset", made, {"slow": (slow, 1)})


def test_build_dataset_names_categories_that_need_as_many_frames_together(videos: Path, tmp_path: Path) -> None:
    index_videos(videos / "real/bikes.mp4", tmp_path / "corpus", Plan(kind="fps", fps=1))
    with pytest.raises(ValueError, match=r"since --plan fps takes more frames of longer videos") as error:
        build_dataset(
            recipe.load_recipe("smoke"), Corpus(tmp_path / "corpus"), tmp_path / "out", templates=load_templates()
        )
    assert str(error.value).startswith("categories.grounding/channel_swap, categories.grounding/mirror, ")
    assert str(error.value).count("Index them anew") == 1
    assert f"videossr index VIDEOS --out {tmp_path}/corpus-48 --plan uniform --frames 48" in str(error.value)


def test_build_dataset_leaves_out_a_category_of_no_samples(made: Corpus, make: Make) -> None:
    manifest = make("dataset", made, {"counting": (COUNTING, 2), "jigsaw": (JIGSAW, 0)})
    assert manifest["recipe"]["categories"].keys() == manifest["categories"].keys() == {"counting"}
    mixture = recipe.load_recipe("smoke", {"categories.jigsaw/6.count": "0"}).limited(12)
    assert "jigsaw/6" not in mixture.categories
    with pytest.raises(ValueError, match="categories: there is none"):
        make("none", made, {"counting": (COUNTING, 0)})
