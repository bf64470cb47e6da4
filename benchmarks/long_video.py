"""Measure whether memory grows with the frames of a video, in `index_videos` and in reading.

    python -m benchmarks.long_video WORK --frames 300 --frames 3600

It makes videos of one frame a second, indexes each with the plan fps in a process of its own, which starts one worker,
and then reads 48 frames of it in another process. The table goes to docs/results/memory.md by hand. Linux only.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
from cyclopts import App

from videossr.corpus.corpus import Corpus
from videossr.corpus.indexer import index_videos
from videossr.video.plan import Plan

PLAN = Plan(kind="fps", fps=1, frames=4096)

app = App()


def write(path: Path, frames: int) -> None:
    """Write a video of one frame a second, 640 x 360: a smooth picture that moves under some noise."""
    rng = np.random.default_rng(0)
    across = np.linspace(0, 6, 640 + frames)
    waves = 128 + 80 * np.sin(across)[None, :, None] * np.cos(np.linspace(0, 4, 360))[:, None, None]
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", 1, width=640, height=360, bit_rate=400_000, options={"g": "30"})
        for k in range(frames):
            picture = waves[:, k : k + 640] + rng.integers(-12, 13, (360, 640, 3))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.astype(np.uint8))))
        container.mux(stream.encode(None))


@app.command
def index_one(videos: Path, corpus: Path) -> None:
    """Index a folder, and print the peak memory of this process and of its worker, in MiB."""
    index_videos(videos, corpus, PLAN)
    print(_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)


@app.command
def read_one(corpus: Path, frames: int) -> None:
    """Read some frames of the one video of a corpus, and print the peak memory in MiB."""
    opened = Corpus(corpus)
    (entry,) = opened.videos
    opened.frames(entry.key, [round(k * (len(entry.frame_bytes) - 1) / (frames - 1)) for k in range(frames)])
    print(_peak())


def _peak() -> float:
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _run(*words: str) -> list[float]:
    done = subprocess.run([sys.executable, "-m", "benchmarks.long_video", *words], stdout=subprocess.PIPE, check=True)
    return [float(word) for word in done.stdout.split()]


@app.default
def main(work: Path, *, frames: list[int]) -> None:
    """Print a table with a row for each number of frames.

    Args:
        work: Folder for the videos and corpora.
        frames: Numbers of frames.
    """
    print(
        "| frames | JPEGs, MiB | index: worker, MiB | index: command, MiB | 48 frames read, MiB |\n"
        "|---|---|---|---|---|"
    )
    for count in frames:
        videos = work / f"videos-{count}"
        corpus = work / f"corpus-{count}"
        videos.mkdir(parents=True)
        write(videos / "video.mp4", count)
        command, worker = _run("index-one", str(videos), str(corpus))
        (read,) = _run("read-one", str(corpus), "48")
        (entry,) = Corpus(corpus).videos
        size = sum(entry.frame_bytes) / 2**20
        print(f"| {len(entry.frame_bytes)} | {size:.1f} | {worker:.0f} | {command:.0f} | {read:.0f} |", flush=True)


if __name__ == "__main__":
    app()
