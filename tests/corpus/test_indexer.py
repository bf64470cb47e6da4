"""Corpora from real files: the same bytes for any workers, after a kill, and if files are added later."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from videossr.clock import Clock
from videossr.corpus.corpus import Corpus, corpus_hash
from videossr.corpus.index_state import IndexState
from videossr.corpus.indexer import Outcome, index_videos
from videossr.corpus.merging import merge
from videossr.corpus.sources import find
from videossr.errors import CorpusError, OutputError
from videossr.sample import VideoKey
from videossr.storage.output_dir import OutputDir
from videossr.video.decoding import decode, pick
from videossr.video.plan import Plan

PLAN = Plan(frames=8)
NAMES = ["real/carphone.mp4", "real/bikes.mp4", "edge/mpeg4.avi", "edge/corrupt_mid.mp4"]


@pytest.fixture
def source(videos: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(videos / name)
    return folder


def file_hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_index_videos_stores_the_decoded_frames(source: Path, tmp_path: Path) -> None:
    outcomes: list[Outcome] = []
    summary = index_videos(source, tmp_path / "corpus", PLAN, progress=outcomes.append)
    assert (summary.videos, summary.decoded, summary.rejected) == (3, 4, {"damaged": 1})
    assert [(outcome.phase, outcome.done) for outcome in outcomes] == [
        (phase, done) for phase in ("hashes", "videos") for done in (1, 2, 3, 4)
    ]
    assert [outcome.path for outcome in outcomes if outcome.rejected] == ["edge/corrupt_mid.mp4"]
    corpus = Corpus(tmp_path / "corpus")
    assert corpus.hash == summary.hash == corpus_hash(corpus.manifest["shards"])
    assert [entry.content for entry in corpus.videos] == sorted(entry.content for entry in corpus.videos)
    for entry in corpus.videos:
        file = source / entry.path
        decoded = decode(file, PLAN)
        assert entry.content == hashlib.sha256(file.read_bytes()).hexdigest()
        assert entry.clock == decoded.choice.clock
        assert entry.source_times == tuple(
            decoded.timeline.times[frame] * decoded.timeline.base for frame in decoded.choice.frames
        )
        frames = corpus.frames(entry.key)
        assert frames.shape == decoded.frames.shape == (8, *entry.size, 3)
        assert np.abs(frames.astype(int) - decoded.frames).mean() < 3
        assert np.array_equal(corpus.frames(entry.key, [5, 0, 5]), frames[[5, 0, 5]])
        with pytest.raises(IndexError, match=r"0\.\.7"):
            corpus.frames(entry.key, [8])
    rejected = pq.read_table(tmp_path / "corpus/rejected.parquet").to_pylist()
    assert [(row["path"], row["reason"], row["threshold"]) for row in rejected] == [
        ("edge/corrupt_mid.mp4", "damaged", 0)
    ]
    names = {str(path.relative_to(tmp_path / "corpus")) for path in (tmp_path / "corpus").rglob("*.*")}
    shards = {entry.content[:2] for entry in corpus.videos} | {row["content"][:2] for row in rejected}
    assert names == {"config.toml", "manifest.json", "rejected.parquet"} | {f"packs/{shard}.pack" for shard in shards}


def test_index_videos_writes_the_same_bytes_for_any_workers_and_steps(source: Path, tmp_path: Path) -> None:
    index_videos(source, tmp_path / "one", PLAN)
    index_videos(source, tmp_path / "two", PLAN, workers=2)
    hidden = tmp_path / "later"
    shutil.move(source / "real", hidden)
    index_videos(source, tmp_path / "grown", PLAN)
    shutil.move(hidden, source / "real")
    assert index_videos(source, tmp_path / "grown", PLAN).decoded == 2
    assert file_hashes(tmp_path / "one") == file_hashes(tmp_path / "two") == file_hashes(tmp_path / "grown")


def test_index_videos_keeps_and_counts_videos_whose_file_is_gone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    assert index_videos(source, out, PLAN).gone == 0
    (source / "real/bikes.mp4").unlink()
    (source / "real/carphone.mp4").rename(source / "renamed.mp4")
    summary = index_videos(source, out, PLAN)
    assert (summary.videos, summary.gone, summary.decoded) == (3, 1, 0)
    assert "renamed.mp4" in {entry.path for entry in Corpus(out).videos}


def test_index_videos_leaves_an_unchanged_corpus_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    first = index_videos(source, out, PLAN)
    modified = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    second = index_videos(source, out, PLAN)
    assert (second.decoded, second.videos, second.hash) == (0, first.videos, first.hash)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == modified


PROGRAM = """
import sys
from pathlib import Path
from videossr.corpus.indexer import index_videos
from videossr.video.plan import Plan
if __name__ == "__main__":
    index_videos(Path(sys.argv[1]), Path(sys.argv[2]), Plan(frames=8))
"""


def test_index_videos_resumes_after_a_kill(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    child = subprocess.Popen([sys.executable, str(program), str(source), str(out)], start_new_session=True)
    deadline = time.monotonic() + 120
    while not any((out / "packs").glob("??.pack")) and time.monotonic() < deadline:
        assert child.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with pytest.raises(CorpusError, match="again"):
        Corpus(out)
    assert index_videos(source, out, PLAN).decoded < 4
    index_videos(source, tmp_path / "whole", PLAN)
    assert file_hashes(out) == file_hashes(tmp_path / "whole")


def interrupt(outcome: Outcome) -> None:
    raise KeyboardInterrupt


def test_index_videos_repeats_what_a_kill_cut_short(source: Path, tmp_path: Path) -> None:
    out, whole = tmp_path / "corpus", tmp_path / "whole"
    index_videos(source, whole, PLAN)
    shutil.copytree(whole, out)
    (out / "manifest.json").unlink()
    entry = Corpus(whole).videos[0]
    (out / f"packs/{entry.content[:2]}.pack").unlink()
    (out / f"packs/.{entry.content[:2]}.pack.partial").write_bytes(b"half a pa")
    with pytest.raises(KeyboardInterrupt):
        index_videos(source, out, PLAN, progress=interrupt)
    staging = out / ".unfinished"
    (staging / "parts" / entry.content).write_bytes(b'{"content": "half a')
    (staging / "hashes.jsonl").write_text('["real/carphone.mp4", 58')
    assert index_videos(source, out, PLAN).decoded == 1
    assert file_hashes(out) == file_hashes(whole)


def test_index_state_reuses_the_hashes_of_unchanged_files(source: Path, tmp_path: Path) -> None:
    files, _ = find([source], tmp_path / "corpus")
    (tmp_path / "state").mkdir()
    with IndexState(tmp_path / "state") as state:
        for file in files:
            state.add_hash(file, hashlib.sha256(file.path.encode()).hexdigest())
    changed = source / "real/bikes.mp4"
    copy = changed.read_bytes()
    changed.unlink()
    changed.write_bytes(copy)
    files_now, _ = find([source], tmp_path / "corpus")
    with IndexState(tmp_path / "state") as state:
        assert set(state.hashes(files_now)) == {file.path for file in files} - {"real/bikes.mp4"}


def test_index_videos_uses_a_copy_of_a_file_that_vanished(source: Path, tmp_path: Path) -> None:
    (source / "a.mp4").write_bytes((source / "real/carphone.mp4").read_bytes() + b"more")
    (source / "b.mp4").write_bytes((source / "a.mp4").read_bytes())

    outcomes: list[Outcome] = []

    def remove_file(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if (outcome.phase, outcome.done) == ("hashes", outcome.total):
            (source / "a.mp4").unlink()

    summary = index_videos(source, tmp_path / "out", PLAN, progress=remove_file)
    assert summary.rejected == {"changed": 1, "damaged": 1}
    assert "b.mp4" in {entry.path for entry in Corpus(tmp_path / "out").videos}
    assert [outcome.done for outcome in outcomes if outcome.phase == "videos"] == list(range(1, 7))


def test_index_videos_reads_unreadable_files_again(source: Path, tmp_path: Path) -> None:
    """Unlike damage, a failed read may be the fault of the machine."""
    (source / "text.avi").write_text("this is no video")
    assert index_videos(source, tmp_path / "out", PLAN).rejected["unreadable"] == 1
    summary = index_videos(source, tmp_path / "out", PLAN)
    assert (summary.decoded, summary.rejected["unreadable"]) == (1, 1)


def test_index_videos_refuses_the_folder_of_an_unfinished_merge(source: Path, tmp_path: Path) -> None:
    out, one, two = tmp_path / "out", tmp_path / "one", tmp_path / "two"
    index_videos(source / "real", one, PLAN)
    index_videos(source / "edge", two, PLAN)

    def interrupt_merge(phase: str, done: int, total: int) -> None:
        if (phase, done) == ("packs", 100):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge([Corpus(one), Corpus(two)], out, progress=interrupt_merge)
    with pytest.raises(ValueError, match="unfinished `videossr corpus merge`: finish it"):
        index_videos(source, out, PLAN)
    with pytest.raises(ValueError, match="unfinished `videossr corpus merge` that was begun otherwise: of is"):
        merge([Corpus(one), Corpus(one)], out)
    merge([Corpus(one), Corpus(two)], out)
    index_videos(source / "edge", tmp_path / "grown", PLAN)
    assert Corpus(out).hash != Corpus(two).hash == Corpus(tmp_path / "grown").hash


def test_index_videos_records_the_versions_of_all_runs(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    index_videos(source / "edge", out, PLAN)
    manifest = out / "manifest.json"
    original = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**original, "versions": {**original["versions"], "av": "1.0"}}))
    assert index_videos(source / "edge", out, PLAN).decoded == 0
    index_videos(source, out, PLAN)
    assert Corpus(out).manifest["versions"]["av"] == f"1.0 and {original['versions']['av']}"
    assert Corpus(out).manifest["versions"]["numpy"] == original["versions"]["numpy"]


@pytest.mark.parametrize("offset", [10, 500, 2000])
def test_corpus_refuses_a_pack_with_a_damaged_table(source: Path, tmp_path: Path, offset: int) -> None:
    out = tmp_path / "out"
    index_videos(source, out, PLAN)
    first = Corpus(out).videos[0]
    pack = out / f"packs/{first.content[:2]}.pack"
    data = bytearray(pack.read_bytes())
    data[-offset] ^= 4
    pack.write_bytes(data)
    with pytest.raises(CorpusError, match=rf"{pack.name}.*copy it again, or delete it"):
        _ = Corpus(out).videos[0]
    pack.unlink()
    index_videos(source, out, PLAN)
    assert Corpus(out).videos[0] == first


def test_index_videos_refuses_a_folder_in_use(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    with OutputDir(out, "index", "corpus").open(), pytest.raises(ValueError, match="another run is at work"):
        index_videos(source, out, PLAN)
    shutil.rmtree(out)
    assert index_videos(source, out, PLAN).videos == 3


def test_index_videos_rejects_a_file_that_changes_between_hash_and_decode(source: Path, tmp_path: Path) -> None:
    (source / "mine.mp4").write_bytes((source / "real/carphone.mp4").read_bytes() + b"mine")
    (source / "gone.mp4").write_bytes((source / "real/carphone.mp4").read_bytes() + b"gone")

    def change_files(outcome: Outcome) -> None:
        if (outcome.phase, outcome.done) == ("hashes", outcome.total):
            (source / "mine.mp4").write_bytes(b"other")
            (source / "gone.mp4").unlink()

    out = tmp_path / "corpus"
    assert index_videos(source, out, PLAN, progress=change_files).rejected == {"changed": 2, "damaged": 1}
    rows = {row["path"]: row for row in pq.read_table(out / "rejected.parquet").to_pylist()}
    assert rows["mine.mp4"]["reason"] == rows["gone.mp4"]["reason"] == "changed"
    (source / "mine.mp4").unlink()
    index_videos(source, out, PLAN)
    index_videos(source, tmp_path / "fresh", PLAN)
    assert file_hashes(out) == file_hashes(tmp_path / "fresh")


def test_index_videos_records_unusable_files_and_keeps_copies_once(source: Path, tmp_path: Path) -> None:
    (source / "EMPTY.MP4").touch()
    (source / "text.avi").write_text("this is no video")
    (source / ".hidden.mp4").write_bytes(b"x")
    (source / "gone.webm").symlink_to(source / "nowhere.webm")
    (source / "notes.txt").write_text("not looked at")
    (source / "loop").symlink_to(source)
    shutil.copy(source / "real/carphone.mp4", source / "copy.mp4")
    summary = index_videos(source, tmp_path / "corpus", PLAN)
    rows = {row["path"]: row for row in pq.read_table(tmp_path / "corpus/rejected.parquet").to_pylist()}
    reasons = {path: row["reason"] for path, row in rows.items()}
    assert reasons == {
        ".hidden.mp4": "hidden",
        "EMPTY.MP4": "unreadable",
        "edge/corrupt_mid.mp4": "damaged",
        "gone.webm": "unreadable",
        "real/carphone.mp4": "duplicate",
        "text.avi": "unreadable",
    }
    assert "copy.mp4" in rows["real/carphone.mp4"]["detail"]
    assert summary.rejected == {"damaged": 1, "duplicate": 1, "hidden": 1, "unreadable": 3}
    assert str(tmp_path) not in "".join(row["detail"] for row in rows.values())


def test_index_videos_reads_source_id_from_the_path(source: Path, tmp_path: Path) -> None:
    index_videos(source, tmp_path / "corpus", PLAN, source_id=r"(car|bik)")
    source_ids = {entry.path: entry.source_id for entry in Corpus(tmp_path / "corpus").videos}
    assert source_ids["real/carphone.mp4"] == "car"
    assert source_ids["real/bikes.mp4"] == "bik"
    assert source_ids["edge/mpeg4.avi"] is None
    with pytest.raises(ValueError, match="group"):
        index_videos(source, tmp_path / "other", PLAN, source_id="car")


def test_index_videos_explains_why_it_refuses_a_folder_or_plan(source: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such file or folder"):
        index_videos(tmp_path / "nowhere", tmp_path / "corpus", PLAN)
    (tmp_path / "bare").mkdir()
    with pytest.raises(FileNotFoundError, match="no videos"):
        index_videos(tmp_path / "bare", tmp_path / "corpus", PLAN)
    assert not (tmp_path / "corpus").exists()
    for out in (source, source / "real"):
        before = sorted(source.rglob("*"))
        with pytest.raises(ValueError, match="--out"):
            index_videos(source, out, PLAN)
        assert sorted(source.rglob("*")) == before
    index_videos(source, tmp_path / "corpus", PLAN)
    with pytest.raises(OutputError, match=r"corpus that was made otherwise: plan\.frames is 8 there, "):
        index_videos(source, tmp_path / "corpus", Plan(frames=9))
    with pytest.raises(ValueError, match="quality"):
        index_videos(source, tmp_path / "corpus", PLAN, quality=0)


def test_index_videos_does_not_search_a_corpus_inside_the_source_folder(source: Path, tmp_path: Path) -> None:
    index_videos(source, source / "corpus", PLAN)
    (source / "corpus/packs/stray.mp4").write_bytes(b"x")
    assert index_videos(source, source / "corpus", PLAN).rejected == {"damaged": 1}


def test_corpus_explains_why_it_cannot_be_read(source: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is no corpus"):
        Corpus(tmp_path)
    out = tmp_path / "corpus"
    index_videos(source, out, PLAN)
    corpus = Corpus(out)
    entry = corpus.videos[0]
    corpus.verify(entry.key)
    with pytest.raises(CorpusError, match="another decoded form"):
        corpus.verify(VideoKey(entry.content, "0" * 64))
    with pytest.raises(CorpusError, match="--corpus"):
        corpus.frames(VideoKey("0" * 64, entry.pack))
    with pytest.raises(CorpusError, match="another decoded form"):
        corpus.frames(VideoKey(entry.content, "0" * 64))
    frames = corpus.frames(entry.key)
    copy: Corpus = pickle.loads(pickle.dumps(corpus))
    assert np.array_equal(copy.frames(entry.key), frames)
    pack = out / f"packs/{entry.content[:2]}.pack"
    pack.write_bytes(pack.read_bytes()[:-1])
    with pytest.raises(CorpusError, match="instead of"):
        Corpus(out).frames(entry.key)


def test_index_videos_with_more_frames_contains_the_clock_of_fewer(source: Path, tmp_path: Path) -> None:
    index_videos(source, tmp_path / "plain", Plan(frames=8))
    index_videos(source, tmp_path / "dense", Plan(frames=24))
    dense = {entry.content: entry for entry in Corpus(tmp_path / "dense").videos}
    compared = 0
    for entry in Corpus(tmp_path / "plain").videos:
        if entry.content in dense:
            clock: Clock = dense[entry.content].clock
            assert clock.subsample(8) == entry.clock
            assert dense[entry.content].ticks[::3] == entry.ticks
            compared += 1
    assert compared == 3


def paths_in(corpus: Path) -> set[str]:
    return {entry.path for entry in Corpus(corpus).videos}


def test_index_videos_accepts_files_and_folders(source: Path, tmp_path: Path) -> None:
    real = source / "real"
    index_videos(real / "carphone.mp4", tmp_path / "one", PLAN)
    assert paths_in(tmp_path / "one") == {"carphone.mp4"}
    index_videos([str(real / "carphone.mp4"), real / "bikes.mp4"], str(tmp_path / "two"), PLAN)
    assert paths_in(tmp_path / "two") == {"carphone.mp4", "bikes.mp4"}
    index_videos([real, source / "edge/mpeg4.avi", real / "../real/bikes.mp4"], tmp_path / "mixed", PLAN)
    assert paths_in(tmp_path / "mixed") == {"real/carphone.mp4", "real/bikes.mp4", "edge/mpeg4.avi"}
    (source / "edge/corrupt_mid.mp4").unlink()
    index_videos(source, tmp_path / "whole", PLAN)
    assert file_hashes(tmp_path / "mixed") == file_hashes(tmp_path / "whole")
    assert index_videos(real / "carphone.mp4", tmp_path / "two", PLAN).gone == 1


def test_index_videos_reads_a_named_file_whatever_its_extension(source: Path, tmp_path: Path) -> None:
    for name in (".blob", "blob"):
        shutil.copy(source / "real/carphone.mp4", tmp_path / name)
    assert index_videos([tmp_path / ".blob", tmp_path / "blob"], tmp_path / "out", PLAN).rejected == {"duplicate": 1}
    (tmp_path / "notes.txt").write_text("no video")
    assert index_videos(tmp_path / "notes.txt", tmp_path / "none", PLAN).rejected == {"unreadable": 1}
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(ValueError, match="is an image: name its folder"):
        index_videos(tmp_path / "a.png", tmp_path / "new", PLAN)
    with pytest.raises(ValueError, match="no video was named"):
        index_videos([], tmp_path / "new", PLAN)
    assert not (tmp_path / "new").exists()


def test_index_videos_records_a_missing_file_among_others(source: Path, tmp_path: Path) -> None:
    missing = source / "real/missing.mp4"
    assert index_videos([missing, source / "real"], tmp_path / "out", PLAN).rejected == {"unreadable": 1}
    rows = pq.read_table(tmp_path / "out/rejected.parquet").to_pylist()
    assert [(row["path"], row["detail"]) for row in rows] == [("missing.mp4", "there is no such file")]
    with pytest.raises(FileNotFoundError, match=r"missing.mp4 is not there, nor are 1 others.*current folder"):
        index_videos([missing, source / "other.mp4"], tmp_path / "new", PLAN)
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such file or folder"):
        index_videos([source / "real", source / "nowhere"], tmp_path / "new", PLAN)


def test_a_video_that_takes_all_memory_is_rejected_alone(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run reads it again."""
    out = tmp_path / "corpus"

    def pick_with_less(path: Path, *rest: Any) -> Any:
        if path.name == "bikes.mp4":
            raise MemoryError
        return pick(path, *rest)

    with monkeypatch.context() as patched:
        patched.setattr("videossr.corpus.decode_worker.pick", pick_with_less)
        summary = index_videos(source, out, PLAN, isolated=False)
    assert (summary.videos, summary.rejected) == (2, {"damaged": 1, "unreadable": 1})
    assert "memory ended" in {row.path: row.detail for row in Corpus(out).rejections()}["real/bikes.mp4"]
    assert index_videos(source, out, PLAN).videos == 3
