"""`videossr index` and `videossr build` under kills, full disks and missing files: no work is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.integration.faults import begin, command, finish, hash_tree, prepare, session_processes

pytestmark = pytest.mark.integration

CLIPS = ("arm_wrestling.mp4", "bikes.mp4", "bottles.mp4", "carphone.mp4", "chaplin_bw.mp4", "scene_cuts.mp4")
KILLS = 10
"""By hand, `python -m tests.integration.faults` kills as often as it is told."""
RESUME_HINT = "the same command goes on where it was"


@pytest.fixture
def root(shared_videos: Path, tmp_path: Path) -> Path:
    """Make a folder with copies of `videos`, which a test may change."""
    (tmp_path / "videos").mkdir()
    for name in CLIPS:
        shutil.copyfile(shared_videos / "real" / name, tmp_path / "videos" / name)
    return tmp_path


@pytest.mark.parametrize("verb", ["index", "build"])
def test_index_and_build_killed_at_random_moments_give_the_same_bytes(
    verb: str, shared_videos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for path in [*(shared_videos / "edge").iterdir(), *(shared_videos / "real" / name for name in CLIPS)]:
        (folder / path.name).symlink_to(path)
    harness = prepare(verb, folder, tmp_path)
    harness.measure()
    harness.kill_repeatedly(KILLS, seed=1)
    assert harness.kills >= KILLS
    assert harness.completed >= 2
    assert len(harness.phases) >= 3


def run_index(root: Path, out: str = "corpus", **faults: object) -> tuple[int, str]:
    output = finish(process := begin(command("index", out), root, **faults))
    return process.returncode, output


def read_rejections(corpus: Path) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(corpus / "rejected.parquet").to_pylist()
    return {row["path"]: (row["reason"], row["detail"]) for row in rows}


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Mount a small disk at that folder."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can make a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("verb", ["index", "build"])
def test_index_and_build_resume_after_a_full_disk(root: Path, verb: str) -> None:
    if verb == "build":
        prepare(verb, root / "videos", root)
    finish(begin(command(verb, "roomy"), root))
    size = sum(path.stat().st_size for path in (root / "roomy").rglob("*"))
    with small_disk(root / "disk", f"{size // 2048}k"):
        output = finish(process := begin(command(verb, "disk/out"), root))
        assert process.returncode == 2, output
        assert "no space left" in output.lower()
        assert RESUME_HINT in output
        subprocess.run(["mount", "-o", "remount,size=64m", str(root / "disk")], check=True)
        output = finish(process := begin(command(verb, "disk/out"), root))
        assert process.returncode == 0, output
        expected, files = hash_tree(root / "roomy"), hash_tree(root / "disk/out")
    if verb == "build":  # the manifest has the path of the corpus relative to the dataset
        files["manifest.json"] = expected["manifest.json"]
    assert files == expected


def test_index_rejects_files_that_vanish_or_change_after_they_were_hashed(root: Path) -> None:
    log, gate = root / "log", root / "gate"
    process = begin(command("index", "corpus"), root, log=log, gate=gate)
    while not log.exists():  # every file is hashed when the first is decoded
        assert process.poll() is None
        time.sleep(0.02)
    decoded = {Path(line).name for line in log.read_text().splitlines()}
    vanished, changed = sorted(set(CLIPS) - decoded)[:2]
    (root / "videos" / vanished).unlink()
    (root / "videos" / changed).write_bytes((root / "videos" / sorted(decoded)[0]).read_bytes() + b"\0")
    gate.touch()
    output = finish(process)
    assert process.returncode == 0, output
    rejection = ("changed", "it changed or vanished after it was hashed; index again")
    assert read_rejections(root / "corpus") == {vanished: rejection, changed: rejection}
    assert f"{vanished}: changed: it changed or vanished" in output
    assert run_index(root)[0] == 0
    assert run_index(root, "fresh")[0] == 0
    assert hash_tree(root / "corpus") == hash_tree(root / "fresh")


def test_index_rejects_a_file_that_cannot_be_read(root: Path) -> None:
    refusing = Path("/sys/class/net/lo/speed")  # has a size, but reading it fails, also for root
    if not refusing.exists():
        pytest.skip(f"{refusing} is not there")
    (root / "videos/refusing.mp4").symlink_to(refusing)
    status, output = run_index(root)
    assert status == 0, output
    rejection = ("unreadable", "the system refuses to read it: Invalid argument")
    assert read_rejections(root / "corpus") == {"refusing.mp4": rejection}
    assert json.loads((root / "corpus/manifest.json").read_text())["videos"] == len(CLIPS)
    assert "refusing.mp4: unreadable: the system refuses to read it" in output


def test_index_rejects_a_video_that_kills_the_decoder(root: Path) -> None:
    log = root / "log"
    status, output = run_index(root, log=log, crash="bottles.mp4")
    assert status == 0, output
    assert read_rejections(root / "corpus") == {"bottles.mp4": ("unreadable", "decoding it killed the process")}
    assert "bottles.mp4: unreadable: decoding it killed the process" in output
    opened = [Path(line).name for line in log.read_text().splitlines()]
    assert opened.count("bottles.mp4") == 2
    assert json.loads((root / "corpus/manifest.json").read_text())["videos"] == len(CLIPS) - 1


@pytest.mark.parametrize("verb", ["index", "build"])
def test_index_and_build_stop_at_once_on_ctrl_c(root: Path, verb: str) -> None:
    if verb == "build":
        prepare(verb, root / "videos", root)
    undisturbed = begin(command(verb, "undisturbed"), root)
    assert undisturbed.wait(600) == 0
    finish(undisturbed)
    process = begin(command(verb, "out"), root, log=root / "log", gate=root / "gate")
    while not (root / "out/.unfinished").exists() or len(session_processes(process.pid)) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    started = time.monotonic()
    process.wait(60)
    seconds = time.monotonic() - started
    output = finish(process)
    assert process.returncode == 130, output
    assert f"videossr: stopped; {RESUME_HINT}" in output
    assert seconds < 2, f"it took {seconds:.1f} s"
    output = finish(process := begin(command(verb, "out"), root))
    assert process.returncode == 0, output
    assert hash_tree(root / "out") == hash_tree(root / "undisturbed")
