"""How far apart fingerprints of the same and of other footage are, from which `NEAR_BITS` and `NEAR_SHARE` come.

    python speed/duplicates.py ../shared/videos/real

Each clip is written again with PyAV: compressed hard, at half the size, with both ends cut off, and all of it at once.
The copies are compared with the clip that they come from and with every other clip.
"""

from __future__ import annotations

import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from videossr.video.decode import decode
from videossr.video.fingerprint import Fingerprints, fingerprint, near
from videossr.video.plan import Plan, RejectedError

COPIES = {  # name -> (scale, share cut off at each end, kbit/s)
    "re-encoded": (1.0, 0.0, 300),
    "half size": (0.5, 0.0, 2000),
    "trimmed": (1.0, 0.2, 2000),
    "all three": (0.5, 0.2, 150),
}


def copy(source: Path, target: Path, scale: float, cut: float, rate: int) -> None:
    """Write `source` again as H.264 in MP4."""
    with av.open(str(source)) as container, av.open(str(target), "w") as out:
        first = container.streams.best("video")
        assert isinstance(first, av.VideoStream)
        total = sum(1 for packet in container.demux(first) if packet.size)
        container.seek(0)
        width, height = (int(side * scale) // 2 * 2 for side in (first.width, first.height))
        stream = out.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", 1000 * rate
        for number, frame in enumerate(container.decode(first)):
            if cut * total <= number < (1 - cut) * total:
                small = frame.reformat(width, height, "yuv420p")
                small.pts, small.time_base = number - int(cut * total), Fraction(1, 25)
                out.mux(stream.encode(small))
        out.mux(stream.encode(None))


def prints(path: Path) -> Fingerprints:
    """Fingerprints of the default plan's frames."""
    return fingerprint(decode(path, Plan(min_step=0.02)).frames)


def main(folder: Path) -> None:
    """Print a Markdown table: the least share among true copies, the largest among other clips, by number of bits."""
    clips: dict[str, Fingerprints] = {}
    for path in sorted(folder.iterdir()):
        try:
            if path.stat().st_size < 2_000_000:
                clips[path.name] = prints(path)
        except RejectedError as rejected:
            print(f"<!-- {path.name}: {rejected} -->")
    bits = (4, 6, 8, 10, 12, 14, 16)
    same: dict[str, list[list[float]]] = {name: [] for name in COPIES}
    other: list[list[float]] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, original in clips.items():
            for kind, (scale, cut, rate) in COPIES.items():
                target = Path(temporary) / "copy.mp4"
                copy(folder / name, target, scale, cut, rate)
                try:
                    of_copy = prints(target)
                except RejectedError:
                    continue
                same[kind].append([near(of_copy, original, n) for n in bits])
                other += [[near(of_copy, clips[rest], n) for n in bits] for rest in clips if rest != name]
    print(f"{len(clips)} clips\n")
    print(f"| share of near frames | {' | '.join(f'{n} bits' for n in bits)} |")
    print("|---|" + "---|" * len(bits))
    for kind, rows in same.items():
        print(f"| {kind}: least of {len(rows)} | {' | '.join(f'{value:.2f}' for value in np.min(rows, axis=0))} |")
    print(f"| other clips: largest of {len(other)} | {' | '.join(f'{v:.2f}' for v in np.max(other, axis=0))} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
