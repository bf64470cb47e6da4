"""Measure where videossr's own processor time goes; benchmarks/index.py starts it as a fresh process.

    python benchmarks/stages.py profile VIDEO ... > answer.json
    python benchmarks/stages.py render DATASET > answer.json

`profile`: seconds of processor time of each stage of indexing, over all the videos, and how many frames they keep.
`render`: seconds of processor time to render every sample of a dataset once.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from pathlib import Path
from time import process_time

import numpy as np
from av.video.frame import VideoFrame

from videossr.corpus.fingerprint import fingerprint
from videossr.corpus.jpeg import encode
from videossr.dataset.dataset import VideoSSRDataset
from videossr.question import Frames
from videossr.video import decoding
from videossr.video.container import StreamFacts, declared_timeline, open_video
from videossr.video.conversion import FrameConverter
from videossr.video.plan import Plan


def profile(files: list[str]) -> dict[str, float]:
    """Time the stages of indexing, one after the other, as a worker of `videossr index` runs them."""
    seconds: defaultdict[str, float] = defaultdict(float)
    count = 0
    for path in map(Path, files):
        start = process_time()
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
        seconds["hash the file"] += process_time() - start

        start = process_time()
        with open_video(path) as (container, stream):
            declared_timeline(container, stream)
        seconds["read all packets for their times"] += process_time() - start

        shrink = FrameConverter(Plan().max_pixels, Plan().hdr)
        scaling = 0.0

        def timed(facts: StreamFacts, frame: VideoFrame, shrink: FrameConverter = shrink) -> Frames:
            nonlocal scaling
            start = process_time()
            picture = shrink(facts, frame)
            scaling += process_time() - start
            return picture

        start = process_time()
        _, _, _, pictures = decoding.pick(path, Plan(), timed)
        seconds["decode"] += process_time() - start - scaling
        seconds["scale and convert"] += scaling
        frames = np.stack(pictures)
        count += len(frames)

        start = process_time()
        jpegs = encode(frames)
        seconds["JPEG"] += process_time() - start

        start = process_time()
        hashlib.sha256(b"".join(jpegs))
        seconds["hash the pack"] += process_time() - start

        start = process_time()
        fingerprint(frames)
        seconds["fingerprint"] += process_time() - start
    seconds["decode"] -= seconds["read all packets for their times"]
    return {**seconds, "frames": count}


def render(folder: str) -> dict[str, float]:
    """Render every sample of a dataset, in order."""
    start = process_time()
    dataset = VideoSSRDataset(folder)
    for index in range(len(dataset)):
        dataset[index]
    return {"seconds": process_time() - start, "samples": len(dataset)}


if __name__ == "__main__":
    stage, *names = sys.argv[1:]
    json.dump(profile(names) if stage == "profile" else render(*names), sys.stdout)
