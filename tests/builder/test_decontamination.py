"""Datasets kept apart with `exclude`: by file content, by likeness and by source, donors included."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.helpers.building import CLIPS, JIGSAW, MIRROR, SLOTS, SWAP, Make, indexed, picture
from tests.helpers.clips import write
from videossr.cli import main
from videossr.corpus.corpus import Corpus
from videossr.corpus.duplicates import NEAR_SHARE
from videossr.corpus.splitting import split
from videossr.dataset import schema
from videossr.dataset.manifest import read_manifest
from videossr.errors import UnmetError


def read_contents(folder: Path) -> set[str]:
    """Read the contents of all videos that a dataset shows."""
    return {
        source["content"] for row in schema.read_file(folder / "samples-00000.parquet") for source in row["sources"]
    }


def read_excluded(folder: Path) -> dict[str, tuple[str, float, float, str]]:
    """Map the file of each video that was left out completely to its reason, value, threshold and twin."""
    rows = schema.read_file(folder / "rejected.parquet")
    return {
        row["path"]: (row["reason"], row["value"], row["threshold"], row["twin"])
        for row in rows
        if row["category"] is None
    }


def test_exclude_shares_no_video_and_counts_donors(made: Corpus, make: Make, tmp_path: Path) -> None:
    make("bench", made, {"swap": (SWAP, 4)})
    assert len(read_contents(tmp_path / "bench")) > 4, "no donor is a video of its own"
    manifest = make("train", made, {"mirror": (MIRROR, 6), "swap": (SWAP, 6)}, exclude=[tmp_path / "bench"])
    assert not read_contents(tmp_path / "train") & read_contents(tmp_path / "bench")
    left_out = read_excluded(tmp_path / "train")
    assert {reason for reason, *_ in left_out.values()} == {"excluded_content"}
    assert len(left_out) == len(read_contents(tmp_path / "bench")) < CLIPS
    assert manifest["rejected"]["excluded: excluded_content"] == len(left_out)
    assert len(manifest["excluded"]) == 1


def test_exclude_finds_a_copy_of_another_size_and_codec(made: Corpus, make: Make, tmp_path: Path) -> None:
    make("bench", made, {"jigsaw": (JIGSAW, CLIPS)})
    write(tmp_path / "new/again.avi", picture(3, height=192, width=256), "mpeg4", {"qscale": "6"})
    write(tmp_path / "new/fresh.mp4", picture(103))
    make("train", indexed(tmp_path / "new"), {"mirror": (MIRROR, 1)}, exclude=[tmp_path / "bench"])
    ((path, (reason, value, threshold, twin)),) = read_excluded(tmp_path / "train").items()
    assert (path, reason, twin) == ("again.avi", "excluded_near", "clip_03.mp4")
    assert value >= threshold == NEAR_SHARE
    (row,) = schema.read_file(tmp_path / "train" / "samples-00000.parquet")
    assert row["sources"][0]["content"] not in read_contents(tmp_path / "bench")


def test_exclude_leaves_out_clips_of_the_same_source(clips: Path, make: Make, tmp_path: Path) -> None:
    for folder, names in {"old": ("a_1",), "new": ("a_2", "b_1")}.items():
        for name in names:
            (tmp_path / folder).mkdir(exist_ok=True)
            number = ("a_1", "a_2", "b_1").index(name)
            shutil.copy(clips / f"clip_{number:02}.mp4", tmp_path / folder / f"{name}.mp4")
    old, new = (indexed(tmp_path / folder, source_id=r"^(\w)_") for folder in ("old", "new"))
    make("bench", old, {"mirror": (MIRROR, 1)})
    make("train", new, {"mirror": (MIRROR, 1)}, exclude=[tmp_path / "bench"])
    assert read_excluded(tmp_path / "train") == {"a_2.mp4": ("excluded_source", 1, 0, "a_1.mp4")}


def test_exclude_names_the_way_out_when_no_video_is_left(made: Corpus, make: Make, tmp_path: Path) -> None:
    make("bench", made, {"jigsaw": (JIGSAW, CLIPS)})
    with pytest.raises(UnmetError, match=rf"none of the {CLIPS} videos of .* is left to draw from") as raised:
        make("train", made, {"mirror": (MIRROR, 1)}, exclude=[tmp_path / "bench"])
    assert f"--exclude took {CLIPS} of the {CLIPS} videos (excluded_content {CLIPS})" in str(raised.value)
    assert f"videossr corpus split {made.path} --out TRAIN TEST --share 0.9" in str(raised.value)
    assert "--videos N" in str(raised.value)
    assert len(read_excluded(tmp_path / "train")) == CLIPS
    with pytest.raises(FileNotFoundError, match="does not exist"):
        make("train", made, {"mirror": (MIRROR, 1)}, exclude=[tmp_path / "nowhere"])


def test_exclude_names_the_way_out_when_too_few_videos_are_left(made: Corpus, make: Make, tmp_path: Path) -> None:
    """Some videos are left, but none is admitted, or they are too few."""
    make("bench", made, {"jigsaw": (JIGSAW, CLIPS - 1)})
    strict = {"task": "grounding", "config": {**MIRROR["config"], "limits": {"picture": 100.0}}}  # type: ignore[dict-item]
    for config, count in ((strict, 1), (SWAP, 2)):
        with pytest.raises(UnmetError, match=rf"--exclude took {CLIPS - 1} of the {CLIPS} videos(?s:.)*corpus split"):
            make("train", made, {"odd": (config, count)}, exclude=[tmp_path / "bench"])


def test_build_dataset_of_few_videos_leaves_the_others(made: Corpus, make: Make, tmp_path: Path) -> None:
    """The benchmark takes its videos and donors from the first ones by their hashes, whatever the recipe."""
    categories = {"mirror": (MIRROR, 9), "swap": (SWAP, 6)}
    bench = make("bench", made, categories, most=5)
    assert read_contents(tmp_path / "bench") <= {entry.content for entry in made.videos[:5]}
    assert bench["videos"] == 5
    assert bench["recipe"]["videos"] == 5
    assert make("again", made, categories, most=5)["hash"] == bench["hash"]
    assert make("other", made, categories, most=6)["hash"] != bench["hash"]
    train = make("train", made, {"mirror": (MIRROR, CLIPS - 5)}, exclude=[tmp_path / "bench"])
    assert train["videos"] == CLIPS - 5
    assert not read_contents(tmp_path / "train") & read_contents(tmp_path / "bench")
    second = make("second", made, {"mirror": (MIRROR, 4)}, most=4, exclude=[tmp_path / "bench"])
    assert second["videos"] == 4
    assert read_contents(tmp_path / "second") == {entry.content for entry in made.videos[5:9]}
    with pytest.raises(UnmetError, match=r"--videos 1 leaves 1 videos to draw from: allow more"):
        make("none", made, {"swap": (SWAP, 2)}, most=1)
    with pytest.raises(ValueError, match="videos"):
        make("bench", made, categories, most=6)


def test_build_command_warns_before_a_benchmark_uses_every_video(
    made: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ['name = "frozen"', "benchmark = true", "[categories.jigsaw]", 'task = "jigsaw"', "count = 14"]
    (tmp_path / "frozen.toml").write_text("\n".join([*lines, f"config = {{ frames = {SLOTS}, pieces = 4 }}"]))

    def build(out: str, corpus: Path, *options: str) -> str:
        arguments = ["build", str(tmp_path / "frozen.toml"), "--corpus", str(corpus), "--out", str(tmp_path / out)]
        with pytest.raises(SystemExit) as exit_info:
            main([*arguments, "--workers", "1", *options])
        captured = capsys.readouterr()
        assert exit_info.value.code in (0, None), captured.err
        return " ".join(captured.err.split())

    path = Path(str(made.path))
    warnings = build("all", path)
    assert f"will use up to 14 of the {CLIPS} videos" in warnings
    assert "videossr corpus split" in warnings
    assert "--videos" not in warnings, "a tenth of so few videos is no benchmark"
    assert "will use up to" not in build("few", path, "--videos", "4")
    assert read_manifest(tmp_path / "few")["videos"] == 4
    split(made, (tmp_path / "train", tmp_path / "test"), 4)
    assert "will use up to" not in build("held", tmp_path / "test"), "this is what it was divided for"
