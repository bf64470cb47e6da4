"""Merged corpora are the same as one corpus of all videos."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest

from tests.helpers.building import Run
from tests.helpers.killed import kill_at_the_end
from videossr.cli import main
from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.corpus.merging import merge
from videossr.errors import ConfigError, CorpusError, OutputError
from videossr.video.plan import Plan

PLAN = Plan(frames=8)


def make_corpus(folder: Path, files: dict[str, Path], plan: Plan = PLAN) -> Corpus:
    """Index a folder of links to `files`, by their names in the folder."""
    for name, file in files.items():
        (folder / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "videos" / name).symlink_to(file)
    index_videos(folder / "videos", folder / "corpus", plan)
    return Corpus(folder / "corpus")


def pack_hashes(corpus: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (corpus / "packs").iterdir()}


def test_merge_gives_the_corpus_of_all_videos(videos: Path, tmp_path: Path) -> None:
    real, edge = videos / "real", videos / "edge"
    one = {"bikes.mp4": real / "bikes.mp4", "hurt.mp4": edge / "corrupt_mid.mp4"}
    two = {"bikes.mp4": real / "bikes.mp4", "wide.mkv": videos / "made/wide.mkv", ".hidden.mp4": real / "carphone.mp4"}
    merged = merge([make_corpus(tmp_path / "one", one), make_corpus(tmp_path / "two", two)], tmp_path / "merged")
    make_corpus(tmp_path / "all", one | two)
    assert (merged.videos, merged.duplicates, merged.near) == (2, 1, [])
    assert merged.hash == Corpus(tmp_path / "all/corpus").hash
    assert pack_hashes(tmp_path / "merged") == pack_hashes(tmp_path / "all/corpus")
    assert pq.read_table(tmp_path / "merged/rejected.parquet").equals(
        pq.read_table(tmp_path / "all/corpus/rejected.parquet")
    )
    with pytest.raises(OutputError, match="made otherwise: it lacks 0 of the 1 videos, and has 1 others; rejected"):
        merge([Corpus(tmp_path / "one/corpus"), Corpus(tmp_path / "one/corpus")], tmp_path / "merged")
    with pytest.raises(ValueError, match="two corpora or more"):
        merge([Corpus(tmp_path / "one/corpus")], tmp_path / "alone")
    assert index_videos(tmp_path / "all/videos", tmp_path / "merged", PLAN).decoded == 0


def test_merge_reports_or_drops_near_duplicates(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.mp4"
    with av.open(str(videos / "real/bikes.mp4")) as source, av.open(str(copy), "w") as target:
        stream = target.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "35"})
        stream.width, stream.height, stream.pix_fmt = 320, 136, "yuv420p"
        for frame in source.decode(video=0):
            target.mux(stream.encode(frame.reformat(320, 136, "yuv420p")))
        target.mux(stream.encode(None))
    one = make_corpus(tmp_path / "one", {"bikes.mp4": videos / "real/bikes.mp4"})
    two = make_corpus(tmp_path / "two", {"copy.mp4": copy, "wide.mkv": videos / "made/wide.mkv"})
    reported = merge([one, two], tmp_path / "told")
    with pytest.raises(SystemExit, match="0"):
        main(["corpus", "merge", f"{one.path}", f"{two.path}", "--out", f"{tmp_path / 'again'}"])
    assert "  near-duplicate: copy.mp4 looks like bikes.mp4 (" in capsys.readouterr().out
    dropped = merge([one, two], tmp_path / "dropped", drop_near=True)
    assert (reported.videos, dropped.videos) == (3, 2)
    assert reported.near == dropped.near
    assert [(near.path, near.twin) for near in reported.near] == [("copy.mp4", "bikes.mp4")]
    (row,) = pq.read_table(tmp_path / "dropped/rejected.parquet").to_pylist()
    assert (row["path"], row["reason"]) == ("copy.mp4", "near_duplicate")
    assert row["value"] >= row["threshold"]
    assert row["detail"].startswith("it looks like bikes.mp4: ")


def test_merge_refuses_corpora_of_different_plans(videos: Path, tmp_path: Path) -> None:
    one = make_corpus(tmp_path / "one", {"bikes.mp4": videos / "real/bikes.mp4"})
    two = make_corpus(tmp_path / "two", {"wide.mkv": videos / "made/wide.mkv"}, Plan(frames=9))
    with pytest.raises(CorpusError, match=r"plan\.frames"):
        merge([one, two], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_a_merge_that_is_complete_is_left_alone(videos: Path, run: Run, tmp_path: Path) -> None:
    """Also after a kill in the last moment; other corpora are refused."""
    one = make_corpus(
        tmp_path / "one", {"bikes.mp4": videos / "real/bikes.mp4", "hurt.mp4": videos / "edge/corrupt_mid.mp4"}
    )
    two = make_corpus(tmp_path / "two", {"bikes.mp4": videos / "real/bikes.mp4", "wide.mkv": videos / "made/wide.mkv"})
    merged = tmp_path / "merged"
    words = ["corpus", "merge", f"{one.path}", f"{two.path}", "--out", f"{merged}"]
    kill_at_the_end(*words)
    assert (merged / ".unfinished/task.json").is_file()
    times = {path: path.stat().st_mtime_ns for path in merged.rglob("*.*") if ".unfinished" not in path.parts}
    for _ in range(2):
        status, out, err = run(*words)
        assert (status, err) == (0, "")
        assert "merged was complete already, merged from the same corpora: nothing was written" in " ".join(out.split())
        assert "2 videos in" in out
        assert times == {path: path.stat().st_mtime_ns for path in merged.rglob("*.*")}
    again = merge([one, two], merged)
    assert (again.videos, again.duplicates, again.hash) == (2, 1, Corpus(merged).hash)
    assert again.complete
    status, out, err = run(*words[:3], words[2], *words[4:])
    assert (status, out) == (2, "")
    assert "made otherwise: it lacks 0 of the 1 videos, and has 1 others. Choose another --out" in " ".join(err.split())
    other = make_corpus(tmp_path / "other", {"wide.mkv": videos / "made/wide.mkv"}, Plan(frames=9))
    with pytest.raises(OutputError, match=r"made otherwise: plan\.frames is 8 there, 9 now"):
        merge([other, other], merged)


def test_a_split_that_was_killed_in_the_last_moment_leaves_nothing(videos: Path, run: Run, tmp_path: Path) -> None:
    whole = make_corpus(tmp_path, {"bikes.mp4": videos / "real/bikes.mp4", "wide.mkv": videos / "made/wide.mkv"})
    words = ["corpus", "split", f"{whole.path}", "--out", f"{tmp_path}/a", f"{tmp_path}/b", "--count", "1"]
    kill_at_the_end(*words)
    assert (tmp_path / "a/.unfinished").is_dir()
    assert run(*words)[0] == 0
    assert not (tmp_path / "a/.unfinished").exists()


def test_corpora_without_videos_are_not_merged(videos: Path, tmp_path: Path) -> None:
    empty = make_corpus(
        tmp_path / "empty", {"hurt.mp4": videos / "edge/corrupt_mid.mp4", "none.mp4": tmp_path / "nothing"}
    )
    assert not len(empty)
    with pytest.raises(ConfigError) as refused:
        merge([empty, empty], tmp_path / "merged")
    assert str(refused.value) == (
        f"{empty.path} has no videos: 2 were rejected; see `videossr corpus info {empty.path} --rejected`"
    )
    assert not (tmp_path / "merged").exists()
