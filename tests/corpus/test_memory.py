"""A long video needs no more memory than a short one, both to index it and to read a few of its frames."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest

from benchmarks import long_video
from videossr.corpus.corpus import Corpus
from videossr.corpus.pack import PIECE

SHORT, LONG = 100, 700
INDEX = """
import resource, sys
from pathlib import Path
from videossr.corpus.indexer import index_videos
from videossr.video.plan import Plan
if __name__ == "__main__":
    index_videos(Path(sys.argv[1]), Path(sys.argv[2]), Plan(kind="fps", fps=1, frames=4096))
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(own.split()[1], resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def write_noise(path: Path, frames: int) -> None:
    """Write one frame a second of slowly moving noise, 384 x 160, whose JPEGs take some 30 KiB each."""
    noise = np.random.default_rng(0).integers(0, 256, (160, 384 + frames, 3), np.uint8)
    with av.open(path, "w") as container:
        stream = container.add_stream("mjpeg", 1, width=384, height=160, pix_fmt="yuvj420p")
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise[:, number : number + 384])))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpora `short` and `long` of one video each, and their peak memory in `short.txt` and `long.txt`."""
    root = tmp_path_factory.mktemp("memory")
    program = root / "program.py"
    program.write_text(INDEX)
    for name, frames in (("short", SHORT), ("long", LONG)):
        (root / f"of-{name}").mkdir()
        write_noise(root / f"of-{name}/video.mkv", frames)
        command = [sys.executable, str(program), str(root / f"of-{name}"), str(root / name)]
        (root / f"{name}.txt").write_bytes(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return root


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="memory is read from /proc")
def test_index_videos_takes_no_more_memory_for_more_frames(folder: Path) -> None:
    peaks = [[int(kib) / 1024 for kib in (folder / name).read_text().split()] for name in ("short.txt", "long.txt")]
    (command_short, worker_short), (command_long, worker_long) = peaks
    # The frames alone would add 105 MiB, and their JPEGs some 17 more for each copy that is held.
    assert command_long - command_short < 16, peaks
    assert worker_long - worker_short < 16, peaks


def test_corpus_frames_reads_some_frames_of_a_long_video_without_the_rest(folder: Path) -> None:
    corpus = Corpus(folder / "long")
    (entry,) = corpus.videos
    assert len(entry.frame_bytes) == LONG
    assert sum(entry.frame_bytes) > 4 * PIECE
    picked = [0, LONG // 2, LONG - 1, 7, 7]
    whole = corpus.frames(entry.key)[picked]
    fresh = Corpus(folder / "long")
    for _ in range(2):  # the first time all of it is checked, piece by piece
        fresh.entry(entry.key)
        tracemalloc.start()
        frames = fresh.frames(entry.key, picked)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert np.array_equal(frames, whole)
        assert peak < 3 * PIECE + 2 * frames.nbytes


def test_long_video_benchmark_accepts_its_documented_command() -> None:
    (line,) = re.findall(r"python -m benchmarks\.long_video (.*)", str(long_video.__doc__))
    command, bound, _ = long_video.app.parse_args(shlex.split(line))
    assert command is long_video.main
    assert bound.arguments == {"work": Path("WORK"), "frames": [300, 3600]}
