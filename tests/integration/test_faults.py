"""`videossr index` and `videossr build` killed, short of room, robbed of files: nothing is lost, all is told."""

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

from tests.integration.faults import begin, command, finish, prepare, session, tree

pytestmark = pytest.mark.integration

CLIPS = ("arm_wrestling.mp4", "bikes.mp4", "bottles.mp4", "carphone.mp4", "chaplin_bw.mp4", "scene_cuts.mp4")
KILLS = 30
AGAIN = "the same command goes on where it was"


@pytest.fixture
def where(shared_videos: Path, tmp_path: Path) -> Path:
    """A folder with `videos`, copies that a test may spoil."""
    (tmp_path / "videos").mkdir()
    for name in CLIPS:
        shutil.copyfile(shared_videos / "real" / name, tmp_path / "videos" / name)
    return tmp_path


@pytest.mark.parametrize("verb", ["index", "build"])
def test_killed_at_random_moments_it_goes_on_to_the_same_bytes(verb: str, shared_videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    folder.mkdir()
    for path in [*(shared_videos / "edge").iterdir(), *(shared_videos / "real" / name for name in CLIPS)]:
        (folder / path.name).symlink_to(path)
    harness = prepare(verb, folder, tmp_path)
    harness.measure()
    harness.torment(KILLS, seed=1)
    assert harness.kills >= KILLS
    assert harness.completed >= 2
    assert len(harness.phases) >= 3


def index(where: Path, out: str = "corpus", **faults: object) -> tuple[int, str]:
    said = finish(process := begin(command("index", out), where, **faults))
    return process.returncode, said


def rejected(corpus: Path) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(corpus / "rejected.parquet").to_pylist()
    return {row["path"]: (row["reason"], row["detail"]) for row in rows}


@contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """A small disk at that folder."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can make a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("verb", ["index", "build"])
def test_a_full_disk(where: Path, verb: str) -> None:
    if verb == "build":
        prepare(verb, where / "videos", where)
    finish(begin(command(verb, "roomy"), where))
    need = sum(path.stat().st_size for path in (where / "roomy").rglob("*"))
    with disk(where / "disk", f"{need // 2048}k"):
        said = finish(process := begin(command(verb, "disk/out"), where))
        assert process.returncode == 2, said
        assert "no space left" in said.lower()
        assert AGAIN in said
        subprocess.run(["mount", "-o", "remount,size=64m", str(where / "disk")], check=True)
        said = finish(process := begin(command(verb, "disk/out"), where))
        assert process.returncode == 0, said
        expected, found = tree(where / "roomy"), tree(where / "disk/out")
    if verb == "build":  # it names the corpus as seen from where it lies
        found["manifest.json"] = expected["manifest.json"]
    assert found == expected


def test_files_that_vanish_or_change_after_they_were_hashed(where: Path) -> None:
    log, gate = where / "log", where / "gate"
    process = begin(command("index", "corpus"), where, log=log, gate=gate)
    while not log.exists():  # every file is hashed when the first is decoded
        assert process.poll() is None
        time.sleep(0.02)
    decoded = {Path(line).name for line in log.read_text().splitlines()}
    vanished, changed = sorted(set(CLIPS) - decoded)[:2]
    (where / "videos" / vanished).unlink()
    (where / "videos" / changed).write_bytes((where / "videos" / sorted(decoded)[0]).read_bytes() + b"\0")
    gate.touch()
    said = finish(process)
    assert process.returncode == 0, said
    told = ("changed", "it changed or vanished after it was hashed; index again")
    assert rejected(where / "corpus") == {vanished: told, changed: told}
    assert f"{vanished}: changed: it changed or vanished" in said
    assert index(where)[0] == 0
    assert index(where, "fresh")[0] == 0
    assert tree(where / "corpus") == tree(where / "fresh")


def test_a_file_that_cannot_be_read(where: Path) -> None:
    refusing = Path("/sys/class/net/lo/speed")  # has a size, but reading it fails, also for root
    if not refusing.exists():
        pytest.skip(f"{refusing} is not there")
    (where / "videos/refusing.mp4").symlink_to(refusing)
    status, said = index(where)
    assert status == 0, said
    told = ("unreadable", "the system refuses to read it: Invalid argument")
    assert rejected(where / "corpus") == {"refusing.mp4": told}
    assert json.loads((where / "corpus/manifest.json").read_text())["videos"] == len(CLIPS)
    assert "refusing.mp4: unreadable: the system refuses to read it" in said


def test_a_video_that_kills_the_decoder(where: Path) -> None:
    log = where / "log"
    status, said = index(where, log=log, crash="bottles.mp4")
    assert status == 0, said
    assert rejected(where / "corpus") == {"bottles.mp4": ("unreadable", "decoding it killed the process")}
    assert "bottles.mp4: unreadable: decoding it killed the process" in said
    opened = [Path(line).name for line in log.read_text().splitlines()]
    assert opened.count("bottles.mp4") == 2
    assert json.loads((where / "corpus/manifest.json").read_text())["videos"] == len(CLIPS) - 1


@pytest.mark.parametrize("verb", ["index", "build"])
def test_ctrl_c_stops_at_once(where: Path, verb: str) -> None:
    if verb == "build":
        prepare(verb, where / "videos", where)
    undisturbed = begin(command(verb, "undisturbed"), where)
    assert undisturbed.wait(600) == 0
    finish(undisturbed)
    process = begin(command(verb, "out"), where, log=where / "log", gate=where / "gate")
    while not (where / "out/.unfinished").exists() or len(session(process.pid)) < 4:
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    begun = time.monotonic()
    process.wait(60)
    took = time.monotonic() - begun
    said = finish(process)
    assert process.returncode == 130, said
    assert f"videossr: stopped; {AGAIN}" in said
    assert took < 2, f"it took {took:.1f} s"
    said = finish(process := begin(command(verb, "out"), where))
    assert process.returncode == 0, said
    assert tree(where / "out") == tree(where / "undisturbed")
