"""Measure how often damage goes unnoticed: frames accepted from damaged files against those of the whole files.

    python benchmarks/damage.py ../shared/videos

Each file is cut short, gets 512 random bytes, or one flipped bit, at 25 random places after its first tenth. A frame
is wrong if its decoded planes differ from those that the whole file gives at the same time.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import av
import numpy as np

from videossr.video.decoding import pick
from videossr.video.plan import Plan, RejectedError

FILES = [
    "real/bikes.mp4",
    "real/pancake.mkv",
    "edge/full.ts",
    "edge/mpeg4.avi",
    "edge/av1.mp4",
    "edge/opengop_hevc.mp4",
    "edge/vp9.webm",
]


def fingerprint(frame: av.VideoFrame) -> int:
    """Hash all planes without the padding of their lines."""
    lines = [np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    widths = [component.width * ((component.bits + 7) // 8) for component in frame.format.components]
    return hash(tuple(part[:, :width].tobytes() for part, width in zip(lines, widths, strict=False)))


def damaged(data: bytes, kind: str, rng: random.Random) -> bytes:
    """Return a copy of the data with one kind of damage."""
    place = rng.randrange(len(data) // 10, len(data) - 512)
    if kind == "cut":
        return data[:place]
    if kind == "block":
        return data[:place] + rng.randbytes(512) + data[place + 512 :]
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def main(folder: Path) -> None:
    """Print a Markdown table with a row for each file and kind of damage."""
    print("| file | damage | rejected | accepted | of these with a wrong frame | wrong frames |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for name in FILES:
            at = {}
            with av.open(str(folder / name)) as container:
                for frame in container.decode(video=0):
                    at[frame.pts] = fingerprint(frame)
            data = (folder / name).read_bytes()
            path = Path(temporary) / f"damaged{Path(name).suffix}"
            for kind in ("cut", "block", "flip"):
                rng = random.Random(3)
                count: Counter[str] = Counter()
                for _ in range(25):
                    path.write_bytes(damaged(data, kind, rng))
                    try:
                        got = pick(path, Plan(frames=12), lambda _, frame: (frame.pts, fingerprint(frame)))[3]
                    except RejectedError:
                        count["refused"] += 1
                        continue
                    wrong_frames = sum(at.get(time) != value for time, value in got)
                    count.update(accepted=1, videos=int(wrong_frames > 0), wrong=wrong_frames, frames=len(got))
                print(
                    f"| {name} | {kind} | {count['refused']} | {count['accepted']} | {count['videos']} "
                    f"| {count['wrong']} of {count['frames']} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
