"""Compare JPEG qualities and chroma samplings for the packs: bytes, pixel error and time, on real clips.

    python benchmarks/jpeg.py ../shared/videos/real

The baseline is the frame as it was decoded and resized, without any JPEG.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg

from videossr.video.decoding import decode
from videossr.video.plan import Plan, RejectedError

Chroma = Literal["444", "422", "420"]
SETTINGS: list[tuple[int, Chroma]] = [
    (quality, chroma) for quality in (75, 85, 90, 95, 98) for chroma in ("420", "422", "444")
]


def main(folder: Path) -> None:
    """Print a Markdown table over all clips of `folder` that have 48 frames."""
    clips = []
    for path in sorted(folder.iterdir()):
        try:
            clips.append(decode(path, Plan()).frames[::4])
        except RejectedError as rejected:
            print(f"<!-- {path.name}: {rejected} -->")
    print(f"{len(clips)} clips, 12 frames each\n")
    print("| quality | chroma | KiB a video | mean error | p99.9 | luma RMSE | chroma RMSE | encode ms | decode ms |")
    print("|---|---|---|---|---|---|---|---|---|")
    weights = np.array([0.299, 0.587, 0.114])
    for quality, chroma in SETTINGS:
        size = encode = decoded = 0.0
        error = []
        luma = []
        color = []
        top = []
        for frames in clips:
            for frame in frames:
                start = time.process_time()
                data = simplejpeg.encode_jpeg(frame, quality, "RGB", chroma)
                encode += time.process_time() - start
                start = time.process_time()
                back = simplejpeg.decode_jpeg(data, "RGB")
                decoded += time.process_time() - start
                size += len(data)
                difference = back.astype(np.float64) - frame
                gray = difference @ weights
                error.append(np.abs(difference).mean())
                top.append(np.quantile(np.abs(difference), 0.999))
                luma.append((gray**2).mean())
                color.append(((difference - gray[..., None]) ** 2).mean())
        videos = len(clips) / 4
        print(
            f"| {quality} | 4:{chroma[1]}:{chroma[2]} | {size / videos / 1024:.0f} | {np.mean(error):.2f} "
            f"| {np.mean(top):.0f} | {np.mean(luma) ** 0.5:.2f} | {np.mean(color) ** 0.5:.2f} "
            f"| {encode / videos * 1000:.1f} | {decoded / videos * 1000:.1f} |"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
