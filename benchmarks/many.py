"""Make many short clips out of a few: 5.6 s at 256 pixels, each a different part, crop and mirroring of real footage.

Videos with fewer frames are not used: repeating their footage would make loops, whose order nobody can see.

    python -m benchmarks.many VIDEOS/real CLIPS --count 5000

The clips are used by `benchmarks/memory.py` and for docs/results/rehearsal.md. Existing clips are kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from numpy.typing import NDArray

RATE = 25
LENGTH = 140
WIDTH, HEIGHT = 256, 144
MOST = 1000
"""Frames of one video that are held at once."""

Pictures = NDArray[np.uint8]


def footage(path: Path, most: int = MOST) -> Pictures:
    """Return the first frames of a video (T, H, W, 3), a quarter larger than the clips that are cut out of them."""
    frames = []
    with av.open(str(path)) as container:
        try:
            for frame in container.decode(video=0):
                frames.append(frame.to_ndarray(format="rgb24", width=WIDTH * 5 // 4, height=HEIGHT * 5 // 4))
                if len(frames) == most:
                    break
        except FFmpegError:
            pass  # what came before the damage will do
    return np.stack(frames)


def stretches(frames: Pictures, count: int, rng: np.random.Generator) -> Iterator[Pictures]:
    """Cut `count` stretches of LENGTH frames out of a video, each at a random time and place."""
    for _ in range(count):
        start = int(rng.integers(len(frames) - LENGTH + 1))
        top, left = (int(rng.integers(limit // 4 + 1)) for limit in (HEIGHT, WIDTH))
        picture = frames[start : start + LENGTH, top : top + HEIGHT, left : left + WIDTH]
        yield picture[:, :, ::-1] if rng.integers(2) else picture


def write(path: Path, frames: Pictures) -> None:
    """Encode a clip as H.264 with two key frames."""
    partial = path.with_suffix(".partial")
    with av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "28", "g": "75"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.thread_count = 1
        stream.time_base = Fraction(1, RATE)
        for picture in frames:
            container.mux(stream.encode(VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        container.mux(stream.encode(None))
    partial.rename(path)


def main() -> None:
    """Make the clips that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=5000)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    sources = [path for path in sorted(options.videos.iterdir()) if path.suffix in (".mp4", ".mkv", ".webm")]
    sources = [path for path in sources if len(footage(path, LENGTH)) == LENGTH]
    for number, source in enumerate(sources):
        names = [options.out / f"{k:05d}-{source.stem}.mp4" for k in range(number, options.count, len(sources))]
        rng = np.random.default_rng(number)
        for path, frames in zip(names, stretches(footage(source), len(names), rng), strict=True):
            if not path.exists():
                write(path, frames)
        print(f"{source.name}: {len(names)} clips", flush=True)


if __name__ == "__main__":
    main()
